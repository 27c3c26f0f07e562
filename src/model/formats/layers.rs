//! The layers of a model, where a file describes them.

/// A layer of the outermost model, in the order of its description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// The name in the model.
    pub name: String,
    /// The class: `Dense`.
    pub class: String,
    /// The type in which it computes, in the words of the library.
    pub dtype: Option<String>,
    /// The shape of its input, with `?` for a dimension of any length.
    pub input: Option<String>,
    /// The number of its weights, inner layers included; `None` if they are not found in the file.
    pub parameters: Option<u64>,
    /// How many of them training changes, if the file says it.
    pub trainable: Option<u64>,
}

/// The sums over layers.
pub struct LayerTotals {
    pub parameters: u64,
    /// `None` if it is unknown for one of them.
    pub trainable: Option<u64>,
}

/// The sums over all layers; `None` if there are none, or the weights of one are not found.
pub fn totals(layers: &[Layer]) -> Option<LayerTotals> {
    if layers.is_empty() {
        return None;
    }
    let sum = |all: Option<Vec<u64>>| all.map(|all| all.into_iter().fold(0, u64::saturating_add));
    let parameters = sum(layers.iter().map(|layer| layer.parameters).collect())?;
    Some(LayerTotals { parameters, trainable: sum(layers.iter().map(|layer| layer.trainable).collect()) })
}
