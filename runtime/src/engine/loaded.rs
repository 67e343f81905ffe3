//! The forms that are in memory, under a budget of bytes for segments and one for adapters. Whoever needs room takes it from
//! what was used longest ago; an answer that uses a form which goes keeps it until it ends.

use std::collections::HashMap;

use memos_memory::cube::{Kind, SpaceName};
use memos_memory::time::Timestamp;
use parking_lot::Mutex;

use super::options::EngineLimits;
use super::record::FormRecord;
use super::shaping::Ready;

/// A form in memory.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) record: FormRecord,
    pub(super) ready: Ready,
    pub(super) since: Timestamp,
    used: u64,
}

#[derive(Default)]
struct Shelf {
    forms: HashMap<(SpaceName, String), Held>,
    uses: u64,
}

/// Forms in memory by space and key.
pub(super) struct LoadedForms {
    shelf: Mutex<Shelf>,
    segment_bytes: u64,
    adapter_bytes: u64,
}

impl LoadedForms {
    pub(super) fn new(limits: &EngineLimits) -> Self {
        Self { shelf: Mutex::default(), segment_bytes: limits.segment_bytes, adapter_bytes: limits.adapter_bytes }
    }

    /// Returns a form, and notes that it is used.
    pub(super) fn get(&self, space: &SpaceName, key: &str) -> Option<Ready> {
        let mut shelf = self.shelf.lock();
        shelf.uses += 1;
        let now = shelf.uses;
        let held = shelf.forms.get_mut(&(space.clone(), key.to_owned()))?;
        held.used = now;
        Some(held.ready.clone())
    }

    /// Takes a form in, for which others go that were used longest ago. One that is larger than the budget is not taken.
    pub(super) fn put(&self, space: &SpaceName, record: FormRecord, ready: Ready, since: Timestamp) -> bool {
        let (form, bytes) = (record.form, ready.bytes());
        let budget = if form == Kind::Parametric { self.adapter_bytes } else { self.segment_bytes };
        if bytes > budget {
            return false;
        }
        let mut shelf = self.shelf.lock();
        let name = (space.clone(), record.key.clone());
        shelf.forms.remove(&name);
        loop {
            let same = shelf.forms.iter().filter(|(_, held)| held.record.form == form);
            let used: u64 = same.clone().map(|(_, held)| held.ready.bytes()).sum();
            if used.saturating_add(bytes) <= budget {
                break;
            }
            let oldest = same.min_by_key(|(_, held)| held.used).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { break };
            shelf.forms.remove(&oldest);
        }
        shelf.uses += 1;
        let used = shelf.uses;
        shelf.forms.insert(name, Held { record, ready, since, used });
        true
    }

    /// Drops a form. One that is not there is dropped already.
    pub(super) fn drop_form(&self, space: &SpaceName, key: &str) {
        self.shelf.lock().forms.remove(&(space.clone(), key.to_owned()));
    }

    /// Returns what is in memory.
    pub(super) fn all(&self) -> Vec<(SpaceName, Held)> {
        self.shelf.lock().forms.iter().map(|((space, _), held)| (space.clone(), held.clone())).collect()
    }
}
