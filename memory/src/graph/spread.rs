//! Spreading activation: what is linked to a good match is a better match itself.
//!
//! Each part of a question is active in a cube as far as the cube covers it. Activation passes along links, weaker by the
//! link's share, and does not add up: a part that is covered twice in the neighbourhood is still covered once. So a cube
//! gains exactly what its neighbours say that it does not say itself. (Added scores of neighbours were tried first and
//! recalled less; they let one talkative passage lift everything around it.)

use super::{Direction, Edge, LinkKind, MemoryGraph, Slot};

/// How far activation reaches over a chain of `follows`, and which share of it passes along other links.
#[derive(Debug, Clone, PartialEq)]
pub struct SpreadWeights {
    /// Steps to what came before.
    pub before: usize,
    /// Steps to what came after.
    pub after: usize,
    /// The share that passes between a cube and what it was derived from, both ways.
    pub lineage: f32,
    /// The share that passes between cubes that mention or are about each other, or of which one caused the other.
    pub association: f32,
}

/// What one cube has after its neighbours passed theirs on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spread {
    /// The activation of each part of the question.
    pub active: Vec<f32>,
    /// Which neighbours gave how much, the first of equals; with the link by which they were reached.
    pub given: Vec<(Edge, f32)>,
}

impl Spread {
    /// Returns the activation of all parts together, each counted by its weight.
    pub fn total(&self, weights: &[f32]) -> f32 {
        self.active.iter().zip(weights).map(|(active, weight)| active * weight).sum()
    }
}

/// Links of one cube besides `follows` over which something passes.
const LINKS_PASSED: usize = 16;
/// Links of one cube that are looked at for them. What takes no part is passed over without being counted, so that links to
/// hidden cubes do not crowd out those to others.
const LINKS_LOOKED_AT: usize = 256;

impl MemoryGraph {
    /// Returns the cubes before (`Forward`: a `follows` link leads to what came before) or after `slot`, nearest first.
    pub fn chain(&self, slot: Slot, direction: Direction, steps: usize) -> impl Iterator<Item = Edge> + '_ {
        let next = move |slot: Slot| self.edge(slot, LinkKind::Follows, direction);
        std::iter::successors(next(slot), move |edge| next(edge.slot)).take(steps)
    }

    /// Fills `spread` with the activation of `slot` together with what its neighbours pass on. `active` tells how active
    /// each part of the question is in a cube, or nothing for a cube that takes no part: it gives nothing and passes
    /// nothing on.
    pub fn spread_to<'a>(
        &self,
        slot: Slot,
        reach: &SpreadWeights,
        weights: &[f32],
        active: impl Fn(Slot) -> Option<&'a [f32]>,
        spread: &mut Spread,
    ) {
        spread.given.clear();
        spread.active.clear();
        spread.active.extend_from_slice(active(slot).unwrap_or_default());
        spread.active.resize(weights.len(), 0.0);
        let mut take = |edge: Edge, share: f32| -> bool {
            let Some(theirs) = active(edge.slot) else { return false };
            let mut gain = 0.0;
            for ((mine, theirs), weight) in spread.active.iter_mut().zip(theirs).zip(weights) {
                let offered = theirs * share;
                if offered > *mine {
                    gain += (offered - *mine) * weight;
                    *mine = offered;
                }
            }
            if gain > 0.0 {
                spread.given.push((edge, gain));
            }
            true
        };
        for (direction, steps) in [(Direction::Forward, reach.before), (Direction::Backward, reach.after)] {
            let mut chain = self.chain(slot, direction, steps);
            // What takes no part ends the chain, so that nothing passes through what is hidden.
            while chain.next().is_some_and(|edge| take(edge, 1.0)) {}
        }
        let others = if reach.lineage > 0.0 || reach.association > 0.0 { LINKS_LOOKED_AT } else { 0 };
        let mut passed = 0;
        for edge in self.edges(slot).take(others) {
            let share = match edge.kind {
                LinkKind::DerivedFrom => reach.lineage,
                LinkKind::Mentions | LinkKind::About | LinkKind::CausedBy => reach.association,
                // Similar cubes say the same and have nothing to give; the others say themselves what they have to say.
                _ => 0.0,
            };
            if share > 0.0 && take(edge, share) {
                passed += 1;
                if passed == LINKS_PASSED {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain_of_five() -> MemoryGraph {
        let mut graph = MemoryGraph::default();
        (0..6).for_each(|_| {
            graph.add_slot();
        });
        (1..5).for_each(|slot| graph.add(slot, LinkKind::Follows, slot - 1));
        graph.add(5, LinkKind::DerivedFrom, 0);
        graph
    }

    #[test]
    fn neighbours_give_what_is_missing_and_no_more() {
        let graph = chain_of_five();
        let active: [&[f32]; 6] = [&[1.0, 0.0], &[0.0, 0.5], &[0.25, 0.0], &[0.5, 0.0], &[0.0, 1.0], &[0.0, 0.0]];
        let reach = |before, after, lineage| SpreadWeights { before, after, lineage, association: 0.0 };
        let around = |slot, reach: &SpreadWeights| {
            let mut spread = Spread::default();
            graph.spread_to(slot, reach, &[0.5, 0.5], |slot| active.get(slot as usize).copied(), &mut spread);
            spread
        };
        let spread = |slot, reach: &SpreadWeights| around(slot, reach).active;
        assert_eq!(spread(2, &reach(0, 0, 0.0)), [0.25, 0.0]);
        assert_eq!(spread(2, &reach(1, 0, 0.0)), [0.25, 0.5]);
        assert_eq!(spread(2, &reach(2, 2, 0.0)), [1.0, 1.0]);
        assert_eq!(spread(5, &reach(2, 2, 0.5)), [0.5, 0.0]);
        let from_one = around(2, &reach(2, 0, 0.0));
        assert_eq!(
            from_one.given.iter().map(|(edge, gain)| (edge.slot, *gain)).collect::<Vec<_>>(),
            [(1, 0.25), (0, 0.375)]
        );
    }

    #[test]
    fn nothing_passes_through_what_is_hidden() {
        let graph = chain_of_five();
        let reach = SpreadWeights { before: 4, after: 0, lineage: 0.0, association: 0.0 };
        let mut spread = Spread::default();
        graph.spread_to(3, &reach, &[1.0], |slot| (slot != 1).then_some(&[0.5][..]), &mut spread);
        assert_eq!(spread.given.len(), 0);
        let visible = graph.chain(3, Direction::Forward, 9).map(|edge| edge.slot).collect::<Vec<_>>();
        assert_eq!(visible, [2, 1, 0]);
    }
}
