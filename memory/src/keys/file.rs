//! The file of a ring: its bytes, and how it is written anew so that the old one is gone.
//!
//! ```text
//! keys.ring      the ring
//! keys.partial   the next one, not finished: overwritten and removed
//! keys.spent     the one before: overwritten and removed. While `keys.ring` is missing, this is the ring
//! ```
//!
//! The old file may hold the keys that the new one is written to be without. It is renamed, not replaced, so that a crash
//! cannot leave it lying in free space before it was overwritten.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use super::Secret;
use super::master::{MasterKey, id_text};
use super::seal::{TAG_BYTES, cipher, open_in_place, seal_in_place};
use super::tree::{Cover, derive};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"MEMOSKEY";
const FORMAT: u32 = 1;
const RING_PURPOSE: &[u8; 7] = b"ring  1";

/// Bytes in front of what is sealed: the magic, the format, the master key's id, the salt.
pub(crate) const CLEAR_BYTES: usize = 8 + 4 + 8 + 16;

/// Most bytes of a ring's file; more is not read.
const MOST_BYTES: usize = 2 << 30;

/// What is sealed in a ring's file, as it is written.
#[derive(Serialize)]
pub(crate) struct RingOut<'a> {
    pub(crate) burned_through: u64,
    pub(crate) signing_seed: &'a Secret,
    pub(crate) snapshot_key: &'a Secret,
    pub(crate) subjects: Vec<SubjectOut<'a>>,
}

/// One subject, as it is written.
#[derive(Serialize)]
pub(crate) struct SubjectOut<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) covers: Covers<'a>,
}

/// The covers of one subject, as they are written: each a structure of depth, prefix and seed.
pub(crate) struct Covers<'a>(pub(crate) &'a [Cover]);

impl Serialize for Covers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|cover| (cover.depth, cover.prefix, &cover.seed)))
    }
}

/// What is sealed in a ring's file of format 1.
#[derive(Deserialize)]
pub(crate) struct RingV1 {
    pub(crate) burned_through: u64,
    pub(crate) signing_seed: Secret,
    pub(crate) snapshot_key: Secret,
    pub(crate) subjects: Vec<SubjectV1>,
}

/// One subject of format 1; its number is its place.
#[derive(Deserialize)]
pub(crate) struct SubjectV1 {
    pub(crate) name: Option<String>,
    pub(crate) covers: Vec<CoverV1>,
}

/// One cover of format 1.
#[derive(Deserialize)]
pub(crate) struct CoverV1 {
    pub(crate) depth: u8,
    pub(crate) prefix: u64,
    pub(crate) seed: Secret,
}

/// Returns the bytes of a ring's file.
pub(crate) fn encode(ring: &RingOut<'_>, master: &MasterKey, space: &str, salt: [u8; 16]) -> Result<Vec<u8>> {
    // Enough for all of it: a buffer that grew would leave what was in it behind.
    let room = ring.subjects.iter().fold(128, |room, subject| {
        room + 16 + subject.name.map_or(0, str::len) + subject.covers.0.len() * (32 + 10 + 1)
    });
    let mut bytes = Vec::with_capacity(CLEAR_BYTES + room + TAG_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&master.id());
    bytes.extend_from_slice(&salt);
    let bound = [bytes.as_slice(), space.as_bytes()].concat();
    let mut bytes = postcard::to_extend(ring, bytes)
        .map_err(|error| Error::invalid("the key ring cannot be written").with_source(error))?;
    seal_in_place(&cipher(&derive(master.secret(), &salt, RING_PURPOSE)), 0, &bound, CLEAR_BYTES, &mut bytes);
    if bytes.len() > MOST_BYTES {
        return Err(Error::invalid(format!(
            "the key ring has {} bytes, and at most {MOST_BYTES} are kept",
            bytes.len()
        )));
    }
    Ok(bytes)
}

/// The part of a ring's file that is not sealed.
struct Clear {
    master: [u8; 8],
    salt: [u8; 16],
}

fn read_clear(bytes: &[u8]) -> Result<Clear> {
    let cut = || Error::corrupt("the key ring is cut off");
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
    let (format, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let (master, rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    let (salt, _) = rest.split_first_chunk::<16>().ok_or_else(cut)?;
    if magic != MAGIC {
        return Err(Error::corrupt("this is not a key ring"));
    }
    match u32::from_le_bytes(*format) {
        FORMAT => Ok(Clear { master: *master, salt: *salt }),
        0 => Err(Error::corrupt("the key ring names no format")),
        newer => Err(Error::invalid(format!("the key ring has format {newer}; this program reads up to {FORMAT}"))),
    }
}

/// Reads the bytes of a ring's file.
pub(crate) fn decode(mut bytes: Vec<u8>, master: &MasterKey, space: &str) -> Result<RingV1> {
    let clear = read_clear(&bytes)?;
    if clear.master != master.id() {
        return Err(Error::denied(format!(
            "the ring of space `{space}` is sealed with master key {}, and this program has {}",
            id_text(clear.master),
            id_text(master.id())
        )));
    }
    let mut bound = bytes.get(..CLEAR_BYTES).unwrap_or_default().to_vec();
    bound.extend_from_slice(space.as_bytes());
    let cipher = cipher(&derive(master.secret(), &clear.salt, RING_PURPOSE));
    let opened = open_in_place(&cipher, 0, &bound, CLEAR_BYTES, &mut bytes);
    let plain = Zeroizing::new(bytes);
    if !opened {
        return Err(Error::corrupt(format!("the key ring is damaged, or is not the one of space `{space}`")));
    }
    read_plain(plain.get(CLEAR_BYTES..).unwrap_or_default())
}

/// Reads what was sealed.
pub(crate) fn read_plain(plain: &[u8]) -> Result<RingV1> {
    let strange = || Error::corrupt("the key ring holds what no ring holds");
    match postcard::take_from_bytes::<RingV1>(plain) {
        Ok((ring, [])) => Ok(ring),
        Ok(_) => Err(strange()),
        Err(error) => Err(strange().with_source(error)),
    }
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::WouldBlock => ErrorKind::Busy,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("key ring `{}`: {what}", path.display())).with_source(error)
}

/// Returns whether there is a ring, be it one that a crash left under the name of the one before.
pub(crate) fn exists(disk: &dyn Disk, path: &Path) -> bool {
    disk.exists(path) || disk.exists(&path.with_extension("spent"))
}

/// Reads the file after bringing to an end what a crash left half done.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    settle(disk, path)?;
    // What is sealed from now on must not outlive the ring: its name may not be sure yet.
    sync(disk, path)?;
    whole(disk, path)
}

/// Returns the id of the master key that sealed the file. It changes nothing, since another program may have the ring open.
pub(crate) fn sealed_by(disk: &dyn Disk, path: &Path) -> Result<[u8; 8]> {
    let spent = path.with_extension("spent");
    let path = if !disk.exists(path) && disk.exists(&spent) { &spent } else { path };
    read_clear(&whole(disk, path)?).map(|clear| clear.master).map_err(|error| error.at(format!("`{}`", path.display())))
}

fn whole(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    let cannot = |error| failed("it cannot be read", path, error);
    let len = disk.size(path).map_err(cannot)?;
    if len > MOST_BYTES as u64 {
        return Err(Error::corrupt(format!("key ring `{}` has {len} bytes, more than any ring", path.display())));
    }
    disk.read(path).map_err(cannot)
}

/// Writes the file anew. It is durable on return, and the old one is overwritten and gone.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    settle(disk, path)?;
    let (partial, spent) = (path.with_extension("partial"), path.with_extension("spent"));
    let cannot = |error| failed("it cannot be written", path, error);
    let file = disk.create_private(&partial).map_err(cannot)?;
    file.write_at(0, bytes).and_then(|()| file.sync()).map_err(cannot)?;
    // Closed before it gets its name: some systems do not rename what is open.
    drop(file);
    if disk.exists(path) {
        disk.rename(path, &spent).map_err(cannot)?;
    }
    disk.rename(&partial, path).map_err(cannot)?;
    sync(disk, path)?;
    shred(disk, &spent)
}

/// Removes the ring and all that is left of it. What it sealed is lost.
pub(crate) fn destroy(disk: &dyn Disk, path: &Path) -> Result<()> {
    [path.with_extension("partial"), path.with_extension("spent"), path.to_owned()]
        .iter()
        .try_for_each(|path| shred(disk, path))?;
    sync(disk, path)
}

/// Brings to an end what a crash left half done: before the new ring had its name the old one stays, after that it goes.
fn settle(disk: &dyn Disk, path: &Path) -> Result<()> {
    let spent = path.with_extension("spent");
    if disk.exists(&spent) {
        if !disk.exists(path) {
            disk.rename(&spent, path).map_err(|error| failed("it cannot be put back", path, error))?;
        }
        // Which of the two is the ring must be sure before the other goes: a power cut may still take back a name.
        sync(disk, path)?;
    }
    shred(disk, &spent)?;
    shred(disk, &path.with_extension("partial"))
}

fn sync(disk: &dyn Disk, path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    disk.sync_folder(folder).map_err(|error| failed("its folder cannot be flushed", path, error))
}

/// Overwrites a file with zeros and removes it, if it is there.
///
/// That reaches the bytes where a file system writes in place onto a medium that does. A flash disk's controller, a file
/// system that copies on write, a snapshot or a backup keeps them all the same; the remedy is another master key, and an
/// end of the old one.
fn shred(disk: &dyn Disk, path: &Path) -> Result<()> {
    if !disk.exists(path) {
        return Ok(());
    }
    let zeros = || -> io::Result<()> {
        let file = disk.open(path, false)?;
        let (len, zeros) = (file.len()?, [0; 65_536]);
        for at in (0..len).step_by(zeros.len()) {
            let left = usize::try_from(len - at).unwrap_or(usize::MAX).min(zeros.len());
            file.write_at(at, zeros.get(..left).unwrap_or_default())?;
        }
        file.sync()
    };
    zeros().and_then(|()| disk.remove(path)).map_err(|error| failed("the one before cannot be removed", path, error))
}
