//! The layers in a configuration of Keras, and their weights in a tree of HDF5.
//!
//! Keras 3 stores the weights of a layer below `layers/CLASS_N/`, and the layer's own name in an attribute of the group
//! `vars`; older files have a group with the name of the layer. Which weights training changes is not stored: it follows
//! from the class, and is unknown for classes that are not listed here.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;

use crate::model::formats::hdf5::Tree;
use crate::model::formats::layers::Layer;
use crate::model::tensor::shown;

/// The maximum number of layers.
const LAYERS: usize = 100_000;

/// Classes without weights that training does not change.
const TRAINED: &[&str] = &[
    "AdditiveAttention",
    "Attention",
    "Bidirectional",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "EinsumDense",
    "Embedding",
    "GRU",
    "GRUCell",
    "GroupNormalization",
    "GroupQueryAttention",
    "LSTM",
    "LSTMCell",
    "LayerNormalization",
    "MultiHeadAttention",
    "PReLU",
    "RMSNormalization",
    "SeparableConv1D",
    "SeparableConv2D",
    "SimpleRNN",
    "SimpleRNNCell",
    "TimeDistributed",
    "UnitNormalization",
];

/// Types of computation without quantisation.
const PLAIN: &[&str] = &["DTypePolicy", "FloatDTypePolicy", "Policy"];

/// The weights of a file by their paths.
pub struct Weights {
    /// Numbers of elements.
    elements: BTreeMap<String, u64>,
    /// The group of a layer, by the group above it and the layer's own name.
    named: HashMap<(String, String), String>,
    /// The sums of groups: many layers may name the same one.
    sums: RefCell<HashMap<String, u64>>,
}

impl Weights {
    pub fn new(tree: &Tree) -> Weights {
        let elements = tree.datasets.iter().map(|t| (t.name.clone(), t.elements())).collect();
        let named = tree.groups.iter().filter_map(|(path, attributes)| {
            let group = path.strip_suffix("/vars")?;
            let above = group.rsplit_once('/').map_or("", |(above, _)| above);
            Some(((above.to_string(), attributes.text("name")?.to_string()), group.to_string()))
        });
        Weights { elements, named: named.collect(), sums: RefCell::default() }
    }

    /// The weights below a group, without the states of random generators.
    fn below(&self, group: &str) -> impl Iterator<Item = (&str, u64)> {
        let prefix = if group.is_empty() { String::new() } else { format!("{group}/") };
        let from = self.elements.range(prefix.clone()..);
        from.take_while(move |(path, _)| path.starts_with(&prefix))
            .filter(|(path, _)| !path.split('/').any(|part| part.ends_with("seed_generator")))
            .map(|(path, n)| (path.as_str(), *n))
    }

    fn sum(&self, group: &str) -> u64 {
        if let Some(known) = self.sums.borrow().get(group) {
            return *known;
        }
        let sum = self.below(group).fold(0, |sum: u64, (_, n)| sum.saturating_add(n));
        self.sums.borrow_mut().insert(group.into(), sum);
        sum
    }

    /// The number of weights of the model: without the optimizer and the metrics.
    pub fn of_model(&self, base: &str) -> u64 {
        const OTHERS: &[&str] =
            &["optimizer", "_optimizer", "optimizer_weights", "metrics", "_metrics", "compile_metrics"];
        let is_other = |path: &str| path.split('/').next().is_some_and(|first| OTHERS.contains(&first));
        self.below(base).filter(|(path, _)| !is_other(path)).fold(0, |sum, (_, n)| sum.saturating_add(n))
    }
}

/// How the groups of layers are named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum GroupNames {
    /// By class and number: Keras 3.
    ByClass,
    /// By the name of the layer: H5 of older versions.
    ByLayer,
}

/// Layers of a configuration, and their groups. `base` is the group that has those of the layers.
pub fn layers(config: &Json, base: &str, names: GroupNames, weights: &Weights) -> Vec<Layer> {
    let all = children(config, base, names, weights);
    all.into_iter().take(LAYERS).map(|(json, group)| layer(json, &group, names, weights)).collect()
}

/// The inner layers of a model with their groups.
fn children<'j>(config: &'j Json, base: &str, names: GroupNames, weights: &Weights) -> Vec<(&'j Json, String)> {
    let Some(list) = config.pointer("/config/layers").and_then(Json::as_array) else { return Vec::new() };
    let mut counts: HashMap<String, usize> = HashMap::new();
    let group = |json: &Json| {
        let name = text(json, "/config/name").or_else(|| text(json, "/name")).unwrap_or_default();
        if names == GroupNames::ByLayer {
            return join(base, name);
        }
        let class = snake_case(text(json, "/class_name").unwrap_or_default());
        let count = counts.entry(class.clone()).or_default();
        *count += 1;
        let by_class = if *count == 1 { class } else { format!("{class}_{}", *count - 1) };
        let key = (base.to_string(), name.to_string());
        weights.named.get(&key).cloned().unwrap_or_else(|| join(base, &by_class))
    };
    let mut group = group;
    list.iter().map(|json| (json, group(json))).collect()
}

fn layer(json: &Json, group: &str, names: GroupNames, weights: &Weights) -> Layer {
    let policy = json.pointer("/config/dtype");
    let dtype = policy.and_then(|p| p.as_str().or_else(|| p.pointer("/config/name").and_then(Json::as_str)));
    let input = ["/build_config/input_shape", "/config/batch_shape", "/config/batch_input_shape"];
    Layer {
        name: shown(text(json, "/config/name").or_else(|| text(json, "/name")).unwrap_or_default()),
        class: shown(text(json, "/class_name").unwrap_or_default()),
        dtype: dtype.map(shown),
        input: input.iter().find_map(|at| json.pointer(at)).and_then(shape),
        parameters: Some(weights.sum(group)),
        trainable: trainable(json, group, names, weights),
    }
}

/// How many weights of a layer training changes.
fn trainable(json: &Json, group: &str, names: GroupNames, weights: &Weights) -> Option<u64> {
    let all = weights.sum(group);
    if all == 0 || json.pointer("/config/trainable") == Some(&Json::Bool(false)) {
        return Some(0);
    }
    if json.pointer("/config/layers").is_some_and(Json::is_array) {
        return of_model(json, group, all, names, weights);
    }
    let inner = ["/config/layer", "/config/backward_layer", "/config/cell"];
    let is_known = |json: &Json| {
        let class = text(json, "/class_name").unwrap_or_default();
        TRAINED.contains(&class) && json.pointer("/config/trainable") != Some(&Json::Bool(false))
    };
    match text(json, "/class_name")? {
        "BatchNormalization" => Some(all - moving(group, weights)),
        // A quantised layer has scales, which are not trained.
        _ if text(json, "/config/dtype/class_name").is_some_and(|class| !PLAIN.contains(&class)) => None,
        _ if is_known(json) && inner.iter().filter_map(|at| json.pointer(at)).all(is_known) => Some(all),
        _ => None,
    }
}

/// A model in a model. In files with groups by layer, all weights of the inner layers are in one group.
fn of_model(json: &Json, group: &str, all: u64, names: GroupNames, weights: &Weights) -> Option<u64> {
    let below = if names == GroupNames::ByClass { join(group, "layers") } else { group.to_string() };
    let inner = children(json, &below, names, weights);
    if names == GroupNames::ByClass {
        let add = |sum: u64, (json, group): &(&Json, String)| sum.checked_add(trainable(json, group, names, weights)?);
        let sum = inner.iter().try_fold(0, add)?;
        let held = inner.iter().try_fold(0, |held: u64, (_, group)| held.checked_add(weights.sum(group)))?;
        return (held == all).then_some(sum);
    }
    let is_trained = |json: &Json| TRAINED.contains(&text(json, "/class_name").unwrap_or_default());
    let is_frozen = |json: &Json| json.pointer("/config/trainable") == Some(&Json::Bool(false));
    inner.iter().all(|(json, _)| is_trained(json) && !is_frozen(json)).then_some(all)
}

/// The running means of a batch normalization: the last two of its weights, or those with their names.
fn moving(group: &str, weights: &Weights) -> u64 {
    let all: Vec<(&str, u64)> = weights.below(group).collect();
    let named: Vec<u64> = all.iter().filter(|(path, _)| path.contains("/moving_")).map(|(_, n)| *n).collect();
    let last = |all: &[u64]| all.iter().rev().take(2).fold(0u64, |sum, n| sum.saturating_add(*n));
    if named.is_empty() { last(&all.iter().map(|(_, n)| *n).collect::<Vec<_>>()) } else { last(&named) }
}

fn text<'j>(json: &'j Json, pointer: &str) -> Option<&'j str> {
    json.pointer(pointer).and_then(Json::as_str)
}

fn join(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_string() } else { format!("{above}/{name}") }
}

/// `[null, 4]` as `[?, 4]`; a list of shapes as it is.
fn shape(json: &Json) -> Option<String> {
    let dims = json.as_array()?.iter().map(|dim| match dim {
        Json::Null => Some("?".to_string()),
        Json::Number(n) => Some(n.to_string()),
        _ => None,
    });
    match dims.collect::<Option<Vec<_>>>() {
        Some(dims) => Some(shown(&format!("[{}]", dims.join(", ")))),
        None => Some(shown(&json.to_string().replace("null", "?"))),
    }
}

/// `LayerNormalization` as `layer_normalization`, `Conv2D` as `conv2d`, as Keras names groups.
fn snake_case(class: &str) -> String {
    let class: Vec<char> = class.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut name = String::new();
    for (at, c) in class.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| class[before]);
        let starts_word = c.is_ascii_uppercase()
            && before.is_some_and(|b| b != '_')
            && (class.get(at + 1).is_some_and(char::is_ascii_lowercase)
                || before.is_some_and(|b| b.is_ascii_lowercase()));
        if starts_word {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_as_groups() {
        for (class, want) in [
            ("Dense", "dense"),
            ("Conv2D", "conv2d"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("LSTM", "lstm"),
            ("MultiHeadAttention", "multi_head_attention"),
            ("InputLayer", "input_layer"),
            ("ReLU", "re_lu"),
            ("PReLU", "p_re_lu"),
        ] {
            assert_eq!(snake_case(class), want, "{class}");
        }
    }

    #[test]
    fn shapes() {
        assert_eq!(shape(&serde_json::json!([null, 4])).as_deref(), Some("[?, 4]"));
        assert_eq!(shape(&serde_json::json!([[null, 4], [2]])).as_deref(), Some("[[?,4],[2]]"));
        assert_eq!(shape(&serde_json::json!("x")), None);
    }
}
