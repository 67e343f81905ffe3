//! The ring of a space: its subjects, their trees of keys, and the few other secrets of the space.
//!
//! One lock guards what is known, another makes the writers of the file take turns, so that reading keys does not wait for
//! a disk. What is in memory changes only after the file has.

use std::collections::hash_map::Entry;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use zeroize::Zeroizing;

use super::Secret;
use super::file::{self, Covers, RingOut, SubjectOut};
use super::known::{Known, Secrets, Subject, check_new};
use super::master::{Entropy, MasterKey, draw};
use super::seal::RecordKey;
use super::tree::{Block, KeyTree};
use crate::disk::Disk;
use crate::error::{Error, Result};

/// Most subtrees over all subjects. A burned slot adds forty at most, and far fewer where its neighbours are burned too.
const MOST_COVERS: usize = 16_000_000;

/// Most remembered blocks of one shard; each has half a kilobyte.
const MOST_BLOCKS: usize = 256;

/// Locks over the remembered blocks, so that readers of different ones seldom meet.
const SHARDS: usize = 16;

/// How a vault keeps its spaces' keys.
#[derive(Debug, Clone)]
pub enum Keys {
    /// Nothing is encrypted, and what is erased is erased only as far as the disk forgets.
    Open,
    /// Every space has a ring that this key seals.
    Master(Arc<MasterKey>),
}

impl Keys {
    /// Makes the ring of a new space; where nothing is encrypted, one that changes nothing and has no file.
    ///
    /// # Errors
    /// As [`KeyRing::begin`].
    pub fn begin(&self, disk: Arc<dyn Disk>, file: &Path, space: &str, entropy: Arc<dyn Entropy>) -> Result<KeyRing> {
        match self {
            Self::Open => KeyRing::plain(disk, file),
            Self::Master(master) => KeyRing::begin(disk, file, master, space, entropy),
        }
    }

    /// Opens the ring of a space.
    ///
    /// # Errors
    /// As [`KeyRing::open`] and [`KeyRing::plain`].
    pub fn open(&self, disk: Arc<dyn Disk>, file: &Path, space: &str, entropy: Arc<dyn Entropy>) -> Result<KeyRing> {
        match self {
            Self::Open => KeyRing::plain(disk, file),
            Self::Master(master) => KeyRing::open(disk, file, master, space, entropy),
        }
    }
}

/// The keys of one space while it is open.
///
/// A space that does not encrypt has a ring too: all its subjects have the number 0, its keys change nothing, and burning
/// does nothing.
pub struct KeyRing {
    sealed: Option<Sealed>,
    next_slot: AtomicU64,
}

struct Sealed {
    known: RwLock<Known>,
    blocks: [Mutex<FxHashMap<(u32, u64), Block>>; SHARDS],
    writer: Mutex<Writer>,
}

struct Writer {
    disk: Arc<dyn Disk>,
    file: PathBuf,
    master: MasterKey,
    space: String,
    entropy: Arc<dyn Entropy>,
}

impl KeyRing {
    /// Makes the ring of a space that encrypts nothing.
    ///
    /// # Errors
    /// [`Denied`](crate::error::ErrorKind::Denied) when the space has a ring: its records are sealed.
    pub fn plain(disk: Arc<dyn Disk>, file: &Path) -> Result<Self> {
        if file::exists(&*disk, file) {
            return Err(Error::denied(format!(
                "the space is encrypted by the key ring `{}`, and this program has no master key",
                file.display()
            )));
        }
        Ok(Self { sealed: None, next_slot: AtomicU64::new(0) })
    }

    /// Makes the ring of a new space, and writes its file; durable on return.
    ///
    /// # Errors
    /// [`Conflict`](crate::error::ErrorKind::Conflict) when there is a ring already: it is not overwritten.
    pub fn begin(
        disk: Arc<dyn Disk>,
        file: &Path,
        master: &MasterKey,
        space: &str,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self> {
        if file::exists(&*disk, file) {
            return Err(Error::conflict(format!("there is a key ring `{}` already", file.display())));
        }
        let secrets = Secrets { burned_through: 0, signing_seed: draw(&*entropy)?, snapshot_key: draw(&*entropy)? };
        let own = Subject { name: None, tree: KeyTree::new(draw(&*entropy)?) };
        let known = Known { subjects: vec![own], numbers: FxHashMap::default(), secrets };
        let writer = Writer { disk, file: file.to_owned(), master: master.clone(), space: space.to_owned(), entropy };
        writer.write(&known.subjects, &known.secrets)?;
        Ok(Self::of(known, writer))
    }

    /// Opens the ring of a space, and brings to an end what a crash left half done; only one may have a ring open at a time.
    ///
    /// # Errors
    /// [`NotFound`](crate::error::ErrorKind::NotFound) without a file; [`Denied`](crate::error::ErrorKind::Denied) when
    /// another master key sealed it; [`Corrupt`](crate::error::ErrorKind::Corrupt) when it is damaged or another space's.
    pub fn open(
        disk: Arc<dyn Disk>,
        file: &Path,
        master: &MasterKey,
        space: &str,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self> {
        let ring = file::read(&*disk, file).and_then(|bytes| file::decode(bytes, master, space));
        let known = ring.and_then(Known::from_file).map_err(|error| error.at(format!("`{}`", file.display())))?;
        let writer = Writer { disk, file: file.to_owned(), master: master.clone(), space: space.to_owned(), entropy };
        Ok(Self::of(known, writer))
    }

    fn of(known: Known, writer: Writer) -> Self {
        let blocks = std::array::from_fn(|_| Mutex::default());
        let sealed = Sealed { known: RwLock::new(known), blocks, writer: Mutex::new(writer) };
        Self { sealed: Some(sealed), next_slot: AtomicU64::new(0) }
    }

    /// Returns whether there is the file of a ring.
    pub fn exists(disk: &dyn Disk, file: &Path) -> bool {
        file::exists(disk, file)
    }

    /// Returns the id of the master key that sealed a ring's file, which may be open.
    ///
    /// # Errors
    /// [`NotFound`](crate::error::ErrorKind::NotFound) without a file; [`Corrupt`](crate::error::ErrorKind::Corrupt) when it
    /// is none.
    pub fn sealed_by(disk: &dyn Disk, file: &Path) -> Result<[u8; 8]> {
        file::sealed_by(disk, file)
    }

    /// Overwrites and removes the file of a ring, and with it all that the space's records say. There need not be one.
    ///
    /// # Errors
    /// [`Unavailable`](crate::error::ErrorKind::Unavailable) when the disk fails; calling it again goes on.
    pub fn destroy(disk: &dyn Disk, file: &Path) -> Result<()> {
        file::destroy(disk, file)
    }

    /// Returns whether the space encrypts nothing.
    pub fn is_plain(&self) -> bool {
        self.sealed.is_none()
    }

    /// Returns the number of a subject, and adds it when it is new; durable on return. In a plain space that is always 0.
    ///
    /// # Errors
    /// [`Invalid`](crate::error::ErrorKind::Invalid) when the name is empty or too long, or there are too many subjects.
    ///
    /// # Limits
    /// A name of 4096 bytes, and 1,000,000 subjects. A new one writes the whole file; add many by
    /// [`subjects`](Self::subjects).
    pub fn subject(&self, name: &str) -> Result<u32> {
        match self.number_of(name) {
            Some(number) => Ok(number),
            None => self.subjects([name]).map(|numbers| numbers.first().copied().unwrap_or_default()),
        }
    }

    /// Returns the numbers of subjects in their order, and adds those that are new with one writing of the file.
    ///
    /// # Errors
    /// As [`subject`](Self::subject); then none is added.
    pub fn subjects<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<Vec<u32>> {
        let Some(sealed) = &self.sealed else { return Ok(names.into_iter().map(|_| 0).collect()) };
        let writer = sealed.writer.lock();
        // Nobody else adds while the writer is held.
        let known = sealed.known.read();
        let (mut numbers, mut added) = (Vec::new(), Vec::new());
        let mut new = FxHashMap::default();
        for name in names {
            if let Some(number) = known.numbers.get(name) {
                numbers.push(*number);
                continue;
            }
            let next = known.subjects.len() + added.len();
            match new.entry(name) {
                Entry::Occupied(entry) => numbers.push(*entry.get()),
                Entry::Vacant(entry) => {
                    check_new(name, next)?;
                    let number = u32::try_from(next).unwrap_or(u32::MAX);
                    added.push(Subject { name: Some(name.into()), tree: KeyTree::new(draw(&*writer.entropy)?) });
                    numbers.push(*entry.insert(number));
                }
            }
        }
        if added.is_empty() {
            return Ok(numbers);
        }
        let bytes = writer.bytes(known.subjects.iter().chain(&added), &known.secrets, &writer.master)?;
        drop(known);
        file::replace(&*writer.disk, &writer.file, &bytes)?;
        sealed.known.write().add(added);
        Ok(numbers)
    }

    /// Returns the number of a subject that is known and not burned.
    pub fn number_of(&self, name: &str) -> Option<u32> {
        match &self.sealed {
            Some(sealed) => sealed.known.read().numbers.get(name).copied(),
            None => Some(0),
        }
    }

    /// Returns the name of a subject that is not burned; the space itself has none.
    pub fn name_of(&self, number: u32) -> Option<String> {
        let known = self.sealed.as_ref()?.known.read();
        known.subjects.get(number as usize)?.name.as_deref().map(str::to_owned)
    }

    /// Hands out a slot.
    pub fn next_slot(&self) -> u64 {
        self.next_slot.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes sure that no slot below `at_least` is handed out from now on.
    pub fn set_next_slot(&self, at_least: u64) {
        self.next_slot.fetch_max(at_least, Ordering::Relaxed);
    }

    /// Returns the key of the record that was written in a slot during a session; `None` when it was burned, or there is no
    /// such subject or slot.
    pub fn record_key(&self, number: u32, slot: u64, session: &[u8; 16]) -> Option<RecordKey> {
        let Some(sealed) = &self.sealed else { return Some(RecordKey::plain()) };
        // Held to the end: what this call remembers must be forgotten by a burning that comes meanwhile.
        let known = sealed.known.read();
        let leaf = sealed.leaf(known.subjects.get(number as usize)?, number, slot)?;
        Some(RecordKey::of_leaf(&leaf, session))
    }

    /// Burns the keys of slots and of whole subjects, for erasures up to the event `through`; durable on return.
    ///
    /// What is burned already stays so. The key of the snapshot is replaced too, since one may hold what is erased now. The
    /// old file is overwritten before it is removed. That does not reach what a flash disk, a file system that copies on
    /// write, or a backup kept of it: there, whoever has the master key can bring the burned keys back, until the ring is
    /// [rotated](Self::rotate) to another one and the old one destroyed.
    ///
    /// # Errors
    /// [`Invalid`](crate::error::ErrorKind::Invalid) for a number or slot that cannot be, and for number 0 as a subject;
    /// [`Unavailable`](crate::error::ErrorKind::Unavailable) when the disk fails: then the same call must be made again.
    pub fn burn(&self, slots: &[(u32, u64)], subjects: &[u32], through: u64) -> Result<()> {
        let Some(sealed) = &self.sealed else { return Ok(()) };
        let writer = sealed.writer.lock();
        let known = sealed.known.read();
        let changed = known.without(slots, subjects)?;
        let secrets = Secrets {
            burned_through: known.secrets.burned_through.max(through),
            signing_seed: known.secrets.signing_seed.clone(),
            snapshot_key: draw(&*writer.entropy)?,
        };
        let kept = known.subjects.iter().zip(0..).map(|(subject, number)| changed.get(&number).unwrap_or(subject));
        let bytes = writer.bytes(kept, &secrets, &writer.master)?;
        drop(known);
        file::replace(&*writer.disk, &writer.file, &bytes)?;
        let mut known = sealed.known.write();
        known.take(changed, secrets);
        sealed.blocks.iter().for_each(|blocks| blocks.lock().clear());
        Ok(())
    }

    /// Returns the event up to which erasures were burned; in a plain space, which has nothing to burn, the last there
    /// can be.
    pub fn burned_through(&self) -> u64 {
        self.sealed.as_ref().map_or(u64::MAX, |sealed| sealed.known.read().secrets.burned_through)
    }

    /// Returns the key of the snapshot. It is another one after each burning.
    ///
    /// A snapshot is written more than once, so each needs a `session` of its own, which must stand beside it in clear.
    pub fn snapshot_key(&self, session: &[u8; 16]) -> RecordKey {
        self.sealed.as_ref().map_or_else(RecordKey::plain, |sealed| {
            RecordKey::of_leaf(&sealed.known.read().secrets.snapshot_key, session)
        })
    }

    /// Returns the seed of the key with which the space signs; `None` in a plain space.
    pub fn signing_seed(&self) -> Option<Zeroizing<[u8; 32]>> {
        self.sealed.as_ref().map(|sealed| sealed.known.read().secrets.signing_seed.clone())
    }

    /// Returns the id of the master key that seals this ring; `None` in a plain space.
    pub fn master_id(&self) -> Option<[u8; 8]> {
        self.sealed.as_ref().map(|sealed| sealed.writer.lock().master.id())
    }

    /// Seals the ring with another master key; durable on return. No record changes, and the old key opens the file no more.
    ///
    /// # Errors
    /// [`Unavailable`](crate::error::ErrorKind::Unavailable) when the disk fails: then either key may be the one.
    pub fn rotate(&self, master: &MasterKey) -> Result<()> {
        let Some(sealed) = &self.sealed else { return Ok(()) };
        let mut writer = sealed.writer.lock();
        let known = sealed.known.read();
        let bytes = writer.bytes(&known.subjects, &known.secrets, master)?;
        drop(known);
        file::replace(&*writer.disk, &writer.file, &bytes)?;
        writer.master = master.clone();
        Ok(())
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sealed {
            Some(sealed) => write!(f, "KeyRing({} subjects)", sealed.known.read().subjects.len()),
            None => f.write_str("KeyRing(plain)"),
        }
    }
}

impl Sealed {
    fn leaf(&self, subject: &Subject, number: u32, slot: u64) -> Option<Secret> {
        let block = Block::number(slot);
        let shard = (u64::from(number) ^ block) as usize % SHARDS;
        let mut blocks = self.blocks.get(shard)?.lock();
        if let Some(block) = blocks.get_mut(&(number, block)) {
            return Some(block.leaf(slot));
        }
        let cover = subject.tree.cover_of(slot)?;
        let Some(mut made) = Block::over(cover, slot) else { return Some(cover.leaf(slot)) };
        let leaf = made.leaf(slot);
        if blocks.len() >= MOST_BLOCKS {
            blocks.clear();
        }
        blocks.insert((number, block), made);
        Some(leaf)
    }
}

impl Writer {
    fn bytes<'k>(
        &self,
        subjects: impl IntoIterator<Item = &'k Subject>,
        secrets: &Secrets,
        master: &MasterKey,
    ) -> Result<Vec<u8>> {
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt)?;
        let subjects: Vec<_> = subjects
            .into_iter()
            .map(|subject| SubjectOut { name: subject.name.as_deref(), covers: Covers(subject.tree.covers()) })
            .collect();
        let covers: usize = subjects.iter().map(|subject| subject.covers.0.len()).sum();
        if covers > MOST_COVERS {
            return Err(Error::invalid(format!(
                "the key ring has {covers} trees, and at most {MOST_COVERS} are kept; erase whole subjects"
            )));
        }
        let ring = RingOut {
            burned_through: secrets.burned_through,
            signing_seed: &secrets.signing_seed,
            snapshot_key: &secrets.snapshot_key,
            subjects,
        };
        file::encode(&ring, master, &self.space, salt)
    }

    fn write(&self, subjects: &[Subject], secrets: &Secrets) -> Result<()> {
        file::replace(&*self.disk, &self.file, &self.bytes(subjects, secrets, &self.master)?)
    }
}

/// Reads the file of a ring, and what is sealed in one. What can be read is written, and read as the same then.
#[cfg(fuzzing)]
pub(crate) fn fuzz_ring(bytes: &[u8]) {
    let master = MasterKey::from_bytes([7; 32]);
    assert!(file::decode(bytes.to_vec(), &master, "acme/ring").is_err(), "bytes that nobody sealed are a ring");
    let Ok(known) = file::read_plain(bytes).and_then(Known::from_file) else { return };
    let entropy = Arc::new(super::SeededEntropy::new(1));
    let (disk, file) = (Arc::new(crate::disk::MemoryDisk::default()), PathBuf::from("keys.ring"));
    let writer = Writer { disk, file, master: master.clone(), space: "acme/ring".to_owned(), entropy };
    let written = writer.bytes(&known.subjects, &known.secrets, &master);
    let again = written.and_then(|bytes| file::decode(bytes, &master, "acme/ring")).and_then(Known::from_file);
    let said = |known: &Known| {
        let covers = |subject: &Subject| {
            subject.tree.covers().iter().map(|cover| (cover.depth, cover.prefix, *cover.seed)).collect::<Vec<_>>()
        };
        let subjects = known.subjects.iter().map(|subject| (subject.name.clone(), covers(subject)));
        (known.secrets.burned_through, *known.secrets.signing_seed, subjects.collect::<Vec<_>>())
    };
    assert!(again.is_ok_and(|again| said(&again) == said(&known)), "a ring that can be read cannot be written");
}
