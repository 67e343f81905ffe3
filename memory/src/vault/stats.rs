//! What is in a space, as counts over what a caller may read.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Serialize;

use super::projection::CubeHead;
use super::space::Space;
use crate::cube::SpaceName;
use crate::disk::Disk;
use crate::embed::EmbedderId;
use crate::governance::Principal;
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
        let classes = self.readable(&view, caller);
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
            ledger: view.ledger,
            embedder: view.embedder.clone(),
            states: count(|head| head.state.as_str()),
            types: count(|head| head.semantic.as_str()),
            cubes: heads.len(),
            links: view.graph().all().filter(|(from, _, to)| readable(*from) && readable(*to)).count(),
            sessions: sessions.len(),
            disk_bytes: folder_bytes(&*self.shared().options.disk, &self.shared().folder),
        }
    }
}

/// Returns the bytes of what can be looked at.
fn folder_bytes(disk: &dyn Disk, folder: &Path) -> u64 {
    let names = disk.list(folder).unwrap_or_default();
    let bytes = names.iter().map(|name| folder.join(name)).map(|entry| {
        if disk.is_folder(&entry) { folder_bytes(disk, &entry) } else { disk.size(&entry).unwrap_or_default() }
    });
    bytes.sum()
}
