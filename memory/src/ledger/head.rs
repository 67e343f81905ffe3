//! Signed heads: a space's word, at a time, for all events that it has.
//!
//! Whoever keeps a signed head can tell later whether the space still has those events, unchanged and in that order. A space
//! that shows different events to different people must sign two heads that do not go together, and both are evidence.
//!
//! What is signed is this. The same key signs bundles, which begin otherwise:
//!
//! | bytes | what |
//! |---|---|
//! | 13 | `memos head 1` and a zero byte |
//! | 8 | how many events there are, little endian |
//! | 32 | the root of the Merkle tree over them |
//! | 32 | the digest of the last of them |
//! | 8 | when it was signed: milliseconds since 1970-01-01T00:00:00Z, little endian, signed |
//! | 32 | the key that the signature is checked with |
//! | the rest | the space's name |
//!
//! The signature is Ed25519 (RFC 8032), checked strictly: keys and signatures that would hold for several texts are refused.
//!
//! This room does not know where the key is kept.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::text;
use crate::cube::{Digest, SpaceName};
use crate::error::{Error, Result};
use crate::time::Timestamp;

const DOMAIN: &[u8; 13] = b"memos head 1\0";

/// Most bytes of a signed head's text.
const MOST_BYTES: usize = 4096;

/// The public key with which the heads and bundles of a space are checked. Its text is 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpaceKey(#[serde(with = "text::hex")] [u8; 32]);

impl SpaceKey {
    /// Returns the public key of a signing seed.
    pub fn of_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed).verifying_key().to_bytes())
    }

    /// Returns the thirty-two bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns whether it made the signature of these bytes. Strict: keys of small order, for which a signature fits
    /// anything, are refused.
    pub(crate) fn signed(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        let key = VerifyingKey::from_bytes(&self.0);
        key.is_ok_and(|key| key.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok())
    }
}

/// Signs bytes. They begin with a domain of their own, so that the signature means nothing anywhere else.
pub(crate) fn sign(seed: &[u8; 32], bytes: &[u8]) -> [u8; 64] {
    SigningKey::from_bytes(seed).sign(bytes).to_bytes()
}

impl fmt::Display for SpaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::to_hex(&self.0))
    }
}

impl fmt::Debug for SpaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SpaceKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text::from_hex(text).map(Self).ok_or_else(|| {
            Error::invalid(format!("`{text}` is not a space's key; one has 64 lower-case hexadecimal digits"))
        })
    }
}

/// What a space says of itself: how many events it has, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The space.
    pub space: SpaceName,
    /// How many events it has.
    pub events: u64,
    /// The root of the Merkle tree over them.
    pub root: Digest,
    /// The digest of the last of them.
    pub digest: Digest,
    /// When this was said.
    pub at: Timestamp,
}

impl Head {
    /// Signs the head with the space's seed.
    pub fn sign(self, seed: &[u8; 32]) -> SignedHead {
        let Self { space, events, root, digest, at } = self;
        let key = SpaceKey::of_seed(seed);
        let mut signed = SignedHead { space, events, root, digest, at, key, signature: [0; 64] };
        signed.signature = sign(seed, &signed.signed_bytes());
        signed
    }
}

/// A head with the signature of its space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// The space.
    pub space: SpaceName,
    /// How many events it has; at least one, with which it began.
    pub events: u64,
    /// The root of the Merkle tree over them.
    #[serde(with = "text::digest")]
    pub root: Digest,
    /// The digest of the last of them.
    #[serde(with = "text::digest")]
    pub digest: Digest,
    /// When this was said.
    pub at: Timestamp,
    /// The key that the signature is checked with. Whether it is the space's, only its owner can tell.
    pub key: SpaceKey,
    /// The signature of all of the above.
    #[serde(with = "text::hex")]
    pub signature: [u8; 64],
}

impl SignedHead {
    /// Reads the text of a signed head, one JSON object, and checks its signature.
    ///
    /// # Errors
    /// `Invalid` when it is longer than 4 KiB, cannot be read, or is not signed with the key that it names.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MOST_BYTES {
            return Err(Error::invalid(format!("a signed head has at most {MOST_BYTES} bytes, not {}", text.len())));
        }
        let head: Self = serde_json::from_str(text)
            .map_err(|why| Error::invalid(format!("the signed head cannot be read: {why}")).with_source(why))?;
        head.verify()?;
        Ok(head)
    }

    /// Returns the text of the signed head, one JSON object in one line.
    ///
    /// # Errors
    /// None that the fields can cause.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|why| Error::invalid(format!("the signed head cannot be written: {why}")).with_source(why))
    }

    /// Checks the signature with the key that the head names.
    ///
    /// # Errors
    /// `Invalid` when it does not hold.
    pub fn verify(&self) -> Result<()> {
        if self.events == 0 {
            return Err(Error::invalid("a head with no events says nothing"));
        }
        if self.key.signed(&self.signed_bytes(), &self.signature) {
            return Ok(());
        }
        let (space, events) = (&self.space, self.events);
        Err(Error::invalid(format!(
            "the head of `{space}` with {events} events is not signed by the key that it names"
        )))
    }

    fn signed_bytes(&self) -> Vec<u8> {
        [
            DOMAIN.as_slice(),
            &self.events.to_le_bytes(),
            self.root.as_bytes(),
            self.digest.as_bytes(),
            &self.at.as_millis().to_le_bytes(),
            self.key.as_bytes(),
            // The only part without a fixed length stands last.
            self.space.as_str().as_bytes(),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 32] = [7; 32];

    fn head() -> Head {
        let (root, digest) = (Digest::of(b"root"), Digest::of(b"last"));
        Head { space: "acme/support".parse().unwrap(), events: 12, root, digest, at: Timestamp::from_millis(-5) }
    }

    #[test]
    fn a_signed_head_comes_back_from_its_text() {
        let signed = head().sign(&SEED);
        let text = signed.to_json().unwrap();
        assert_eq!(SignedHead::parse(&text).unwrap(), signed);
        assert_eq!(signed.key, SpaceKey::of_seed(&SEED));
        assert_eq!(signed.key.to_string().parse::<SpaceKey>().unwrap(), signed.key);
        let bytes = signed.signed_bytes();
        assert_eq!(bytes.len(), 13 + 8 + 32 + 32 + 8 + 32 + "acme/support".len());
        assert!(bytes.starts_with(b"memos head 1\0\x0c\0\0\0\0\0\0\0") && bytes.ends_with(b"acme/support"));
    }

    #[test]
    fn a_changed_head_is_refused() {
        let signed = head().sign(&SEED);
        let mut forged = vec![
            SignedHead { space: "acme/suppor".parse().unwrap(), ..signed.clone() },
            SignedHead { events: 13, ..signed.clone() },
            SignedHead { root: Digest::of(b"other"), ..signed.clone() },
            SignedHead { digest: Digest::of(b"other"), ..signed.clone() },
            SignedHead { at: Timestamp::from_millis(5), ..signed.clone() },
            SignedHead { key: SpaceKey::of_seed(&[8; 32]), ..signed.clone() },
            Head { events: 0, ..head() }.sign(&SEED),
            // A key of small order, with which a signature of zeros would hold for any text.
            SignedHead {
                key: SpaceKey([&[1][..], &[0; 31]].concat().try_into().unwrap()),
                signature: [0; 64],
                ..signed.clone()
            },
        ];
        for bit in 0..512 {
            let mut changed = signed.clone();
            changed.signature[bit / 8] ^= 1 << (bit % 8);
            forged.push(changed);
        }
        for head in forged {
            assert!(head.verify().is_err(), "{head:?}");
            assert!(SignedHead::parse(&head.to_json().unwrap()).is_err());
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let text = head().sign(&SEED).to_json().unwrap();
        for (from, to) in [
            ("{\"space\"", "{\"more\":1,\"space\""),
            ("\"events\":12", "\"events\":12,\"events\":12"),
            ("\"events\":12", "\"events\":12.0"),
            ("\"at\":-5,", ""),
            ("}", "} "),
            ("}", "}}"),
            ("acme/support", "Acme/support"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_eq!(SignedHead::parse(&changed).is_ok(), to == "} ", "{changed}");
        }
        let upper = text.replace(&head().root.to_string(), &head().root.to_string().to_uppercase());
        assert!(SignedHead::parse(&upper).is_err());
        assert!(SignedHead::parse(&" ".repeat(MOST_BYTES + 1)).is_err());
        assert!("7".repeat(63).parse::<SpaceKey>().is_err() && "é".repeat(32).parse::<SpaceKey>().is_err());
    }
}
