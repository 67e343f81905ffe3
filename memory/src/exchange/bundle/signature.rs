//! Who vouches for a bundle: a signature over the digest of its manifest, which names the digests of all else. Whether
//! a key is one that the reader trusts is not decided here.

use std::fmt;

use zeroize::Zeroizing;

use crate::cube::Digest;
use crate::error::{Error, Result};
use crate::ledger::{SpaceKey, from_hex, sign, to_hex};

/// Stands before what is signed, so that the signature means nothing anywhere else.
const DOMAIN: &[u8] = b"memos bundle manifest, format 1\0";

/// Signs bundles.
pub struct BundleSigner(Zeroizing<[u8; 32]>);

impl BundleSigner {
    /// Makes a signer from the thirty-two secret bytes of an Ed25519 key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*seed))
    }

    /// Returns the key with which its signatures are checked.
    pub fn key(&self) -> SpaceKey {
        SpaceKey::of_seed(&self.0)
    }

    pub(super) fn sign(&self, manifest: &Digest) -> String {
        to_hex(&sign(&self.0, &signed_bytes(manifest)))
    }
}

impl fmt::Debug for BundleSigner {
    /// Shows the public key alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleSigner({})", self.key())
    }
}

/// Refuses a signature that the key did not make over the manifest of that digest.
pub(super) fn check(key: &SpaceKey, manifest: &Digest, signature: &str) -> Result<()> {
    match from_hex(signature) {
        Some(signature) if key.signed(&signed_bytes(manifest), &signature) => Ok(()),
        _ => Err(Error::corrupt(format!("the signature is not one of key `{key}`"))),
    }
}

fn signed_bytes(manifest: &Digest) -> Vec<u8> {
    [DOMAIN, manifest.as_bytes()].concat()
}
