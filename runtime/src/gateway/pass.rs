//! Passes: what the owner of a kernel gives to a principal of another process or machine.
//!
//! A pass says who its bearer is, to which spaces it leads and until when, sealed under the gateway's secret. With it goes a
//! key that follows from the secret and the pass's own id, so that the gateway keeps neither. Groups and roles are not in
//! it: they stand on the roll, and what the roll takes away is gone with the next request.

use std::fmt;
use std::time::Duration;

use memos_memory::cube::{PrincipalId, SpaceName};
use memos_memory::error::{Error, Result};
use memos_memory::governance::KEEPER;
use memos_memory::keys::{Entropy, MacKey, TAG_BYTES};
use memos_memory::time::Timestamp;

use super::GatewayLimits;
use super::wire::{self, PassV1};

const SEAL: &[u8] = b"memos gateway pass 1";
const REQUESTS: &[u8] = b"memos gateway requests 1";
const ANSWERS: &[u8] = b"memos gateway answers 1";

/// The version of the layout of passes, requests and answers.
pub(super) const VERSION: u8 = 1;

/// The secret from which a gateway makes passes and knows them again.
#[derive(Clone)]
pub struct GatewaySecret(MacKey);

impl fmt::Debug for GatewaySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatewaySecret(..)")
    }
}

impl GatewaySecret {
    /// Takes the secret's bytes.
    ///
    /// # Errors
    /// `Invalid` when there are less than 32 of them, or one over and over: a secret that was not set opens no gateway.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        MacKey::from_secret(bytes).map(Self).map_err(|error| error.at("the gateway's secret"))
    }

    /// Makes a pass.
    ///
    /// # Errors
    /// `Invalid` when it is for the space itself, for no space, or for a time that is past or too long; `Unavailable` when
    /// there is no randomness.
    pub fn issue(
        &self,
        terms: PassTerms,
        limits: &GatewayLimits,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<IssuedPass> {
        terms.check(limits, now)?;
        let mut id = [0; 16];
        entropy.fill(&mut id)?;
        let pass = Pass { id: PassId(id), issued: now, terms };
        let mut bytes = vec![VERSION];
        bytes.extend(wire::encode(&PassV1::from(&pass))?);
        let seal = self.0.derive(SEAL, &[]).tag(&[&bytes]);
        bytes.extend(seal);
        if bytes.len() > limits.pass_bytes {
            return Err(Error::invalid(format!(
                "a pass has at most {} bytes, and this one would have {}; name fewer spaces",
                limits.pass_bytes,
                bytes.len()
            )));
        }
        Ok(IssuedPass { bytes, keys: self.keys_of(pass.id), pass })
    }

    /// Reads a pass that this secret has sealed; none when it is not one.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<Pass> {
        let (sealed, seal) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
        if !self.0.derive(SEAL, &[]).vouches_for(&[sealed], seal) {
            return None;
        }
        let (version, body) = sealed.split_first()?;
        (*version == VERSION).then(|| wire::decode::<PassV1>(body)?.try_into().ok())?
    }

    pub(super) fn keys_of(&self, pass: PassId) -> PassKeys {
        PassKeys::from_root(self.0.derive(b"memos gateway bearer 1", &pass.0))
    }
}

/// The keys of one pass: one for each direction, so that no answer can be sent back as a request.
#[derive(Debug, Clone)]
pub(super) struct PassKeys {
    root: MacKey,
    pub(super) requests: MacKey,
    pub(super) answers: MacKey,
}

impl PassKeys {
    fn from_root(root: MacKey) -> Self {
        Self { requests: root.derive(REQUESTS, &[]), answers: root.derive(ANSWERS, &[]), root }
    }
}

/// Names a pass. Its text is 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PassId(pub(super) [u8; 16]);

impl fmt::Display for PassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for PassId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("`{text}` is no pass's id; one has 32 lower-case hexadecimal digits"));
        let is_plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(id) if text.len() == 32 && is_plain => Ok(Self(id.to_be_bytes())),
            _ => Err(wrong()),
        }
    }
}

/// What a pass is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassTerms {
    /// Who its bearer is.
    pub principal: PrincipalId,
    /// The spaces that it leads to. One that is not there is begun by its first use.
    pub spaces: Vec<SpaceName>,
    /// What its bearer acts for, as policies have it; a request cannot say otherwise.
    pub purpose: Option<String>,
    /// On behalf of which model; a request cannot say otherwise.
    pub model: Option<String>,
    /// From when on it is refused.
    pub expires: Timestamp,
}

impl PassTerms {
    /// Makes terms without purpose and model.
    pub fn new(principal: PrincipalId, spaces: impl Into<Vec<SpaceName>>, expires: Timestamp) -> Self {
        Self { principal, spaces: spaces.into(), purpose: None, model: None, expires }
    }

    fn check(&self, limits: &GatewayLimits, now: Timestamp) -> Result<()> {
        if self.principal.as_str() == KEEPER {
            return Err(Error::invalid(format!("`{KEEPER}` is the space itself, and nobody gets a pass in its name")));
        }
        let spaces = self.spaces.len();
        if spaces == 0 || spaces > limits.pass_spaces {
            let most = limits.pass_spaces;
            return Err(Error::invalid(format!("a pass is for 1 to {most} spaces, and this one for {spaces}")));
        }
        let left = self.expires.as_millis().saturating_sub(now.as_millis());
        if left <= 0 || u64::try_from(left).unwrap_or(0) > millis(limits.pass_lifetime) {
            let days = limits.pass_lifetime.as_secs() / 86_400;
            return Err(Error::invalid(format!(
                "a pass ends after its beginning and within {days} days, and this one ends {}",
                self.expires
            )));
        }
        Ok(())
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A pass, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Its own id.
    pub id: PassId,
    /// When it was made.
    pub issued: Timestamp,
    /// What it is for.
    pub terms: PassTerms,
}

/// A pass with the key of its bearer, as it is handed over. Whoever has it acts in the bearer's name.
#[derive(Clone)]
pub struct IssuedPass {
    pub(super) bytes: Vec<u8>,
    pub(super) keys: PassKeys,
    pass: Pass,
}

impl fmt::Debug for IssuedPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedPass").field("pass", &self.pass).finish_non_exhaustive()
    }
}

impl IssuedPass {
    /// Returns what the pass says.
    pub fn pass(&self) -> &Pass {
        &self.pass
    }

    /// Returns the pass and its key as bytes to keep. They are as secret as a password.
    pub fn expose(&self) -> Vec<u8> {
        [self.keys.root.expose(), self.bytes.as_slice()].concat()
    }

    /// Reads what [`expose`](Self::expose) returned. Whether a gateway takes it, that gateway says.
    ///
    /// # Errors
    /// `Invalid` when it cannot be read; the message does not show it.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let read = || {
            let (key, bytes) = bytes.split_first_chunk::<32>()?;
            let (sealed, _) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
            let (version, body) = sealed.split_first()?;
            let pass: Pass = (*version == VERSION).then(|| wire::decode::<PassV1>(body)?.try_into().ok())??;
            Some(Self { bytes: bytes.to_vec(), keys: PassKeys::from_root(MacKey::from_bytes(*key)), pass })
        };
        read().ok_or_else(|| Error::invalid("this is no pass with its key; ask the owner of the kernel for a new one"))
    }
}
