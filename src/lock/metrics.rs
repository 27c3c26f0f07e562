//! Scalars of a metrics file, for the lock.

use super::by_name::ByName;
use crate::value::Value;

/// A larger metrics file is not a summary, and is left out of the lock.
const MOST: usize = 100;

/// The numbers, booleans and short strings of a metrics file by dotted key; empty if there are too many to review.
pub fn scalars(value: &Value) -> ByName<Value> {
    let mut found = ByName::new();
    collect(String::new(), value, &mut found);
    if found.len() > MOST { ByName::new() } else { found }
}

fn collect(name: String, value: &Value, found: &mut ByName<Value>) {
    if found.len() > MOST {
        return;
    }
    match value {
        Value::Map(entries) => {
            for (key, value) in entries {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                collect(name, value, found);
            }
        }
        Value::Int(_) | Value::Float(_) | Value::Bool(_) if !name.is_empty() => {
            found.insert(name, value.clone());
        }
        Value::Str(s) if !name.is_empty() && s.len() <= 80 => {
            found.insert(name, value.clone());
        }
        _ => {}
    }
}
