//! Names and digests: how cubes, spaces, groups and principals are told apart.
//!
//! Names are checked when they are made, so that what holds one can trust it. Ids and randomness come from an
//! [`IdSource`] that is handed in; with [`SeededIds`] a run can be repeated.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// Names a cube through all its versions: a UUID of version 7, so ids sort by the time they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CubeId(Uuid);

impl CubeId {
    /// Makes an id from its sixteen bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for CubeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CubeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CubeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Uuid::try_parse(text).map(Self).map_err(|_| {
            Error::invalid(format!("`{text}` is not a cube's id; `recall` and `ingest` print ids to copy from"))
        })
    }
}

/// Hands out ids. The only source of randomness of this crate.
pub trait IdSource: Send + Sync {
    /// Returns an id that was never returned before.
    fn cube_id(&self, at: Timestamp) -> CubeId;
}

/// Ids from the operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn cube_id(&self, at: Timestamp) -> CubeId {
        let millis = u64::try_from(at.as_millis()).unwrap_or(0);
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        CubeId(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, millis / 1000, nanos)))
    }
}

/// Ids that follow from a seed: the same calls give the same ids.
#[derive(Debug)]
pub struct SeededIds {
    seed: u64,
    count: AtomicU64,
}

impl SeededIds {
    /// Starts the sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed, count: AtomicU64::new(0) }
    }
}

impl IdSource for SeededIds {
    fn cube_id(&self, at: Timestamp) -> CubeId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let digest = Digest::of_parts(&[&self.seed.to_le_bytes(), &count.to_le_bytes()]);
        let mut random = [0; 10];
        random.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        let millis = u64::try_from(at.as_millis()).unwrap_or(0);
        CubeId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

/// A SHA-256 digest: of a body, of a cube's version, or of an event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest([u8; 32]);

impl Serialize for Digest {
    /// Writes the digits for people, and the bytes where only programs read.
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        if from.is_human_readable() {
            return String::deserialize(from)?.parse().map_err(serde::de::Error::custom);
        }
        Deserialize::deserialize(from).map(Self)
    }
}

impl Digest {
    /// Digests bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Digests the parts as if they stood one after the other.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        parts.iter().for_each(|part| hasher.update(part));
        Self(hasher.finalize().into())
    }

    /// Makes a digest from its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the thirty-two bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || Error::invalid(format!("`{text}` is not a digest; one has 64 hexadecimal digits"));
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refused());
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = text.get(2 * at..2 * at + 2).ok_or_else(refused)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refused())?;
        }
        Ok(Self(bytes))
    }
}

/// Most bytes of one part of a name.
const NAME_PART_BYTES: usize = 64;

fn is_name_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    // A part becomes a folder's name, so it must not be able to climb out of the folder above.
    !part.is_empty() && part.len() <= NAME_PART_BYTES && part.bytes().all(plain) && !part.starts_with('.')
}

const NAME_RULE: &str = "lower-case letters, digits, `.`, `_` and `-`, at most 64 of them, not starting with `.`";

macro_rules! name_type {
    ($name:ident) => {
        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

/// Names one tenant's isolated memory: `org/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpaceName(String);

name_type!(SpaceName);

impl FromStr for SpaceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('/') {
            Some((org, name)) if is_name_part(org) && is_name_part(name) => Ok(Self(text.to_owned())),
            _ => {
                Err(Error::invalid(format!("`{text}` is not a space's name; write `org/name`, each part {NAME_RULE}")))
            }
        }
    }
}

/// Names a group of principals within a space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(String);

name_type!(GroupName);

impl FromStr for GroupName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_name_part(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(format!("`{text}` is not a group's name; use {NAME_RULE}")))
        }
    }
}

/// Names who acts: `user:NAME` or `agent:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrincipalId(String);

name_type!(PrincipalId);

impl FromStr for PrincipalId {
    type Err = Error;

    /// Reads `user:NAME`, `agent:NAME`, or `NAME`, which is a user.
    fn from_str(text: &str) -> Result<Self> {
        let (class, name) = text.split_once(':').unwrap_or(("user", text));
        if matches!(class, "user" | "agent") && is_name_part(name) {
            Ok(Self(format!("{class}:{name}")))
        } else {
            Err(Error::invalid(format!(
                "`{text}` is not a principal; write `user:NAME` or `agent:NAME`, NAME being {NAME_RULE}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for (text, good) in [
            ("acme/support", true),
            ("acme", false),
            ("a/b/c", false),
            ("../x", false),
            ("Acme/x", false),
            ("a/", false),
        ] {
            assert_eq!(text.parse::<SpaceName>().is_ok(), good, "{text}");
        }
        for (text, expect) in
            [("ada", Some("user:ada")), ("agent:cook", Some("agent:cook")), ("robot:x", None), ("", None)]
        {
            assert_eq!(text.parse::<PrincipalId>().ok().map(String::from).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn ids_sort_by_time_and_follow_from_the_seed() {
        let at = Timestamp::from_millis;
        let ids = SeededIds::new(7);
        let (early, late) = (ids.cube_id(at(1_000)), ids.cube_id(at(2_000)));
        assert!(early < late);
        assert_eq!(SeededIds::new(7).cube_id(at(1_000)), early);
        assert_eq!(early.to_string().parse::<CubeId>().unwrap(), early);
        assert_ne!(RandomIds.cube_id(at(1)), RandomIds.cube_id(at(1)));
    }

    #[test]
    fn digests_read_and_print() {
        let digest = Digest::of(b"memory");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert_eq!(Digest::of_parts(&[b"mem", b"ory"]), digest);
        assert!("00".parse::<Digest>().is_err());
    }
}
