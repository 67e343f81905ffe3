//! The graph itself: petgraph's adjacency lists over slots, with the rules that keep it sound.

use std::collections::{HashSet, VecDeque};

use petgraph::Direction as Walk;
use petgraph::graph::{DiGraph, EdgeReference, NodeIndex};
use petgraph::visit::EdgeRef;

use super::{Direction, LinkKind};

/// The place of a cube in the graph and in the index of its space. It stays the same through all versions.
pub type Slot = u32;

/// A link as seen from one of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge {
    /// What the link says.
    pub kind: LinkKind,
    /// The way from here to `slot`.
    pub direction: Direction,
    /// The other end.
    pub slot: Slot,
}

/// What petgraph keeps of a link. Its own numbers of edges change when one is taken away, so they tell no age.
#[derive(Debug, Clone, Copy)]
struct Placed {
    kind: LinkKind,
    place: u32,
}

impl Edge {
    /// Returns whether the other end is what this one was made from.
    pub fn is_source(&self) -> bool {
        self.kind.is_lineage() && self.direction == Direction::Forward
    }

    /// Returns whether the other end was made from this one.
    pub fn is_descendant(&self) -> bool {
        self.kind.is_lineage() && self.direction == Direction::Backward
    }
}

/// Typed, directed links between slots.
#[derive(Debug, Clone, Default)]
pub struct MemoryGraph {
    graph: DiGraph<(), Placed, Slot>,
    /// Links that were ever added.
    added: u32,
}

impl MemoryGraph {
    /// Adds a slot without links and returns it. Slots are counted from 0.
    pub fn add_slot(&mut self) -> Slot {
        self.graph.add_node(()).index() as Slot
    }

    /// Returns how many slots there are.
    pub fn slots(&self) -> usize {
        self.graph.node_count()
    }

    /// Returns how many links there are.
    pub fn links(&self) -> usize {
        self.graph.edge_count()
    }

    /// Returns how many links leave a slot (`Forward`) or enter it (`Backward`), counted up to `most`.
    pub fn degree(&self, slot: Slot, direction: Direction, most: usize) -> usize {
        let walk = match direction {
            Direction::Forward => Walk::Outgoing,
            Direction::Backward => Walk::Incoming,
        };
        self.graph.edges_directed(NodeIndex::new(slot as usize), walk).take(most).count()
    }

    /// Adds a link that is not there yet. Whether a space may hold it is for its writer to say.
    pub fn add(&mut self, from: Slot, kind: LinkKind, to: Slot) {
        if (from.max(to) as usize) < self.slots() {
            let placed = Placed { kind, place: self.added };
            self.added = self.added.wrapping_add(1);
            self.graph.add_edge(NodeIndex::new(from as usize), NodeIndex::new(to as usize), placed);
        }
    }

    /// Takes a link away. Returns false when there was none.
    pub fn remove(&mut self, from: Slot, kind: LinkKind, to: Slot) -> bool {
        let from = NodeIndex::new(from as usize);
        let found =
            self.graph.edges(from).find(|edge| edge.weight().kind == kind && edge.target().index() == to as usize);
        let found = found.map(|edge| edge.id());
        found.is_some_and(|edge| self.graph.remove_edge(edge).is_some())
    }

    /// Takes all links of a slot away.
    pub fn isolate(&mut self, slot: Slot) {
        let node = NodeIndex::new(slot as usize);
        for walk in [Walk::Outgoing, Walk::Incoming] {
            while let Some(edge) = self.graph.first_edge(node, walk) {
                self.graph.remove_edge(edge);
            }
        }
    }

    /// Returns whether there is such a link.
    pub fn contains(&self, from: Slot, kind: LinkKind, to: Slot) -> bool {
        self.graph
            .edges(NodeIndex::new(from as usize))
            .any(|edge| edge.weight().kind == kind && edge.target().index() == to as usize)
    }

    /// Returns the links of a slot, those that leave it first; newest first within each.
    pub fn edges(&self, slot: Slot) -> impl Iterator<Item = Edge> + '_ {
        let node = NodeIndex::new(slot as usize);
        let leaving = self.graph.edges_directed(node, Walk::Outgoing).map(|edge| Edge {
            kind: edge.weight().kind,
            direction: Direction::Forward,
            slot: edge.target().index() as Slot,
        });
        let entering = self.graph.edges_directed(node, Walk::Incoming).map(|edge| Edge {
            kind: edge.weight().kind,
            direction: Direction::Backward,
            slot: edge.source().index() as Slot,
        });
        leaving.chain(entering)
    }

    /// Returns the newest link of a type that leaves (`Forward`) or enters (`Backward`) a slot.
    pub fn edge(&self, slot: Slot, kind: LinkKind, direction: Direction) -> Option<Edge> {
        let walk = if direction == Direction::Forward { Walk::Outgoing } else { Walk::Incoming };
        let edge =
            self.graph.edges_directed(NodeIndex::new(slot as usize), walk).find(|edge| edge.weight().kind == kind)?;
        let other = if direction == Direction::Forward { edge.target() } else { edge.source() };
        Some(Edge { kind, direction, slot: other.index() as Slot })
    }

    /// Returns all links, in no order.
    pub fn all(&self) -> impl Iterator<Item = (Slot, LinkKind, Slot)> + '_ {
        self.graph.edge_references().map(ends_and_kind)
    }

    /// Returns all links, oldest first. Added anew in this order, they give a graph that is walked in the same order.
    pub fn by_age(&self) -> Vec<(Slot, LinkKind, Slot)> {
        let mut edges: Vec<_> = self.graph.edge_references().collect();
        edges.sort_by_key(|edge| edge.weight().place);
        edges.into_iter().map(ends_and_kind).collect()
    }

    /// Returns what `slot` was made from (`Forward`) or what was made from it (`Backward`), nearest first, without itself.
    pub fn lineage(&self, slot: Slot, direction: Direction, most: usize) -> Vec<Slot> {
        self.walk(slot, most, |edge| edge.kind.is_lineage() && edge.direction == direction)
    }

    /// Returns the slots that at most `hops` links part from `slot` with how many do, nearest first, without itself.
    pub fn neighbourhood(
        &self,
        slot: Slot,
        hops: usize,
        most: usize,
        visible: impl Fn(Slot) -> bool,
    ) -> Vec<(Slot, usize)> {
        let mut seen = HashSet::from([slot]);
        let mut found = Vec::new();
        let mut ring = vec![slot];
        for hop in 1..=hops {
            // However many hops are allowed, the walk ends where there is nothing new.
            if ring.is_empty() || found.len() >= most {
                break;
            }
            let mut next = Vec::new();
            for edge in ring.iter().flat_map(|&at| self.edges(at)) {
                if found.len() < most && visible(edge.slot) && seen.insert(edge.slot) {
                    found.push((edge.slot, hop));
                    next.push(edge.slot);
                }
            }
            ring = next;
        }
        found
    }

    fn walk(&self, start: Slot, most: usize, follow: impl Fn(&Edge) -> bool) -> Vec<Slot> {
        let mut seen = HashSet::from([start]);
        let mut found = Vec::new();
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            for edge in self.edges(at).filter(&follow) {
                if found.len() < most && seen.insert(edge.slot) {
                    found.push(edge.slot);
                    queue.push_back(edge.slot);
                }
            }
        }
        found
    }
}

fn ends_and_kind(edge: EdgeReference<'_, Placed, Slot>) -> (Slot, LinkKind, Slot) {
    (edge.source().index() as Slot, edge.weight().kind, edge.target().index() as Slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(slots: usize, links: &[(Slot, LinkKind, Slot)]) -> MemoryGraph {
        let mut graph = MemoryGraph::default();
        (0..slots).for_each(|_| {
            graph.add_slot();
        });
        for &(from, kind, to) in links {
            graph.add(from, kind, to);
        }
        graph
    }

    #[test]
    fn lineage_runs_both_ways() {
        use LinkKind::{DerivedFrom, Mentions, Supersedes};
        let graph = graph(4, &[(1, DerivedFrom, 0), (2, Supersedes, 1), (3, Mentions, 2)]);
        assert_eq!(graph.lineage(2, Direction::Forward, 10), [1, 0]);
        assert_eq!(graph.lineage(0, Direction::Backward, 10), [1, 2]);
        assert_eq!(graph.lineage(2, Direction::Forward, 1), [1]);
        assert_eq!(graph.degree(1, Direction::Forward, 10), 1);
        assert_eq!(graph.degree(1, Direction::Backward, 0), 0);
        assert_eq!(graph.degree(9, Direction::Forward, 10), 0);
    }

    #[test]
    fn neighbourhoods_grow_by_rings_and_stop_at_what_is_hidden() {
        use LinkKind::Follows;
        let graph = graph(5, &[(1, Follows, 0), (2, Follows, 1), (3, Follows, 2), (4, Follows, 3)]);
        assert_eq!(graph.neighbourhood(2, 1, 10, |_| true), [(1, 1), (3, 1)]);
        assert_eq!(graph.neighbourhood(2, 2, 10, |_| true), [(1, 1), (3, 1), (0, 2), (4, 2)]);
        assert_eq!(graph.neighbourhood(2, 2, 10, |slot| slot != 3), [(1, 1), (0, 2)]);
        assert_eq!(graph.neighbourhood(2, 9, 3, |_| true).len(), 3);
        assert_eq!(graph.neighbourhood(2, usize::MAX, usize::MAX, |_| true).len(), 4);
    }

    #[test]
    fn links_come_and_go() {
        let mut graph = graph(2, &[(0, LinkKind::About, 1)]);
        assert!(graph.contains(0, LinkKind::About, 1) && !graph.contains(1, LinkKind::About, 0));
        assert_eq!(graph.links(), 1);
        assert!(graph.remove(0, LinkKind::About, 1) && !graph.remove(0, LinkKind::About, 1));
        assert_eq!(graph.edges(0).count(), 0);
    }
}
