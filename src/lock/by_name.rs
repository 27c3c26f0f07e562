//! A small sorted map for the entries of a lock.
//!
//! A stage has a few deps, params and outs. A `BTreeMap` allocates room for eleven of each, a kilobyte per map; for ten
//! thousand stages that is most of the memory, and most of the time, of a run without changes. This is a sorted list
//! with the same methods.

use serde::{Deserialize, Serialize};

/// Sorted by name, each name once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByName<V>(Vec<(String, V)>);

impl<V> Default for ByName<V> {
    fn default() -> ByName<V> {
        ByName(Vec::new())
    }
}

impl<V> ByName<V> {
    /// An empty map.
    pub fn new() -> ByName<V> {
        ByName::default()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(n, _)| n.as_str().cmp(name))
    }

    /// The value under a name.
    pub fn get(&self, name: &str) -> Option<&V> {
        self.find(name).ok().map(|at| &self.0[at].1)
    }

    /// The value under a name, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.find(name).ok().map(|at| &mut self.0[at].1)
    }

    /// Returns true if the name has a value.
    pub fn contains_key(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// Returns the previous value.
    pub fn insert(&mut self, name: String, value: V) -> Option<V> {
        match self.find(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&String, &V)> + Clone {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// The names, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &String> + Clone {
        self.0.iter().map(|(name, _)| name)
    }

    /// The values, sorted by their names.
    pub fn values(&self) -> impl Iterator<Item = &V> + Clone {
        self.0.iter().map(|(_, value)| value)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of two values with one name, the later is kept.
impl<V> FromIterator<(String, V)> for ByName<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(entries: I) -> ByName<V> {
        let mut list: Vec<(String, V)> = entries.into_iter().collect();
        if !list.is_sorted_by(|a, b| a.0 < b.0) {
            list.sort_by(|a, b| a.0.cmp(&b.0));
            list.reverse();
            list.dedup_by(|a, b| a.0 == b.0);
            list.reverse();
        }
        list.shrink_to_fit();
        ByName(list)
    }
}

impl<V, const N: usize> From<[(String, V); N]> for ByName<V> {
    fn from(entries: [(String, V); N]) -> ByName<V> {
        entries.into_iter().collect()
    }
}

impl<V> IntoIterator for ByName<V> {
    type Item = (String, V);
    type IntoIter = std::vec::IntoIter<(String, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, V> IntoIterator for &'a ByName<V> {
    type Item = (&'a String, &'a V);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (String, V)>, fn(&'a (String, V)) -> (&'a String, &'a V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl<V> std::ops::Index<&str> for ByName<V> {
    type Output = V;

    fn index(&self, name: &str) -> &V {
        match self.find(name) {
            Ok(at) => &self.0[at].1,
            Err(_) => panic!("nothing is named {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_sorted_map() {
        let entries = [("b", 1), ("a", 2), ("c", 3), ("a", 4), ("b", 5)];
        let mut map: ByName<i32> = entries.iter().map(|(n, v)| (n.to_string(), *v)).collect();
        assert_eq!(map, [("a", 4), ("b", 5), ("c", 3)].map(|(n, v)| (n.to_string(), v)).into());
        assert_eq!((map.get("b"), map.get("x"), map.len()), (Some(&5), None, 3));
        assert_eq!((map.insert("b".into(), 6), map.insert("0".into(), 7)), (Some(5), None));
        assert_eq!(map.keys().map(String::as_str).collect::<String>(), "0abc");
        assert_eq!(map.values().copied().collect::<Vec<_>>(), [7, 4, 6, 3]);
    }
}
