//! Objects of a model: the names of variables, whether they are trained, and the layers of Keras.
//! Formats: `trackable_object_graph.proto`, `saved_object_graph.proto`, `saved_metadata.proto`.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value as Json;

use super::bundle::SUFFIX;
use crate::error::Result;
use crate::model::formats::layers::Layer;
use crate::model::formats::protobuf::{Value, fields};
use crate::model::source::Source;
use crate::model::tensor::{Tensor, shown};

/// The maximum number of objects.
const OBJECTS: usize = 1_000_000;
/// The maximum size of the description of a layer.
const METADATA: u64 = 1 << 20;
/// The maximum number of layers.
const LAYERS: usize = 100_000;

/// The variables of a graph of objects.
#[derive(Default)]
pub struct VariableNames {
    /// The name in the index and the name in the model, in the order of the graph.
    pub names: Vec<(String, String)>,
    /// The variables that are trained, by the names in the index; `None` if the graph has no list of them.
    pub trained: Option<HashSet<String>>,
}

impl VariableNames {
    /// Reads `TrackableObjectGraph`.
    pub fn read(graph: &Source) -> Result<VariableNames> {
        let mut found = VariableNames::default();
        // Keras 3 exports a model with a list of the variables that are trained.
        let root = children(graph, 0)?;
        let list = root.into_iter().find(|(_, name)| name == "trainable_variables").map(|(id, _)| id);
        let trained = list.map(|list| children(graph, list)).transpose()?;
        let trained = trained.map(|list| list.into_iter().map(|(id, _)| id).collect::<HashSet<u64>>());
        found.trained = trained.as_ref().map(|_| HashSet::new());
        let mut number = 0;
        each(graph, 1, &mut |node| {
            let is_trained = trained.as_ref().is_some_and(|trained| trained.contains(&number));
            number += 1;
            each(&node, 2, &mut |attribute| found.attribute(&attribute, is_trained))
        })?;
        Ok(found)
    }

    /// Adds the value of an object.
    fn attribute(&mut self, attribute: &Source, is_trained: bool) -> Result<()> {
        let (mut full, mut key) = (String::new(), String::new());
        let mut all = fields(attribute);
        while let Some((field, value)) = all.field()? {
            match field {
                2 => full = value.text()?,
                3 => key = value.text()?,
                _ => {}
            }
        }
        if self.names.len() == OBJECTS {
            return Err(attribute.refuse(format!("it has more than {OBJECTS} objects")));
        }
        let Some(key) = key.strip_suffix(SUFFIX).filter(|_| !full.is_empty()) else { return Ok(()) };
        if let Some(trained) = self.trained.as_mut().filter(|_| is_trained) {
            trained.insert(shown(key));
        }
        self.names.push((shown(key), shown(&full)));
        Ok(())
    }
}

/// The numbers and names of the children of an object.
fn children(graph: &Source, wanted: u64) -> Result<Vec<(u64, String)>> {
    let (mut number, mut found) = (0, Vec::new());
    each(graph, 1, &mut |node| {
        number += 1;
        if number - 1 != wanted {
            return Ok(());
        }
        each(&node, 1, &mut |child| {
            let (mut id, mut name) = (0, String::new());
            let mut all = fields(&child);
            while let Some((field, value)) = all.field()? {
                match (field, value) {
                    (1, Value::Number(number)) => id = number,
                    (2, value) => name = value.text()?,
                    _ => {}
                }
            }
            if found.len() < OBJECTS {
                found.push((id, name));
            }
            Ok(())
        })
    })?;
    Ok(found)
}

/// What the graph of a model says of its objects.
#[derive(Default)]
pub struct ModelObjects {
    /// Whether a variable with this name is trained; `None` if two of one name disagree.
    pub trained: HashMap<String, Option<bool>>,
    /// The class of a layer of Keras by its name.
    pub classes: BTreeMap<String, String>,
    /// Layers that are not trained, though their variables could be.
    pub frozen: HashSet<String>,
    /// What loading runs besides.
    pub calls: Vec<String>,
}

impl ModelObjects {
    /// Reads `SavedObjectGraph`.
    pub fn read_graph(&mut self, graph: &Source) -> Result<()> {
        each(graph, 1, &mut |node| {
            let mut all = fields(&node);
            while let Some((field, value)) = all.field()? {
                match (field, value) {
                    (4, Value::Bytes(object)) => self.user_object(&object, 3)?,
                    (7, Value::Bytes(variable)) => self.variable(&variable)?,
                    _ => {}
                }
            }
            Ok(())
        })
    }

    /// Reads `keras_metadata.pb`, in which Keras 2 describes layers.
    pub fn read_keras(&mut self, metadata: &Source) -> Result<()> {
        each(metadata, 1, &mut |object| self.user_object(&object, 5))
    }

    fn variable(&mut self, variable: &Source) -> Result<()> {
        let (mut name, mut is_trained) = (String::new(), false);
        let mut all = fields(variable);
        while let Some((field, value)) = all.field()? {
            match (field, value) {
                (3, Value::Number(number)) => is_trained = number != 0,
                (6, value) => name = shown(&value.text()?),
                _ => {}
            }
        }
        if self.trained.len() < OBJECTS {
            let known = self.trained.entry(name).or_insert(Some(is_trained));
            *known = known.filter(|known| *known == is_trained);
        }
        Ok(())
    }

    /// An object with metadata in JSON in this field.
    fn user_object(&mut self, object: &Source, metadata: u64) -> Result<()> {
        let mut all = fields(object);
        while let Some((field, value)) = all.field()? {
            let Value::Bytes(text) = value else { continue };
            // The configuration of a model is larger than that of a layer; it says nothing more.
            if field != metadata || text.len() > METADATA {
                continue;
            }
            let Ok(json) = serde_json::from_slice::<Json>(&text.head(METADATA)?) else { continue };
            let text = |key: &str| json.get(key).and_then(Json::as_str);
            if let (Some(name), Some(class)) = (text("name"), text("class_name"))
                && self.classes.len() < LAYERS
            {
                if class == "Lambda" {
                    self.calls.push(format!("the Python code of the layer `{}`", shown(name)));
                }
                if json.get("trainable") == Some(&Json::Bool(false)) {
                    self.frozen.insert(shown(name));
                }
                self.classes.insert(shown(name), shown(class));
            }
        }
        Ok(())
    }
}

/// Groups variables by the layers that have them.
pub fn layers(tensors: &[Tensor], variables: &VariableNames, objects: &ModelObjects) -> Vec<Layer> {
    let by_key: HashMap<&str, &Tensor> = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    // A model that Keras 3 exported has its variables twice, the second time without an order.
    let is_export = variables.names.iter().any(|(key, _)| key.starts_with("variables/"));
    let (mut layers, mut places): (Vec<Layer>, HashMap<String, usize>) = (Vec::new(), HashMap::new());
    for (key, full) in &variables.names {
        let is_state = full.ends_with("seed_generator_state") || (is_export && key.starts_with("_all_variables/"));
        let is_other = ["optimizer/", "keras_api/", "_optimizer"].iter().any(|other| key.starts_with(other));
        let Some(tensor) = by_key.get(key.as_str()).filter(|t| !is_state && !is_other && t.dtype.name() != "text")
        else {
            continue;
        };
        let (name, class) = layer_of(full, objects);
        let at = *places.entry(name.clone()).or_insert(layers.len());
        if at == layers.len() {
            if at == LAYERS {
                break;
            }
            let dtype = Some(tensor.dtype.name().to_string());
            layers.push(Layer { name, class, dtype, input: None, parameters: Some(0), trainable: Some(0) });
        }
        let layer = &mut layers[at];
        let trained = match &variables.trained {
            _ if objects.frozen.contains(&layer.name) => Some(false),
            Some(trained) if is_export => Some(trained.contains(key)),
            _ => objects.trained.get(full).copied().flatten(),
        };
        layer.parameters = layer.parameters.map(|sum| sum.saturating_add(tensor.elements()));
        layer.trainable = match (layer.trainable, trained) {
            (Some(sum), Some(true)) => Some(sum.saturating_add(tensor.elements())),
            (Some(sum), Some(false)) => Some(sum),
            _ => None,
        };
    }
    layers
}

/// The name and the class of the layer that has a variable: a layer that Keras describes, otherwise all but the last
/// part of the name.
fn layer_of(full: &str, objects: &ModelObjects) -> (String, String) {
    let known = full.split('/').find_map(|part| objects.classes.get_key_value(part));
    match known {
        Some((name, class)) => (name.clone(), class.clone()),
        None => (full.rsplit_once('/').map_or("(model)", |(layer, _)| layer).to_string(), String::new()),
    }
}

/// Calls `visit` with each message in a field.
pub fn each(source: &Source, wanted: u64, visit: &mut dyn FnMut(Source) -> Result<()>) -> Result<()> {
    let mut all = fields(source);
    while let Some((field, value)) = all.field()? {
        if let (true, Value::Bytes(message)) = (field == wanted, value) {
            visit(message)?;
        }
    }
    Ok(())
}
