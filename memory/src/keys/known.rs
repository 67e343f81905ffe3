//! What a ring knows while it is open: which subjects there are, and their keys.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Secret;
use super::file::RingV1;
use super::tree::{Cover, KeyTree, SLOTS};
use crate::error::{Error, Result};

/// Most subjects of one space, those included that were burned.
const MOST_SUBJECTS: usize = 1_000_000;

/// Most bytes of a subject's name.
const MOST_NAME_BYTES: usize = 4096;

/// What the file holds.
pub(super) struct Known {
    /// A subject's number is its place; the first is the space itself.
    pub(super) subjects: Vec<Subject>,
    pub(super) numbers: FxHashMap<Arc<str>, u32>,
    pub(super) secrets: Secrets,
}

#[derive(Clone)]
pub(super) struct Secrets {
    pub(super) burned_through: u64,
    pub(super) signing_seed: Secret,
    pub(super) snapshot_key: Secret,
}

/// A burned subject has neither name nor covers, and the space itself no name.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) name: Option<Arc<str>>,
    pub(super) tree: KeyTree,
}

impl Known {
    /// Takes what a file held, unless no ring can have been like that.
    pub(super) fn from_file(ring: RingV1) -> Result<Self> {
        let strange = |what: &str| Error::corrupt(format!("the key ring is not sound: {what}"));
        let mut known = Self {
            subjects: Vec::with_capacity(ring.subjects.len()),
            numbers: FxHashMap::default(),
            secrets: Secrets {
                burned_through: ring.burned_through,
                signing_seed: ring.signing_seed,
                snapshot_key: ring.snapshot_key,
            },
        };
        let mut subjects = Vec::with_capacity(ring.subjects.len());
        for (number, subject) in ring.subjects.into_iter().enumerate() {
            let covers = subject.covers.into_iter().map(|cover| Cover {
                depth: cover.depth,
                prefix: cover.prefix,
                seed: cover.seed,
            });
            let tree = KeyTree::from_covers(covers.collect()).ok_or_else(|| strange("its trees overlap"))?;
            let nameless = subject.name.is_none();
            if (number == 0) != nameless && !(nameless && tree.covers().is_empty()) {
                return Err(strange("a subject has no name"));
            }
            if let Some(name) = &subject.name {
                check_new(name, number).map_err(|_| strange("a name or number is beyond the limits"))?;
            }
            subjects.push(Subject { name: subject.name.map(Arc::from), tree });
        }
        if subjects.is_empty() {
            return Err(strange("it has no tree for the space"));
        }
        known.add(subjects);
        if known.numbers.len() != known.subjects.iter().filter(|subject| subject.name.is_some()).count() {
            return Err(strange("two subjects have one name"));
        }
        Ok(known)
    }

    /// Adds subjects behind those there are.
    pub(super) fn add(&mut self, subjects: Vec<Subject>) {
        for (subject, number) in subjects.into_iter().zip(self.subjects.len()..) {
            if let (Some(name), Ok(number)) = (&subject.name, u32::try_from(number)) {
                self.numbers.insert(Arc::clone(name), number);
            }
            self.subjects.push(subject);
        }
    }

    /// Returns what becomes of the subjects out of which something is burned.
    pub(super) fn without(&self, slots: &[(u32, u64)], burned: &[u32]) -> Result<FxHashMap<u32, Subject>> {
        let mut of_subject: FxHashMap<u32, Vec<u64>> = FxHashMap::default();
        for (number, slot) in slots {
            if *slot >= SLOTS {
                return Err(Error::invalid(format!("slot {slot} is beyond the last of a key tree")));
            }
            of_subject.entry(*number).or_default().push(*slot);
        }
        let burned: FxHashSet<u32> = burned.iter().copied().collect();
        if burned.contains(&0) {
            return Err(Error::invalid("subject 0 is the space itself; erase the space"));
        }
        of_subject.extend(burned.iter().map(|number| (*number, Vec::new())));
        let kept = |(number, mut slots): (u32, Vec<u64>)| {
            let subject = self.subjects.get(number as usize);
            let subject = subject.ok_or_else(|| Error::invalid(format!("the key ring has no subject {number}")))?;
            if burned.contains(&number) {
                return Ok((number, Subject { name: None, tree: KeyTree::default() }));
            }
            slots.sort_unstable();
            Ok((number, Subject { name: subject.name.clone(), tree: subject.tree.without(&slots) }))
        };
        of_subject.into_iter().map(kept).collect()
    }

    /// Puts changed subjects in the place of what they were.
    pub(super) fn take(&mut self, changed: FxHashMap<u32, Subject>, secrets: Secrets) {
        for (number, subject) in changed {
            let Some(known) = self.subjects.get_mut(number as usize) else { continue };
            if let (Some(name), None) = (&known.name, &subject.name) {
                self.numbers.remove(name);
            }
            *known = subject;
        }
        self.secrets = secrets;
    }
}

/// Refuses a name or number that a new subject cannot have.
pub(super) fn check_new(name: &str, number: usize) -> Result<()> {
    if name.is_empty() || name.len() > MOST_NAME_BYTES {
        let found = name.len();
        return Err(Error::invalid(format!(
            "a subject's name has 1 to {MOST_NAME_BYTES} bytes, and this one has {found}"
        )));
    }
    if number > MOST_SUBJECTS {
        return Err(Error::invalid(format!("a space has at most {MOST_SUBJECTS} subjects")));
    }
    Ok(())
}
