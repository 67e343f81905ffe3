//! Proof files: that an event stands in a space's ledger, and what it stored, shown to somebody who has neither.
//!
//! A proof file is one JSON object. Fields that are not named here are refused; those with a mark may be left out.
//!
//! | field | what |
//! |---|---|
//! | `format` | 1 |
//! | `head` | a signed head, see below |
//! | `index` | the event's sequence number, from 0 |
//! | `event` | the event's bytes, base64 |
//! | `path` | the inclusion path of RFC 6962, section 2.1.1, in the tree over the head's events |
//! | `older` (?) | `head`: an older signed head of the space; `path`: the consistency proof of section 2.1.2 |
//! | `opening` (?) | `record`: the row of the record, base64; `body` (?): the file of a large body, base64; `key` (?): the key of this one record |
//!
//! A signed head is `space`, `events`, `root`, `digest`, `at` (milliseconds since 1970-01-01T00:00:00Z), `key` and
//! `signature`. Digests, keys and signatures are lower-case hexadecimal, base64 is that of RFC 4648 with padding.
//!
//! A proof shows that whoever holds the head's key said that this event stands at this place. Whose key that is, and whether
//! the space told everybody the same, it cannot show by itself; that is what [`Trust`] is for. An opening holds the key of
//! its record and of no other, and who has the file can read that record.
//!
//! How an event or a record is read, and that a record is the one that the event names, is the caller's.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::head::{SignedHead, SpaceKey};
use super::merkle::{ConsistencyProof, InclusionProof};
use super::text;
use crate::cube::Digest;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// The format that this program writes.
const FORMAT: u32 = 1;

/// Most bytes of a proof file.
pub(crate) const MOST_PROOF_BYTES: usize = 64 * 1024 * 1024;

/// A proof file, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    format: u32,
    /// The signed head whose tree the event is in.
    pub head: SignedHead,
    /// The event's sequence number, from 0.
    pub index: u64,
    /// The event's bytes.
    #[serde(with = "text::base64")]
    pub event: Vec<u8>,
    /// The inclusion path.
    #[serde(with = "text::digests")]
    pub path: Vec<Digest>,
    /// What shows that the head goes on from an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<Older>,
    /// What the event stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

/// An older head, and that the space only grew since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Older {
    /// The older head.
    pub head: SignedHead,
    /// The path of the consistency proof.
    #[serde(with = "text::digests")]
    pub path: Vec<Digest>,
}

/// The record of one event, and the key that opens it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The row of the record.
    #[serde(with = "text::base64")]
    pub record: Vec<u8>,
    /// The file of the body, when the body is too large for the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<LargeBody>,
    /// The key of this one record; none in a space that encrypts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<OpenedKey>,
}

/// The file of a large body.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LargeBody(#[serde(with = "text::base64")] pub Vec<u8>);

/// The key of one record.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpenedKey(#[serde(with = "text::hex")] pub [u8; 32]);

impl std::fmt::Debug for Opening {
    /// Says how much there is, and not what: a key does not belong into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = self.body.as_ref().map(|body| body.0.len());
        write!(f, "Opening({} bytes, body {body:?}, key: {})", self.record.len(), self.key.is_some())
    }
}

/// What the checker knows beforehand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust<'a> {
    /// The space's key. Without it the proof shows only that *somebody* signed.
    pub key: Option<&'a SpaceKey>,
    /// A head that was kept from before; the proof must go on from it.
    pub head: Option<&'a SignedHead>,
}

/// What a proof shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked<E, O> {
    /// The head that was signed.
    pub head: SignedHead,
    /// The older head that it goes on from, if the proof shows one.
    pub older: Option<SignedHead>,
    /// The event's sequence number.
    pub index: u64,
    /// The event.
    pub event: E,
    /// What the event stored, if the proof shows it.
    pub opened: Option<O>,
}

impl Proof {
    /// Begins a proof with what each has.
    ///
    /// # Errors
    /// `Invalid` when the inclusion proof is for another number of events than the head is.
    pub fn new(head: SignedHead, event: Vec<u8>, inclusion: InclusionProof) -> Result<Self> {
        let InclusionProof { index, size, path } = inclusion;
        if size != head.events {
            return Err(Error::invalid(format!("the path leads to {size} events, and the head has {}", head.events)));
        }
        Ok(Self { format: FORMAT, head, index, event, path, older: None, opening: None })
    }

    /// Returns the text of the proof file, one JSON object.
    ///
    /// # Errors
    /// `Invalid` when it is longer than 64 MiB.
    pub fn to_json(&self) -> Result<String> {
        // Base64 makes four bytes of three; what cannot fit is not written first.
        let opened = self
            .opening
            .as_ref()
            .map_or(0, |opening| opening.record.len() + opening.body.as_ref().map_or(0, |body| body.0.len()));
        let carried = (self.event.len() + opened).div_ceil(3).saturating_mul(4);
        Limits::check("the proof", carried, MOST_PROOF_BYTES, "bytes")?;
        let text = serde_json::to_string(self)
            .map_err(|why| Error::invalid(format!("the proof cannot be written: {why}")).with_source(why))?;
        Limits::check("the proof", text.len(), MOST_PROOF_BYTES, "bytes")?;
        Ok(text)
    }

    /// Reads the text of a proof file. It is not checked by this.
    fn parse(text: &str) -> Result<Self> {
        /// Read alone, as a later format may have other fields.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        Limits::check("the proof", text.len(), MOST_PROOF_BYTES, "bytes")?;
        let unreadable = |why: serde_json::Error| {
            Error::invalid(format!("the proof cannot be read: {why}; a proof is one JSON object")).with_source(why)
        };
        match serde_json::from_str::<Format>(text).map_err(unreadable)?.format {
            FORMAT => serde_json::from_str(text).map_err(unreadable),
            0 => Err(Error::invalid("format 0 is no format of a proof")),
            newer => Err(Error::invalid(format!("the proof has format {newer}, which is newer than this program"))),
        }
    }

    fn check_heads(&self, trust: Trust<'_>) -> Result<()> {
        self.head.verify()?;
        if let Some(key) = trust.key
            && *key != self.head.key
        {
            let found = self.head.key;
            return Err(Error::invalid(format!("the proof is signed by the key {found}, and not by {key}")));
        }
        if let Some(older) = &self.older {
            older.check(&self.head)?;
        }
        trust.head.map_or(Ok(()), |kept| self.check_goes_on_from(kept))
    }

    /// Checks that the proof speaks of the head that the checker kept.
    fn check_goes_on_from(&self, kept: &SignedHead) -> Result<()> {
        // Two heads that say the same at different times are one as to the events.
        let same = |head: &SignedHead| {
            (&head.space, head.events, head.root, head.digest, head.key)
                == (&kept.space, kept.events, kept.root, kept.digest, kept.key)
        };
        if same(&self.head) || self.older.as_ref().is_some_and(|older| same(&older.head)) {
            return Ok(());
        }
        let (space, events) = (&kept.space, kept.events);
        Err(Error::invalid(format!(
            "the proof does not go on from the head of `{space}` with {events} events that you kept; ask for one that does"
        )))
    }

    fn check_event(&self) -> Result<()> {
        let proof = InclusionProof { index: self.index, size: self.head.events, path: self.path.clone() };
        proof.verify(&self.event, &self.head.root)
    }
}

impl Older {
    /// Checks that `newer` goes on from the older head.
    fn check(&self, newer: &SignedHead) -> Result<()> {
        let older = &self.head;
        older.verify()?;
        if (&older.space, older.key) != (&newer.space, newer.key) {
            return Err(Error::invalid(format!(
                "the older head is of another space than `{}`, or of another key",
                newer.space
            )));
        }
        let proof = ConsistencyProof { old: older.events, new: newer.events, path: self.path.clone() };
        proof.verify(&older.root, &newer.root)
    }
}

/// Checks a proof file, without any data of the space.
///
/// `read` reads the event's bytes, which stand at the given place; `open` holds a record against the event that names it, and
/// opens it. Neither is called before the event is shown to stand in the ledger.
///
/// # Errors
/// `Invalid` when the text cannot be read, or any part of it does not hold.
///
/// # Limits
/// The text has at most 64 MiB.
pub(crate) fn check_proof<E, O>(
    text: &str,
    trust: Trust<'_>,
    read: impl FnOnce(u64, &[u8]) -> Result<E>,
    open: impl FnOnce(&E, &Opening) -> Result<O>,
) -> Result<Checked<E, O>> {
    let proof = Proof::parse(text)?;
    proof.check_heads(trust)?;
    proof.check_event()?;
    let event = read(proof.index, &proof.event)?;
    let opened = proof.opening.as_ref().map(|opening| open(&event, opening)).transpose()?;
    Ok(Checked { head: proof.head, older: proof.older.map(|older| older.head), index: proof.index, event, opened })
}
