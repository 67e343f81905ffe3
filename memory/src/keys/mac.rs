//! Keys that vouch for bytes: HMAC with SHA-256 (RFC 2104; FIPS 198-1).
//!
//! One secret gives as many keys as there are purposes, and a tag that was made for one purpose holds for no other. Tags
//! are compared in a time that does not depend on where they differ, so nobody finds a good one byte by byte.
//!
//! This room must never know what is vouched for, or by whom.

use std::fmt;
use std::hint::black_box;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Secret;
use crate::error::{Error, Result};

/// Bytes of a tag.
pub const TAG_BYTES: usize = 32;

/// Fewest bytes of a secret from which keys are made.
pub const SECRET_BYTES: usize = 32;

/// Most bytes of a secret from which keys are made.
const MOST_SECRET_BYTES: usize = 4096;

/// Bytes that SHA-256 takes at a time.
const BLOCK: usize = 64;

/// A key that vouches for bytes. It is overwritten with zeros when it is dropped, and shown by no message.
#[derive(Clone)]
pub struct MacKey(Secret);

impl MacKey {
    /// Makes a key from a secret that people or programs keep.
    ///
    /// # Errors
    /// `Invalid` when it has less than 32 bytes or one byte over and over, as a secret has that nobody set. The message
    /// never shows it.
    pub fn from_secret(secret: &[u8]) -> Result<Self> {
        let found = secret.len();
        if !(SECRET_BYTES..=MOST_SECRET_BYTES).contains(&found) {
            return Err(Error::invalid(format!(
                "a secret has {SECRET_BYTES} to {MOST_SECRET_BYTES} bytes, and this one has {found}; make one from randomness"
            )));
        }
        if secret.iter().all(|byte| Some(byte) == secret.first()) {
            return Err(Error::invalid("the secret is one byte over and over; make one from randomness"));
        }
        Ok(Self(hmac(b"memos secret 1", &[secret])))
    }

    /// Takes the key's thirty-two bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Returns the thirty-two bytes: for whoever has to keep the key.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the key that follows from this one for a purpose and for whom or what it is. Purposes are constants, none of
    /// which begins with another.
    pub fn derive(&self, purpose: &[u8], whose: &[u8]) -> Self {
        Self(hmac(self.0.as_slice(), &[purpose, whose]))
    }

    /// Returns the tag of the parts, as if they stood one after the other.
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
        *hmac(self.0.as_slice(), parts)
    }

    /// Returns whether a tag is that of the parts.
    pub fn vouches_for(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        let expected = self.tag(parts);
        // Each byte is looked at, whatever the ones before it were.
        let differences = expected.iter().zip(tag).fold(0, |found, (one, other)| black_box(found | (one ^ other)));
        tag.len() == TAG_BYTES && black_box(differences) == 0
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Secret {
    let mut block = Zeroizing::new([0; BLOCK]);
    if key.len() > BLOCK {
        block.iter_mut().zip(Sha256::digest(key)).for_each(|(to, from)| *to = from);
    } else {
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    }
    let padded = |pad: u8| {
        let mut padded = block.clone();
        padded.iter_mut().for_each(|byte| *byte ^= pad);
        padded
    };
    let mut inner = Sha256::new_with_prefix(padded(0x36).as_slice());
    parts.iter().for_each(|part| inner.update(part));
    let mut outer = Sha256::new_with_prefix(padded(0x5c).as_slice());
    outer.update(inner.finalize());
    Secret::new(outer.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::to_hex;

    #[test]
    fn tags_are_those_of_rfc_4231() {
        for (key, text, expect) in [
            (
                [0x0b; 20].to_vec(),
                b"Hi There".to_vec(),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                [0xaa; 20].to_vec(),
                [0xdd; 50].to_vec(),
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                [0xaa; 131].to_vec(),
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(to_hex(hmac(&key, &[&text]).as_slice()), expect);
            let (one, other) = text.split_at(3);
            assert_eq!(to_hex(hmac(&key, &[one, other]).as_slice()), expect);
        }
    }

    #[test]
    fn a_tag_holds_for_its_bytes_and_its_key_alone() {
        let key = MacKey::from_bytes([7; 32]);
        let tag = key.tag(&[b"some ", b"bytes"]);
        assert!(key.vouches_for(&[b"some bytes"], &tag));
        assert!(
            !key.vouches_for(&[b"some byte"], &tag) && !key.derive(b"other", b"").vouches_for(&[b"some bytes"], &tag)
        );
        for bit in 0..8 * TAG_BYTES {
            let mut changed = tag;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.vouches_for(&[b"some bytes"], &changed), "bit {bit}");
        }
        for length in 0..TAG_BYTES {
            assert!(!key.vouches_for(&[b"some bytes"], &tag[..length]), "{length} bytes");
        }
        assert!(!key.vouches_for(&[b"some bytes"], &[tag.as_slice(), &[0]].concat()));
        assert_eq!(format!("{key:?}"), "MacKey(..)");
    }

    #[test]
    fn a_secret_that_nobody_set_is_none() {
        let random: Vec<u8> = (0..64).collect();
        for (secret, good) in [
            (&random[..0], false),
            (&random[..31], false),
            (&random[..32], true),
            (&random[..], true),
            (&[0; 32], false),
            (&[b'x'; 64], false),
            (&[1; 5000], false),
        ] {
            let made = MacKey::from_secret(secret);
            assert_eq!(made.is_ok(), good, "{} bytes", secret.len());
        }
        let (one, other) = (MacKey::from_secret(&random[..32]).unwrap(), MacKey::from_secret(&random[..33]).unwrap());
        assert_ne!(one.expose(), other.expose());
    }
}
