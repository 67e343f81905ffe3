//! The segments that are in memory, under one budget of bytes.
//!
//! Which of them should be there is the scheduler's business: this room loads, drops and counts, and says that it is full. A
//! segment that was dropped while a request still attends to it stays until that request ends, and counts until then.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::cache::KeysValues;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::{Expected, Segment, SegmentFile};

/// The most segments in memory.
pub const MAX_LOADED: usize = 65_536;

/// Segments in memory by name.
#[derive(Debug)]
pub struct SegmentStore {
    budget_bytes: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    segments: BTreeMap<String, Segment>,
    /// Those that were dropped, while somebody holds them.
    leaving: Vec<(Weak<KeysValues>, usize)>,
    /// Of segments that are being loaded.
    coming_bytes: usize,
}

/// A segment in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The name it was loaded under.
    pub name: String,
    /// How many tokens it has.
    pub tokens: usize,
    /// The bytes that it takes.
    pub bytes: usize,
    /// How many hold its keys and values besides the store.
    pub users: usize,
}

impl SegmentStore {
    /// Makes a store for so many bytes.
    pub fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, held: Mutex::default() }
    }

    /// Returns a segment, from its file where it is not in memory.
    ///
    /// # Errors
    /// As [`Segment::open`], and `Busy` where the budget is spent: drop another first.
    pub fn load(&self, name: &str, path: &Path, expected: &Expected<'_>) -> Result<Segment> {
        if let Some(segment) = self.get(name) {
            return Ok(segment);
        }
        let file = SegmentFile::open(path)?;
        let bytes = file.loaded_bytes();
        self.reserve(name, bytes)?;
        // Others go on meanwhile. Two who load the same at once get one copy: the first that came.
        let loaded = file.load(expected);
        let mut held = self.held();
        held.coming_bytes -= bytes;
        let segment = loaded?;
        Ok(held.segments.entry(name.to_owned()).or_insert(segment).clone())
    }

    /// Takes a segment that was just made. One of that name that is there already stays, and is returned.
    ///
    /// # Errors
    /// `Busy` where the budget is spent: drop another first.
    pub fn put(&self, name: &str, segment: Segment) -> Result<Segment> {
        let mut held = self.held();
        if let Some(there) = held.segments.get(name) {
            return Ok(there.clone());
        }
        self.check_room(&mut held, name, segment.bytes())?;
        held.segments.insert(name.to_owned(), segment.clone());
        Ok(segment)
    }

    /// Returns a segment that is in memory.
    pub fn get(&self, name: &str) -> Option<Segment> {
        self.held().segments.get(name).cloned()
    }

    /// Drops a segment, and returns the bytes that this frees, at once or when the last request that uses it ends.
    pub fn drop(&self, name: &str) -> Option<usize> {
        let mut held = self.held();
        let segment = held.segments.remove(name)?;
        let bytes = segment.bytes();
        held.leaving.push((Arc::downgrade(segment.keys_values()), bytes));
        Some(bytes)
    }

    /// Returns what is in memory, by name.
    pub fn loaded(&self) -> Vec<Loaded> {
        let held = self.held();
        let of = |(name, segment): (&String, &Segment)| Loaded {
            name: name.clone(),
            tokens: segment.tokens().len(),
            bytes: segment.bytes(),
            users: Arc::strong_count(segment.keys_values()).saturating_sub(1),
        };
        held.segments.iter().map(of).collect()
    }

    /// Returns the bytes in use: of what is here, what is coming, and what was dropped and is still held.
    pub fn bytes(&self) -> usize {
        self.held().bytes()
    }

    /// Returns the bytes that may be in use.
    pub fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    fn reserve(&self, name: &str, bytes: usize) -> Result<()> {
        let mut held = self.held();
        self.check_room(&mut held, name, bytes)?;
        held.coming_bytes += bytes;
        Ok(())
    }

    fn check_room(&self, held: &mut Held, name: &str, bytes: usize) -> Result<()> {
        let used = held.bytes();
        if used.saturating_add(bytes) > self.budget_bytes || held.segments.len() >= MAX_LOADED {
            let message = format!(
                "the segment `{name}` takes {bytes} bytes, and {used} of {} are in use by {} segments; drop another first",
                self.budget_bytes,
                held.segments.len()
            );
            return Err(Error::new(ErrorKind::Busy, message));
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Whoever stopped in the middle left counts that are right, or too high.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn bytes(&mut self) -> usize {
        self.leaving.retain(|(segment, _)| segment.strong_count() > 0);
        let here: usize = self.segments.values().map(Segment::bytes).sum();
        here + self.coming_bytes + self.leaving.iter().map(|(_, bytes)| bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::config::ModelConfig;
    use crate::segment::{Context, Precision, SegmentAbout};
    use crate::small_model::{folder, small_config, small_decoder, tokens};

    fn segment(config: &ModelConfig, seed: u64) -> Segment {
        let decoder = small_decoder(config, 1);
        let tokens = tokens(seed, 10, config);
        let about = SegmentAbout {
            model: "model".to_owned(),
            tokenizer: "tokenizer".to_owned(),
            context: Context::Independent,
            adapter: None,
            cubes: Vec::new(),
            created_ms: 0,
        };
        Segment::new(config, decoder.memorise(&tokens).unwrap(), &tokens, about).unwrap()
    }

    #[test]
    fn the_budget_counts_what_is_here_and_what_is_still_held() {
        let config = small_config();
        let one = segment(&config, 1);
        let bytes = one.bytes();
        assert_eq!(bytes, 10 * (config.kv_bytes_per_token() + 4));
        let store = SegmentStore::new(2 * bytes);
        drop(store.put("one", one).unwrap());
        let used = store.put("two", segment(&config, 2)).unwrap();
        let refused = store.put("three", segment(&config, 3)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Busy);
        assert!(refused.message().contains("drop another first"), "{refused}");
        let users: Vec<_> = store.loaded().into_iter().map(|loaded| (loaded.name, loaded.users)).collect();
        assert_eq!(users, [("one".to_owned(), 0), ("two".to_owned(), 1)]);

        assert_eq!(store.drop("two"), Some(bytes));
        assert!(store.get("two").is_none() && store.drop("two").is_none());
        assert_eq!(store.put("three", segment(&config, 3)).unwrap_err().kind(), ErrorKind::Busy, "a request holds it");
        drop(used);
        assert_eq!(store.bytes(), bytes);
        store.put("three", segment(&config, 3)).unwrap();
        assert_eq!(store.bytes(), 2 * bytes);
    }

    #[test]
    fn a_file_is_loaded_once_and_shared_by_all() {
        let (folder, config) = (folder(), small_config());
        let path = folder.path().join("segment");
        let written = segment(&config, 1);
        written.write(&path, Precision::F16).unwrap();
        let store = SegmentStore::new(written.bytes());
        let expected = Expected { model: "model", tokenizer: "tokenizer", config: &config, device: &Device::Cpu };
        let foreign = Expected { model: "other", ..expected };
        assert_eq!(store.load("one", &path, &foreign).unwrap_err().kind(), ErrorKind::Mismatch);
        assert_eq!(store.bytes(), 0, "what was refused takes no room");
        let all = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| store.load("one", &path, &expected))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        // Who came while the first was loading found no room for another copy, or the first's.
        let loaded: Vec<Segment> = all.into_iter().flatten().collect();
        assert!(!loaded.is_empty());
        assert!(loaded.iter().all(|one| Arc::ptr_eq(one.keys_values(), loaded[0].keys_values())));
        assert_eq!(store.load("one", Path::new("gone"), &expected).unwrap().tokens(), written.tokens());
        assert_eq!(store.bytes(), written.bytes());
        assert_eq!(SegmentStore::new(1).load("one", &path, &expected).unwrap_err().kind(), ErrorKind::Busy);
    }
}
