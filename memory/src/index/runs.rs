//! Short lists, one for each slot, end to end in one block.
//!
//! Recall looks at hundreds of cubes that stand next to each other in a conversation. In one block their lists stand next
//! to each other too, and the processor has fetched the next one before it is asked for.

use crate::graph::Slot;

/// One list of values for each slot.
#[derive(Debug, Clone)]
pub(super) struct Runs<T> {
    values: Vec<T>,
    /// Where each slot's list begins, and how long it is.
    spans: Vec<(usize, u32)>,
    /// Values that belong to no slot any more.
    dead: usize,
}

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self { values: Vec::new(), spans: Vec::new(), dead: 0 }
    }
}

impl<T: Copy> Runs<T> {
    /// Returns the list of a slot.
    pub(super) fn get(&self, slot: Slot) -> &[T] {
        let span = self.spans.get(slot as usize).copied().unwrap_or_default();
        self.values.get(span.0..span.0 + span.1 as usize).unwrap_or_default()
    }

    /// Puts a list in, in place of the one before.
    pub(super) fn put(&mut self, slot: Slot, list: &[T]) {
        let at = slot as usize;
        if self.spans.len() <= at {
            self.spans.resize(at + 1, (0, 0));
        }
        self.dead += self.get(slot).len();
        if let Some(span) = self.spans.get_mut(at) {
            *span = (self.values.len(), list.len() as u32);
        }
        self.values.extend_from_slice(list);
        if self.dead > self.values.len() / 2 {
            self.close_ranks();
        }
    }

    /// Writes all lists anew, without what is dead, in the order of their slots.
    fn close_ranks(&mut self) {
        let mut values = Vec::with_capacity(self.values.len() - self.dead);
        for (start, length) in &mut self.spans {
            let list = self.values.get(*start..*start + *length as usize).unwrap_or_default();
            *start = values.len();
            values.extend_from_slice(list);
        }
        self.values = values;
        self.dead = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_kept_through_changes_and_cleaning_up() {
        let mut runs = Runs::default();
        let mut plain = vec![Vec::new(); 8];
        for round in 0..200_u32 {
            let slot = round * 7 % 8;
            let list: Vec<u32> = (0..round % 5).map(|n| round + n).collect();
            runs.put(slot, &list);
            plain[slot as usize] = list;
            for (slot, list) in plain.iter().enumerate() {
                assert_eq!(runs.get(slot as Slot), list);
            }
        }
        assert!(runs.values.len() < 100 && runs.get(99).is_empty());
    }
}
