//! What stands around a cube in the graph, as far as a caller may see it.

use std::collections::HashSet;

use serde::Serialize;

use super::space::Space;
use crate::cube::{Cube, CubeId, Layer, SemanticType, State};
use crate::error::{ErrorKind, Result};
use crate::governance::Principal;
use crate::governance::redaction::redacted_header;
use crate::graph::{Link, Slot};
use crate::time::Timestamp;

/// Cubes and links around one cube.
#[derive(Debug, Clone, Serialize)]
pub struct Neighbourhood {
    /// The cube itself, then the others, nearest first.
    pub cubes: Vec<NeighbourCube>,
    /// All links between them.
    pub links: Vec<Link>,
}

/// One cube of a neighbourhood.
#[derive(Debug, Clone, Serialize)]
pub struct NeighbourCube {
    /// The cube.
    pub id: CubeId,
    /// Its present version.
    pub version: u32,
    /// What sort of statement it is.
    pub semantic: SemanticType,
    /// Its state.
    pub state: State,
    /// Who may read it by default.
    pub layer: Layer,
    /// Who said it.
    pub speaker: Option<String>,
    /// Its title; may be empty.
    pub title: String,
    /// What it says; empty for what is not text and for what was erased.
    pub text: String,
    /// When it was said or seen.
    pub observed: Timestamp,
    /// How many links it is away.
    pub hops: usize,
}

impl Space {
    /// Returns the links between cubes of a set, as far as the caller may read both of their ends, ascending.
    pub fn links_between(&self, caller: &Principal, cubes: &[CubeId]) -> Vec<Link> {
        let view = self.view();
        let readable = self.readable(&view, caller);
        let visible = |slot: &Slot| view.head(*slot).is_some_and(|head| readable.contains(head.class));
        let slots: HashSet<Slot> = cubes.iter().filter_map(|cube| view.slot(cube)).filter(visible).collect();
        let mut links = Vec::new();
        for from in &slots {
            let leaving = view.graph().edges(*from).filter(|edge| edge.direction == crate::graph::Direction::Forward);
            for edge in leaving.filter(|edge| slots.contains(&edge.slot)) {
                if let (Some(from), Some(to)) = (view.head(*from), view.head(edge.slot)) {
                    links.push(Link { from: from.id, kind: edge.kind, to: to.id });
                }
            }
        }
        links.sort_unstable();
        links
    }

    /// Returns the cubes at most `hops` links away from one, at most `most` of them, and the links between them. What the
    /// caller may not read is not there, and nothing is reached through it.
    ///
    /// # Errors
    /// `NotFound` when there is no such cube that the caller may read; `Corrupt` when what is stored fails its checks.
    pub fn neighbourhood(&self, caller: &Principal, cube: &CubeId, hops: usize, most: usize) -> Result<Neighbourhood> {
        let (_, start) = self.readable_head(caller, cube)?;
        let (heads, links) = {
            let view = self.view();
            let readable = self.readable(&view, caller);
            let visible = |slot: Slot| view.head(slot).is_some_and(|head| readable.contains(head.class));
            let mut slots = vec![(start, 0)];
            slots.extend(view.graph().neighbourhood(start, hops, most.saturating_sub(1), visible));
            let heads: Vec<_> =
                slots.iter().filter_map(|(slot, hops)| Some((view.head(*slot)?.clone(), *hops))).collect();
            let all: HashSet<Slot> = slots.iter().map(|(slot, _)| *slot).collect();
            let inside = |slot: Slot| all.contains(&slot);
            let mut links = Vec::new();
            for (from, _) in &slots {
                let leaving =
                    view.graph().edges(*from).filter(|edge| edge.direction == crate::graph::Direction::Forward);
                for edge in leaving.filter(|edge| inside(edge.slot)) {
                    if let (Some(from), Some(to)) = (view.head(*from), view.head(edge.slot)) {
                        links.push(Link { from: from.id, kind: edge.kind, to: to.id });
                    }
                }
            }
            (heads, links)
        };
        let ledger = self.ledger()?;
        let mut cubes = Vec::with_capacity(heads.len());
        for (head, hops) in heads {
            let access = self.access(caller, &head);
            let (header, text) = match self.cube_for(&ledger, &head, access) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    // Without its description, which stands in the origin's ledger yet when a fork has erased what is
                    // its origin's.
                    (redacted_header(ledger.bare_header(head.event)?), String::new())
                }
                cube => {
                    let Cube { header, payload } = cube?;
                    (header, payload.as_text().unwrap_or_default().to_owned())
                }
            };
            cubes.push(NeighbourCube {
                id: head.id,
                version: head.version,
                semantic: head.semantic,
                state: head.state,
                layer: header.governance.layer,
                speaker: header.origin.speaker,
                title: header.title,
                text,
                observed: head.observed,
                hops,
            });
        }
        Ok(Neighbourhood { cubes, links })
    }
}
