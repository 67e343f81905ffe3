//! Sealing a record: the key of one record, and what it does to the record's parts.
//!
//! The cipher is AES-256-GCM. A key seals each part of one record once, so the nonce is the number of the part. It was taken
//! over ChaCha20-Poly1305 because a record is short: with the processor's instructions it takes a fifth of the time for a
//! hundred bytes, and without them it is slower but not less safe, since the implementation looks nothing up by secrets.

use std::fmt;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use zeroize::Zeroizing;

use super::Secret;
use super::tree::derive;
use crate::error::{Error, Result};

/// Bytes by which a sealed part is longer than the plain one.
pub(crate) const TAG_BYTES: usize = 16;

const RECORD_PURPOSE: &[u8; 7] = b"record1";
const COMMITMENT_PURPOSE: &[u8; 7] = b"commit1";

/// The parts that are sealed with keys of this kind. Their numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Title, tags, path and speaker of a record.
    Description = 0,
    /// The body of a record.
    Body = 1,
    /// The vector of a record.
    Vector = 2,
    /// A snapshot of the projection.
    Snapshot = 3,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Body => "body",
            Self::Vector => "vector",
            Self::Snapshot => "snapshot",
        }
    }
}

/// The key of one record, or of one snapshot; in a space that does not encrypt, the key that changes nothing.
///
/// One key may seal each [`Part`] once. Sealing two texts as the same part would tell their difference to whoever sees both.
#[derive(Clone)]
pub struct RecordKey(Option<Expanded>);

/// A key with what the cipher makes of it, which takes as long as sealing a part, and is needed for each of three.
#[derive(Clone)]
struct Expanded {
    secret: Secret,
    cipher: Aes256Gcm,
}

impl RecordKey {
    /// Returns the key that changes nothing.
    pub(crate) fn plain() -> Self {
        Self(None)
    }

    /// Makes the key of the record that was written in a slot during one session.
    pub(crate) fn of_leaf(leaf: &Secret, session: &[u8; 16]) -> Self {
        Self::of_secret(derive(leaf, session, RECORD_PURPOSE))
    }

    /// Takes a key as [`to_bytes`](Self::to_bytes) returned it.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self::of_secret(Secret::new(bytes))
    }

    fn of_secret(secret: Secret) -> Self {
        let cipher = cipher(&secret);
        Self(Some(Expanded { secret, cipher }))
    }

    /// Returns the key's bytes, which open this record and no other; `None` where nothing is encrypted.
    pub fn to_bytes(&self) -> Option<Zeroizing<[u8; 32]>> {
        self.0.as_ref().map(|key| key.secret.clone())
    }

    /// Returns a digest that tells this key from every other one and nothing about it; `None` where nothing is encrypted.
    ///
    /// The cipher does not do so: who chooses the keys can make sealed bytes that two keys open to two different texts. Where
    /// a key is shown to prove what a record said, the commitment must have been in the chain before.
    pub fn commitment(&self) -> Option<[u8; 32]> {
        self.0.as_ref().map(|key| *derive(&key.secret, &[0; 16], COMMITMENT_PURPOSE))
    }

    /// Returns whether this is the key that changes nothing.
    pub fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// Returns how many bytes a part of `plain` bytes has when it is sealed.
    pub fn sealed_len(&self, plain: usize) -> usize {
        if self.is_plain() { plain } else { plain.saturating_add(TAG_BYTES) }
    }

    /// Adds the sealed part to `out`.
    pub fn seal(&self, part: Part, plain: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        out.reserve(self.sealed_len(plain.len()));
        out.extend_from_slice(plain);
        let Some(key) = &self.0 else { return };
        seal_in_place(&key.cipher, part as u8, &[], from, out);
    }

    /// Returns the plain part.
    ///
    /// # Errors
    /// [`Corrupt`](crate::error::ErrorKind::Corrupt) when the bytes are not what this key sealed as this part.
    pub fn open(&self, part: Part, sealed: &[u8]) -> Result<Vec<u8>> {
        let mut plain = sealed.to_vec();
        let Some(key) = &self.0 else { return Ok(plain) };
        if open_in_place(&key.cipher, part as u8, &[], 0, &mut plain) {
            return Ok(plain);
        }
        Err(Error::corrupt(format!("a sealed {} of {} bytes does not open with its key", part.name(), sealed.len())))
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_plain() { "RecordKey(plain)" } else { "RecordKey(..)" })
    }
}

/// Returns the cipher under a key.
pub(crate) fn cipher(key: &Secret) -> Aes256Gcm {
    Aes256Gcm::new(&(**key).into())
}

fn nonce(number: u8) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    if let Some(first) = nonce.first_mut() {
        *first = number;
    }
    nonce.into()
}

/// Seals the bytes of `buffer` behind `from`, and adds the tag.
pub(crate) fn seal_in_place(cipher: &Aes256Gcm, number: u8, bound: &[u8], from: usize, buffer: &mut Vec<u8>) {
    let plain = buffer.get_mut(from..).unwrap_or_default();
    match cipher.encrypt_inout_detached(&nonce(number), bound, plain.into()) {
        Ok(tag) => buffer.extend_from_slice(&tag),
        // Only for more than 64 GiB, which no limit lets through; what is left never opens, and is not plain either.
        Err(_) => buffer.truncate(from),
    }
}

/// Opens the bytes of `buffer` behind `from`, and takes off the tag; false, with nothing opened, when that fails.
pub(crate) fn open_in_place(cipher: &Aes256Gcm, number: u8, bound: &[u8], from: usize, buffer: &mut Vec<u8>) -> bool {
    let Some(len) = buffer.len().checked_sub(TAG_BYTES).filter(|len| *len >= from) else { return false };
    let Some((sealed, tag)) = buffer.get_mut(from..).and_then(|rest| rest.split_at_mut_checked(len - from)) else {
        return false;
    };
    let Ok(tag) = Tag::try_from(&*tag) else { return false };
    let opened = cipher.decrypt_inout_detached(&nonce(number), bound, sealed.into(), &tag);
    buffer.truncate(len);
    opened.is_ok()
}
