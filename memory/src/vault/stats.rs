//! What is in a space, as counts over what a caller may read.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::projection::CubeHead;
use super::space::Space;
use crate::cube::SpaceName;
use crate::embed::EmbedderId;
use crate::governance::{Operation, Principal};
use crate::graph::Slot;
use crate::ledger::LedgerHead;

/// Counts of a space.
#[derive(Debug, Clone, Serialize)]
pub struct SpaceStats {
    /// The space.
    pub name: SpaceName,
    /// Where its ledger ends.
    pub ledger: LedgerHead,
    /// The embedder of its index.
    pub embedder: EmbedderId,
    /// Cubes the caller may read, by state.
    pub states: Vec<(String, usize)>,
    /// Cubes the caller may read, by semantic type.
    pub types: Vec<(String, usize)>,
    /// Cubes the caller may read.
    pub cubes: usize,
    /// Links between cubes that the caller may read.
    pub links: usize,
    /// Sessions with cubes that the caller may read.
    pub sessions: usize,
    /// Bytes of its files.
    pub disk_bytes: u64,
}

impl Space {
    /// Returns counts over what the caller may read.
    pub fn stats(&self, caller: &Principal) -> SpaceStats {
        let view = self.view();
        let classes = view.classes_where(|class| self.policy().decide(caller, Operation::Read, class).allowed);
        let readable = |slot: Slot| view.head(slot).is_some_and(|head| classes.contains(head.class));
        let heads: Vec<&CubeHead> =
            view.heads.iter().enumerate().filter(|(slot, _)| readable(*slot as Slot)).map(|(_, head)| head).collect();
        let count = |name: fn(&CubeHead) -> &'static str| {
            let mut counts: BTreeMap<&str, usize> = Default::default();
            heads.iter().for_each(|head| *counts.entry(name(head)).or_default() += 1);
            counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
        };
        let sessions: HashSet<u32> = heads.iter().filter_map(|head| head.session).collect();
        SpaceStats {
            name: self.name().clone(),
            ledger: view.ledger(),
            embedder: view.embedder.clone(),
            states: count(|head| head.state.as_str()),
            types: count(|head| head.semantic.as_str()),
            cubes: heads.len(),
            links: view.graph().all().filter(|(from, _, to)| readable(*from) && readable(*to)).count(),
            sessions: sessions.len(),
            disk_bytes: folder_bytes(&self.shared().folder),
        }
    }
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => folder_bytes(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
