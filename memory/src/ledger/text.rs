//! Bytes as text in what leaves a space: digests, keys and signatures in hexadecimal, all else in base64.
//!
//! Each value has one text only: lower-case digits, and base64 with its padding and nothing in the bits that are left over.
//! So a proof that was changed in any place is another proof.

use std::borrow::Cow;

use data_encoding::{BASE64, HEXLOWER};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use crate::cube::Digest;

/// Reads `N` bytes in lower-case hexadecimal.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    // The length first: what is longer is not decoded.
    (text.len() == 2 * N).then(|| HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok())?
}

/// Writes bytes in lower-case hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Bytes of a fixed number, in hexadecimal.
pub(super) mod hex {
    use super::*;

    pub(in crate::ledger) fn serialize<S: Serializer>(bytes: &impl AsRef<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&to_hex(bytes.as_ref()))
    }

    pub(in crate::ledger) fn deserialize<'a, D: Deserializer<'a>, const N: usize>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        from_hex(&text).ok_or_else(|| D::Error::custom(format!("expected {} lower-case hexadecimal digits", 2 * N)))
    }
}

/// A digest, in hexadecimal.
pub(super) mod digest {
    use super::*;

    pub(in crate::ledger) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(in crate::ledger) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Digest, D::Error> {
        hex::deserialize(from).map(Digest::from_bytes)
    }
}

/// A list of digests, each in hexadecimal.
pub(super) mod digests {
    use super::*;

    #[derive(serde::Serialize, Deserialize)]
    struct Text(#[serde(with = "super::digest")] Digest);

    pub(in crate::ledger) fn serialize<S: Serializer>(digests: &[Digest], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(digests.iter().copied().map(Text))
    }

    pub(in crate::ledger) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<Digest>, D::Error> {
        Ok(Vec::<Text>::deserialize(from)?.into_iter().map(|Text(digest)| digest).collect())
    }
}

/// Bytes of any number, in base64.
pub(super) mod base64 {
    use super::*;

    pub(in crate::ledger) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(in crate::ledger) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        BASE64.decode(text.as_bytes()).map_err(|_| D::Error::custom("expected base64 with its padding"))
    }
}
