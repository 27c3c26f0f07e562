//! Files of HDF5: models and weights of Keras, recognised by attributes and names of groups, and any other tree.

use super::hdf5::{self, Attribute, AttributeValue};
use super::{Contents, Format, keras};
use crate::error::Result;
use crate::model::decode::decode;
use crate::model::source::Source;
use crate::model::tensor::shown;

/// The maximum number of attributes that are listed.
const LISTED: usize = 100;

/// Reads any file of HDF5.
pub fn read(source: &Source) -> Result<Contents> {
    let tree = hdf5::tree(source, keras::CONFIGURATIONS)?;
    let root = &tree.groups[0].1;
    if ["keras_version", "model_config", "layer_names"].iter().any(|name| root.find(name).is_some())
        || (root.find("layer_names0").is_some() && root.find("backend").is_some())
    {
        return keras::read_legacy(source, tree);
    }
    if keras::is_weights(&tree) {
        return keras::read_weights(source, tree);
    }
    let mut contents = Contents::new(Format::Hdf5);
    contents.add_metadata("HDF5 superblock", tree.version);
    for attribute in root.list.iter().take(LISTED) {
        contents.add_metadata(&attribute.name, shown_value(attribute));
    }
    hdf5::take(tree, source, &mut contents)?;
    Ok(contents)
}

/// The value of an attribute for people.
fn shown_value(attribute: &Attribute) -> String {
    match &attribute.value {
        AttributeValue::Texts(texts) if texts.len() == 1 => shown(&texts[0]),
        AttributeValue::Elements(dtype, bytes)
            if dtype.has_numbers() && bytes.len() as u64 == dtype.width().unwrap_or(0) =>
        {
            let mut number = [0.0; 2];
            decode(dtype, bytes, &mut number);
            number[0].to_string()
        }
        _ => format!("({})", shown(&attribute.kind)),
    }
}
