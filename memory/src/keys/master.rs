//! The key that seals the rings of a vault, and where randomness comes from.

use std::fmt;
use std::io;
use std::path::Path;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Secret;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};

const ID_LABEL: &[u8] = b"memos master key id";

/// Where secrets come from.
pub trait Entropy: Send + Sync {
    /// Fills the bytes with what nobody can foretell.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) when there is no randomness to be had.
    fn fill(&self, bytes: &mut [u8]) -> Result<()>;
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        getrandom::fill(bytes)
            .map_err(|error| Error::unavailable("the operating system gives no randomness").with_source(error))
    }
}

/// Bytes that follow from a seed, for tests and for runs that must give the same bytes twice.
///
/// Never for real data: whoever knows the seed knows every key.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    count: Mutex<u64>,
}

impl SeededEntropy {
    /// Starts the sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed, count: Mutex::new(0) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        let mut count = self.count.lock();
        for chunk in bytes.chunks_mut(32) {
            *count += 1;
            let mut hasher = Sha256::new_with_prefix(self.seed.to_le_bytes());
            hasher.update(count.to_le_bytes());
            chunk.iter_mut().zip(hasher.finalize()).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

/// Returns fresh secret bytes.
pub(crate) fn draw(entropy: &dyn Entropy) -> Result<Secret> {
    let mut secret = Secret::default();
    entropy.fill(secret.as_mut_slice())?;
    Ok(secret)
}

/// The key that seals the rings of a vault. Whoever has it and the vault's files can read all that is not erased.
#[derive(Clone)]
pub struct MasterKey {
    secret: Secret,
    id: [u8; 8],
}

impl MasterKey {
    /// Takes the key's thirty-two bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let secret = Secret::new(bytes);
        let mut hasher = Sha256::new_with_prefix(ID_LABEL);
        hasher.update(secret.as_slice());
        let mut id = [0; 8];
        id.iter_mut().zip(hasher.finalize()).for_each(|(to, from)| *to = from);
        Self { secret, id }
    }

    /// Makes a new key.
    ///
    /// # Errors
    /// As [`Entropy::fill`].
    pub fn make(entropy: &dyn Entropy) -> Result<Self> {
        draw(entropy).map(|secret| Self::from_bytes(*secret))
    }

    /// Reads a key that is written as 64 hexadecimal digits, or as base64 of its thirty-two bytes.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it is neither; the message never shows what was read.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let read = if text.len() == 64 { from_hex(text) } else { from_base64(text) };
        read.map(|secret| Self::from_bytes(*secret)).ok_or_else(|| {
            let found = text.len();
            Error::invalid(format!(
                "the master key is not readable: it is 64 hexadecimal digits, or base64 of 32 bytes, and not {found} bytes \
                 of something else"
            ))
        })
    }

    /// Reads the key from a file.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such file; else as [`parse`](Self::parse).
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let place = format!("master key `{}`", path.display());
        let bytes = Zeroizing::new(disk.read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::not_found("there is no such file").with_source(error).at(&place),
            _ => Error::unavailable("the file cannot be read").with_source(error).at(&place),
        })?);
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::invalid("the file is not text").at(&place))?;
        Self::parse(text).map_err(|error| error.at(&place))
    }

    /// Reads the key from a file, and makes that file with a new key when there is none.
    ///
    /// Call it without rings to open: a new key opens no ring that an old one sealed.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`Busy`](ErrorKind::Busy) while another program makes the file.
    pub fn read_or_make(disk: &dyn Disk, path: &Path, entropy: &dyn Entropy) -> Result<Self> {
        if disk.exists(path) {
            return Self::read(disk, path);
        }
        let failed = |error: io::Error| {
            let kind = if error.kind() == io::ErrorKind::WouldBlock { ErrorKind::Busy } else { ErrorKind::Unavailable };
            Error::new(kind, format!("master key `{}` cannot be made", path.display())).with_source(error)
        };
        // Of two programs that begin at the same time, the later would overwrite the key under which the first has sealed.
        let _held = disk.open(&path.with_extension("lock"), true).map_err(failed)?;
        if disk.exists(path) {
            return Self::read(disk, path);
        }
        let key = Self::make(entropy)?;
        key.write(disk, path)?;
        Ok(key)
    }

    /// Writes the key into a file that only its owner may read, in place of what is there.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) when the disk fails.
    pub fn write(&self, disk: &dyn Disk, path: &Path) -> Result<()> {
        disk.replace_private(path, &[self.to_hex().as_bytes(), b"\n"]).map_err(|error| {
            Error::unavailable(format!("master key `{}` cannot be written: {error}", path.display())).with_source(error)
        })
    }

    /// Returns the name of the key, which tells nothing about it: the first bytes of a digest.
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// Returns the key as 64 hexadecimal digits, to be written down.
    pub fn to_hex(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        for byte in self.secret.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
            }
        }
        text
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", id_text(self.id))
    }
}

/// Returns the name of a master key as people see it.
pub(crate) fn id_text(id: [u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(id))
}

fn from_hex(text: &str) -> Option<Secret> {
    let mut secret = Secret::default();
    let mut digits = text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    for byte in secret.iter_mut() {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    digits.next().is_none().then_some(secret)
}

/// Reads 43 digits of base64 or of its form for addresses, with or without the `=` behind them.
fn from_base64(text: &str) -> Option<Secret> {
    let digits = text.strip_suffix('=').unwrap_or(text).as_bytes();
    if digits.len() != 43 {
        return None;
    }
    let mut secret = Secret::default();
    for (bytes, digits) in secret.chunks_mut(3).zip(digits.chunks(4)) {
        let mut bits = 0;
        for digit in digits {
            bits = bits << 6 | base64_digit(*digit)?;
        }
        // The last group has three digits, of which the last two bits stand for nothing.
        bits <<= 6 * (4 - digits.len());
        if digits.len() < 4 && bits & 0xff != 0 {
            return None;
        }
        bytes.iter_mut().zip(bits.to_be_bytes().into_iter().skip(1)).for_each(|(to, from)| *to = from);
    }
    Some(secret)
}

fn base64_digit(digit: u8) -> Option<u32> {
    let (first, value) = match digit {
        b'A'..=b'Z' => (b'A', 0),
        b'a'..=b'z' => (b'a', 26),
        b'0'..=b'9' => (b'0', 52),
        b'+' | b'-' => (digit, 62),
        b'/' | b'_' => (digit, 63),
        _ => return None,
    };
    Some(u32::from(digit - first) + value)
}
