//! A read-only table of word pieces that finds the longest one a text begins with.
//!
//! Embedding spends most of its time here. So the hashes of all prefixes of a word come from one pass over its bytes, and
//! a slot carries part of the hash, which keeps nearly every failed probe out of the pieces themselves. The table is
//! built at each start of the program, in about a millisecond; its content is fixed, so nobody can choose keys that
//! collide.

use crate::error::{Error, Result};

/// No piece may be longer; it bounds the work for one byte of text.
const MAX_PIECE_BYTES: usize = 64;
/// An entry's index has 16 bits in a slot, and the last index marks a free one.
const MAX_PIECES: usize = 0xffff;
const FREE: u32 = u32::MAX;
const INDEX_MASK: u32 = 0xffff;

/// The pieces, open addressing with linear probing over at most half full slots.
#[derive(Debug)]
pub(super) struct PieceTable {
    /// The upper half holds part of the hash, the lower half an index into `entries`.
    slots: Vec<u32>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    longest: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    length: usize,
    id: u32,
}

impl PieceTable {
    /// Makes the table of pieces and their ids.
    ///
    /// # Errors
    ///
    /// `Invalid` when a piece is empty, too long or there twice, or when there are too many.
    pub(super) fn new(pieces: &[(&str, u32)]) -> Result<Self> {
        if pieces.len() > MAX_PIECES {
            let count = pieces.len();
            return Err(Error::invalid(format!("the vocabulary has {count} pieces, use at most {MAX_PIECES}")));
        }
        let mut table = Self {
            slots: vec![FREE; (2 * pieces.len()).next_power_of_two()],
            entries: Vec::with_capacity(pieces.len()),
            bytes: Vec::with_capacity(pieces.iter().map(|(piece, _)| piece.len()).sum()),
            longest: 0,
        };
        for (&(piece, id), index) in pieces.iter().zip(0_u32..) {
            table.insert(piece, id, index)?;
        }
        Ok(table)
    }

    fn insert(&mut self, piece: &str, id: u32, index: u32) -> Result<()> {
        if piece.is_empty() || piece.len() > MAX_PIECE_BYTES {
            return Err(Error::invalid(format!(
                "piece {id} of the vocabulary has {} bytes, use 1 to {MAX_PIECE_BYTES}",
                piece.len()
            )));
        }
        let hash = piece.bytes().fold(HASH_START, hash_step);
        if self.find(hash, piece.as_bytes()).is_some() {
            return Err(Error::invalid(format!("the vocabulary has the piece `{piece}` twice")));
        }
        let mask = self.slots.len() - 1;
        let mut position = first_position(hash, mask);
        while let Some(slot) = self.slots.get_mut(position) {
            if *slot == FREE {
                *slot = tag(hash) | index;
                break;
            }
            position = (position + 1) & mask;
        }
        self.entries.push(Entry { start: self.bytes.len(), length: piece.len(), id });
        self.bytes.extend_from_slice(piece.as_bytes());
        self.longest = self.longest.max(piece.len());
        Ok(())
    }

    /// Returns the id of the longest piece that `text` begins with, and the text behind it.
    ///
    /// Pieces are whole characters, so `text` is cut between characters although it is compared as bytes.
    pub(super) fn take_longest<'text>(&self, text: &'text [u8]) -> Option<(u32, &'text [u8])> {
        let reach = text.len().min(self.longest);
        let mut hashes = [HASH_START; MAX_PIECE_BYTES];
        let mut hash = HASH_START;
        for (slot, &byte) in hashes.iter_mut().zip(text.iter().take(reach)) {
            hash = hash_step(hash, byte);
            *slot = hash;
        }
        for (index, &hash) in hashes.iter().take(reach).enumerate().rev() {
            let (piece, rest) = text.split_at_checked(index + 1)?;
            if let Some(id) = self.find(hash, piece) {
                return Some((id, rest));
            }
        }
        None
    }

    fn find(&self, hash: u64, piece: &[u8]) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut position = first_position(hash, mask);
        loop {
            let slot = *self.slots.get(position)?;
            if slot == FREE {
                return None;
            }
            if slot & !INDEX_MASK == tag(hash) {
                let entry = self.entries.get((slot & INDEX_MASK) as usize)?;
                if self.bytes.get(entry.start..entry.start + entry.length)? == piece {
                    return Some(entry.id);
                }
            }
            position = (position + 1) & mask;
        }
    }
}

// FNV-1a with 64 bits (RFC 9923): one multiplication a byte, and each step is the hash of a prefix.
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

fn hash_step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

/// The slot where probing starts; the low bits alone would ignore much of a long piece.
fn first_position(hash: u64, mask: usize) -> usize {
    (hash ^ (hash >> 32)) as usize & mask
}

/// The part of the hash that a slot keeps, in the upper half. It cannot make a used slot look free, as no entry has the
/// last index.
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 & !INDEX_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_piece_wins() {
        let table = PieceTable::new(&[("a", 0), ("ab", 1), ("abcd", 2), ("é", 3)]).unwrap();
        let check = |text: &str, expect: Option<(u32, &str)>| {
            let found = table.take_longest(text.as_bytes());
            assert_eq!(found.map(|(id, rest)| (id, std::str::from_utf8(rest).unwrap())), expect, "{text}");
        };
        check("a", Some((0, "")));
        check("abc", Some((1, "c")));
        check("abcde", Some((2, "e")));
        check("éa", Some((3, "a")));
        check("b", None);
        check("", None);
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert!(PieceTable::new(&[]).unwrap().take_longest(b"a").is_none());
    }

    #[test]
    fn bad_vocabularies_are_refused() {
        let check = |pieces: &[(&str, u32)], expect: &str| {
            let message = PieceTable::new(pieces).unwrap_err().to_string();
            assert!(message.contains(expect), "{message}");
        };
        check(&[("", 0)], "0 bytes");
        check(&[("x".repeat(MAX_PIECE_BYTES + 1).as_str(), 0)], "65 bytes");
        check(&[("twice", 0), ("twice", 1)], "`twice` twice");
        let many: Vec<String> = (0..=MAX_PIECES).map(|number| number.to_string()).collect();
        let many: Vec<(&str, u32)> = many.iter().zip(0..).map(|(piece, id)| (piece.as_str(), id)).collect();
        check(&many, "at most 65535");
    }
}
