//! Records: what a stored version keeps beside its event. The description and the body of a cube, each sealed.
//!
//! The event names the digest of the *sealed* record. So a record is held against the chain without its key, the digest
//! tells nothing of what is inside, and the chain stays whole when record and key are gone. A large body is a file of
//! its own, named by that digest.

use super::wire::{decode_description, encode_description};
use crate::cube::{Digest, Header, Seal};
use crate::error::{Error, Result};
use crate::keys::{Part, RecordKey};

/// Random bytes of one opening of a space, part of the key of each record that is written then: a slot that a crash handed
/// out twice still gives two keys.
pub(crate) type Session = [u8; 16];

/// Domain of the digest of a record.
const RECORD_DOMAIN: &[u8] = b"memos record 1\0";

/// Bit of a row's first byte: the body is a file of its own.
const IN_FILE: u8 = 1;
/// Bit of a row's first byte: description and body are encrypted.
const SEALED: u8 = 2;

const SESSION_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

/// A record on its way into the store.
#[derive(Debug)]
pub struct Record {
    pub(super) row: Vec<u8>,
    /// The sealed body, when it is to be a file, and the file's name.
    pub(super) file: Option<(Digest, Vec<u8>)>,
}

/// Where a record is kept and what its key is.
pub(crate) struct Place<'a> {
    /// The number of the subject's key tree.
    pub(crate) ring: u32,
    /// The place in it.
    pub(crate) slot: u64,
    /// The present opening of the space.
    pub(crate) session: &'a Session,
    /// The key.
    pub(crate) key: &'a RecordKey,
    /// Bodies of more bytes are files of their own.
    pub(crate) inline_body_bytes: usize,
}

impl Record {
    /// Seals a header's description and a body, and notes in the header by what they are found.
    pub(crate) fn seal(header: &mut Header, body: &[u8], place: &Place<'_>) -> Result<Self> {
        let description = encode_description(header, Vec::with_capacity(256))?;
        let in_file = body.len() > place.inline_body_bytes;
        let flags = if in_file { IN_FILE } else { 0 } | if place.key.is_plain() { 0 } else { SEALED };
        let mut row = Vec::with_capacity(description.len() + if in_file { 0 } else { body.len() } + 96);
        row.push(flags);
        row.extend_from_slice(place.session);
        if let Some(commitment) = place.key.commitment() {
            row.extend_from_slice(&commitment);
        }
        let length_at = row.len();
        row.extend_from_slice(&[0; 4]);
        let from = row.len();
        place.key.seal(Part::Description, &description, &mut row);
        let length = u32::try_from(row.len() - from).map_err(|_| Error::invalid("the description is too long"))?;
        if let Some(place) = row.get_mut(length_at..from) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        let head_bytes = row.len();
        let mut large = Vec::new();
        place.key.seal(Part::Body, body, if in_file { &mut large } else { &mut row });
        let body_digest = Digest::of(if in_file { &large } else { row.get(head_bytes..).unwrap_or_default() });
        let digest = record_digest(row.get(..head_bytes).unwrap_or_default(), &body_digest);
        header.seal = Seal { ring: place.ring, slot: place.slot, digest };
        if in_file {
            row.extend_from_slice(body_digest.as_bytes());
        }
        Ok(Self { row, file: in_file.then_some((digest, large)) })
    }
}

/// The digest of a record: of the row up to its body, with the bit that says where the body stands left out, and of the
/// digest of the sealed body.
fn record_digest(head: &[u8], body: &Digest) -> Digest {
    let (flags, rest) = head.split_first().unwrap_or((&0, &[]));
    Digest::of_parts(&[RECORD_DOMAIN, &[flags & !IN_FILE], rest, body.as_bytes()])
}

/// A row of the store, taken apart.
pub(crate) struct Row<'a> {
    head: &'a [u8],
    session: &'a Session,
    /// What the cipher does not give: the digest of the one key that opens the record.
    commitment: Option<&'a [u8; DIGEST_BYTES]>,
    description: &'a [u8],
    body: StoredBody<'a>,
}

enum StoredBody<'a> {
    Inline(&'a [u8]),
    InFile(Digest),
}

impl<'a> Row<'a> {
    /// Takes a row apart and holds it against what its event names.
    pub(crate) fn parse(row: &'a [u8], seal: &Seal) -> Result<Self> {
        let row = Self::split(row).ok_or_else(|| Error::corrupt("a record cannot be read"))?;
        let body = match &row.body {
            StoredBody::Inline(body) => Digest::of(body),
            StoredBody::InFile(digest) => *digest,
        };
        if record_digest(row.head, &body) != seal.digest {
            return Err(Error::corrupt("a record is not what was stored"));
        }
        Ok(row)
    }

    fn split(row: &'a [u8]) -> Option<Self> {
        let (&flags, rest) = row.split_first()?;
        if flags & !(IN_FILE | SEALED) != 0 {
            return None;
        }
        let (session, rest) = rest.split_first_chunk::<SESSION_BYTES>()?;
        let (commitment, rest) = match flags & SEALED {
            0 => (None, rest),
            _ => rest.split_first_chunk::<DIGEST_BYTES>().map(|(commitment, rest)| (Some(commitment), rest))?,
        };
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (description, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let head = row.get(..row.len() - rest.len())?;
        let body = if flags & IN_FILE == 0 {
            StoredBody::Inline(rest)
        } else {
            StoredBody::InFile(Digest::from_bytes(<[u8; DIGEST_BYTES]>::try_from(rest).ok()?))
        };
        Some(Self { head, session, commitment, description, body })
    }

    /// Returns whether it takes a key to read it.
    pub(crate) fn is_sealed(&self) -> bool {
        self.commitment.is_some()
    }

    /// Returns whether this is the one key that opens the record. Whoever shows a key to prove what the record says is
    /// held to that; who only reads is not, as no other key opens it by accident.
    pub(crate) fn is_key(&self, key: &RecordKey) -> bool {
        self.commitment.copied() == key.commitment()
    }

    /// Returns whether the body is a file of its own.
    pub(crate) fn is_in_file(&self) -> bool {
        matches!(self.body, StoredBody::InFile(_))
    }

    /// Returns what its key is made with.
    pub(crate) fn session(&self) -> &'a Session {
        self.session
    }

    /// Fills in a header's description.
    pub(crate) fn describe(&self, key: &RecordKey, header: &mut Header) -> Result<()> {
        decode_description(&key.open(Part::Description, self.description)?, header)
    }

    /// Returns the body. `read_file` reads the file of a large one, by its name.
    pub(crate) fn body(
        &self,
        key: &RecordKey,
        header: &Header,
        read_file: impl FnOnce(&Digest) -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let body = match &self.body {
            StoredBody::Inline(stored) => key.open(Part::Body, stored)?,
            StoredBody::InFile(digest) => {
                let stored = read_file(&header.seal.digest)?;
                if Digest::of(&stored) != *digest {
                    return Err(not_as_stored(&header.seal));
                }
                key.open(Part::Body, &stored)?
            }
        };
        if Digest::of(&body) != header.fingerprint.content {
            return Err(Error::corrupt(format!("the body of cube `{}` is not what was stored", header.id)));
        }
        Ok(body)
    }
}

fn not_as_stored(seal: &Seal) -> Error {
    Error::corrupt(format!("the body `{}` is not what was stored", seal.digest))
}

/// A vector's row: it can be made again, so it stands outside the chain and brings its own check.
pub(crate) fn vector_row(vector: &[u8], session: &Session, key: &RecordKey) -> Vec<u8> {
    let mut row = Vec::with_capacity(vector.len() + 1 + SESSION_BYTES + 16);
    if key.is_plain() {
        row.push(0);
        row.extend_from_slice(vector);
        row.extend_from_slice(&crc32fast::hash(vector).to_le_bytes());
    } else {
        row.push(SEALED);
        row.extend_from_slice(session);
        key.seal(Part::Vector, vector, &mut row);
    }
    row
}

/// Reads a vector's row. `key` gives the key of a session; none when it is gone, and the answer is then none too.
pub(crate) fn read_vector(row: &[u8], key: impl FnOnce(&Session) -> Option<RecordKey>) -> Result<Option<Vec<u8>>> {
    let damaged = || Error::corrupt("the vector is damaged");
    match row.split_first() {
        Some((&SEALED, rest)) => {
            let (session, sealed) = rest.split_first_chunk::<SESSION_BYTES>().ok_or_else(damaged)?;
            key(session).map(|key| key.open(Part::Vector, sealed)).transpose()
        }
        Some((0, rest)) => {
            let (vector, checksum) = rest.split_last_chunk::<4>().ok_or_else(damaged)?;
            if crc32fast::hash(vector) != u32::from_le_bytes(*checksum) {
                return Err(damaged());
            }
            Ok(Some(vector.to_vec()))
        }
        _ => Err(damaged()),
    }
}

/// Takes the row of a record apart and reads it with no key, and as the row of a vector.
#[cfg(fuzzing)]
pub(crate) fn fuzz_record(bytes: &[u8], header: &mut Header) {
    let plain = RecordKey::plain();
    if let Some(row) = Row::split(bytes) {
        assert_eq!(row.is_key(&plain), !row.is_sealed());
        if let Ok(description) = plain.open(Part::Description, row.description)
            && decode_description(&description, header).is_ok()
        {
            let again = encode_description(header, Vec::new()).and_then(|bytes| {
                let mut again = header.clone();
                decode_description(&bytes, &mut again).map(|()| again)
            });
            assert!(again.is_ok_and(|again| again == *header), "a description that can be read cannot be written");
        }
        let _ = row.body(&plain, header, |_| Ok(Vec::new()));
    }
    let _ = read_vector(bytes, |_| Some(plain));
}
