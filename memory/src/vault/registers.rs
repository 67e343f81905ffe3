//! What a space knows beside its memories: registers, which its actors find again after a restart, and requests that
//! were answered already.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::space::Space;
use crate::cube::Digest;

/// Requests that are remembered. What is forgotten follows from the ledger, like all else, and so from no bound that one
/// program sets and another does not.
const REMEMBERED: usize = 4096;

/// Named values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registers {
    values: BTreeMap<String, Arc<[u8]>>,
}

impl Registers {
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<[u8]>> {
        self.values.get(name)
    }

    pub(crate) fn set(&mut self, name: &str, value: Option<&[u8]>) {
        match value {
            Some(value) => self.values.insert(name.to_owned(), value.into()),
            None => self.values.remove(name),
        };
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn to_flat(&self) -> Vec<(String, Vec<u8>)> {
        self.values.iter().map(|(name, value)| (name.clone(), value.to_vec())).collect()
    }

    /// Returns those whose name begins so, by name.
    fn beginning(&self, prefix: &str) -> impl Iterator<Item = (&String, &Arc<[u8]>)> {
        let from = self.values.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.take_while(move |(name, _)| name.starts_with(prefix))
    }
}

/// The last requests that had a name, and the events that they became.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    known: HashMap<Digest, (u64, u64)>,
    oldest_first: VecDeque<Digest>,
}

impl Requests {
    /// Returns the first event of a request, and how many there are.
    pub(crate) fn find(&self, key: &Digest) -> Option<(u64, u64)> {
        self.known.get(key).copied()
    }

    pub(crate) fn remember(&mut self, key: Digest, first_event: u64, events: u64) {
        if self.known.insert(key, (first_event, events)).is_none() {
            self.oldest_first.push_back(key);
        }
        while self.oldest_first.len() > REMEMBERED {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    pub(crate) fn to_flat(&self) -> Vec<(Digest, u64, u64)> {
        let flat = |key: &Digest| self.find(key).map(|(first_event, events)| (*key, first_event, events));
        self.oldest_first.iter().filter_map(flat).collect()
    }
}

impl Space {
    /// Returns the value of a register.
    pub fn register(&self, name: &str) -> Option<Arc<[u8]>> {
        self.view().registers.get(name).cloned()
    }

    /// Returns the registers whose name begins so, by name.
    pub fn registers(&self, prefix: &str) -> Vec<(String, Arc<[u8]>)> {
        let view = self.view();
        let named = view.registers.beginning(prefix);
        named.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}
