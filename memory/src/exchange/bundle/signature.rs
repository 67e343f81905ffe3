//! Who vouches for a bundle: an Ed25519 signature over the digest of its manifest, which names the digests of all else.
//!
//! The only room of the exchange that knows the library. Whether a key is one that the reader trusts is not decided
//! here.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::cube::Digest;
use crate::error::{Error, Result};

/// Stands before what is signed, so that the signature means nothing anywhere else.
const DOMAIN: &[u8] = b"memos bundle manifest, format 1\0";

/// Signs bundles.
pub struct BundleSigner(SigningKey);

impl BundleSigner {
    /// Makes a signer from the thirty-two secret bytes of an Ed25519 key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Returns the key with which its signatures are verified.
    pub fn key(&self) -> SignerKey {
        SignerKey(self.0.verifying_key().to_bytes())
    }

    pub(super) fn sign(&self, manifest: &Digest) -> String {
        hexadecimal(&self.0.sign(&signed_bytes(manifest)).to_bytes())
    }
}

impl fmt::Debug for BundleSigner {
    /// Shows the public key alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleSigner({})", self.key())
    }
}

/// Names who signed: an Ed25519 verifying key, written in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignerKey([u8; 32]);

impl SignerKey {
    /// Returns the key's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Refuses a signature that this key did not make over the manifest of that digest.
    pub(super) fn verify(&self, manifest: &Digest, signature: &str) -> Result<()> {
        let key = VerifyingKey::from_bytes(&self.0).ok();
        let signature = from_hexadecimal::<64>(signature).map(|bytes| Signature::from_bytes(&bytes));
        let sound = key.zip(signature).is_some_and(|(key, signature)| {
            // Strict: keys of small order, for which a signature fits anything, are refused.
            key.verify_strict(&signed_bytes(manifest), &signature).is_ok()
        });
        if sound { Ok(()) } else { Err(Error::corrupt(format!("the signature is not one of key `{self}`"))) }
    }
}

impl fmt::Display for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0))
    }
}

impl FromStr for SignerKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        from_hexadecimal(text)
            .map(Self)
            .ok_or_else(|| Error::invalid("a signer's key is written in 64 hexadecimal digits".to_owned()))
    }
}

fn signed_bytes(manifest: &Digest) -> Vec<u8> {
    [DOMAIN, manifest.as_bytes()].concat()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    // One way to write a key, so that no bit of a seal can change unseen.
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}
