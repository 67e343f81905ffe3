//! What a gateway remembers: requests that it took, as long as a copy of one could still pass, and how often each
//! principal asks.
//!
//! Nothing that could pass is forgotten to make room. When there is no room, requests are refused, those of one principal
//! before those of all.

use std::collections::{HashMap, VecDeque};

use memos_memory::cube::{Digest, PrincipalId};
use memos_memory::time::Timestamp;

use super::GatewayLimits;
use super::checks::{Known, Refusal};
use super::pass::millis;
use super::request::RequestId;

/// A request: whose, and by which name.
pub(super) type RequestName = (PrincipalId, RequestId);

#[derive(Debug)]
enum Outcome {
    InFlight,
    /// A read was answered, and is not answered again.
    Read,
    /// A write was answered so.
    Written(Vec<u8>),
}

#[derive(Debug)]
struct Entry {
    digest: Digest,
    outcome: Outcome,
    /// Until when a copy of it could pass.
    until: i64,
}

/// The requests that a copy could be made of.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    entries: HashMap<RequestName, Entry>,
    /// Each entry once, with the time at which to look at it again.
    by_age: VecDeque<(i64, RequestName)>,
    each: HashMap<PrincipalId, usize>,
    /// Bytes of the answers.
    bytes: usize,
}

/// What is known of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    New,
    /// It was done, and answered so.
    Answered(Vec<u8>),
}

impl Remembered {
    /// Says whether a request was seen before.
    pub(super) fn look(&mut self, known: &Known, limits: &GatewayLimits) -> Result<Before, Refusal> {
        let until = until(known, limits);
        let name = (known.pass.terms.principal.clone(), known.id);
        let Some(entry) = self.entries.get_mut(&name) else { return Ok(Before::New) };
        if entry.digest != known.digest {
            return Err(Refusal::Reused);
        }
        entry.until = entry.until.max(until);
        match &entry.outcome {
            Outcome::InFlight => Err(Refusal::InFlight),
            Outcome::Read => Err(Refusal::Replayed),
            Outcome::Written(answer) => Ok(Before::Answered(answer.clone())),
        }
    }

    /// Remembers a request that is about to be done.
    pub(super) fn begin(
        &mut self,
        known: &Known,
        limits: &GatewayLimits,
        now: Timestamp,
    ) -> Result<RequestName, Refusal> {
        self.forget_old(now);
        let principal = &known.pass.terms.principal;
        let own = self.each.get(principal).copied().unwrap_or_default();
        if own >= limits.remembered_each
            || self.entries.len() >= limits.remembered
            || self.bytes >= limits.remembered_bytes
        {
            return Err(Refusal::Full);
        }
        let (name, until) = ((principal.clone(), known.id), until(known, limits));
        self.by_age.push_back((until, name.clone()));
        self.entries.insert(name.clone(), Entry { digest: known.digest, outcome: Outcome::InFlight, until });
        *self.each.entry(principal.clone()).or_default() += 1;
        Ok(name)
    }

    /// Remembers what a request came to: the answer of a write, or that a read was answered.
    pub(super) fn end(&mut self, name: &RequestName, written: Option<Vec<u8>>) {
        if let Some(entry) = self.entries.get_mut(name) {
            self.bytes += written.as_ref().map_or(0, Vec::len);
            entry.outcome = written.map_or(Outcome::Read, Outcome::Written);
        }
    }

    /// Forgets a request that came to nothing, so that it can be sent again.
    pub(super) fn forget(&mut self, name: &RequestName) {
        let Some(entry) = self.entries.remove(name) else { return };
        if let Outcome::Written(answer) = entry.outcome {
            self.bytes = self.bytes.saturating_sub(answer.len());
        }
        if let Some(own) = self.each.get_mut(&name.0) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.each.remove(&name.0);
            }
        }
    }

    /// Forgets those of which no copy can pass any more.
    fn forget_old(&mut self, now: Timestamp) {
        while let Some((look, name)) = self.by_age.front()
            && *look < now.as_millis()
        {
            let name = name.clone();
            self.by_age.pop_front();
            match self.entries.get(&name) {
                // It was sent again since, or is still being done.
                Some(entry) if entry.until >= now.as_millis() => self.by_age.push_back((entry.until, name)),
                Some(Entry { outcome: Outcome::InFlight, .. }) => self.by_age.push_back((now.as_millis() + 1000, name)),
                _ => self.forget(&name),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.entries.len(), self.by_age.len())
    }
}

fn until(known: &Known, limits: &GatewayLimits) -> i64 {
    known.sent.as_millis().saturating_add(i64::try_from(millis(limits.window)).unwrap_or(i64::MAX))
}

/// Thousandths of a request.
const WHOLE: u64 = 1000;

#[derive(Debug)]
struct Bucket {
    left: u64,
    at: i64,
}

/// How often each principal may still ask. All passes of a principal draw on one.
#[derive(Debug, Default)]
pub(super) struct Rates {
    buckets: HashMap<PrincipalId, Bucket>,
}

impl Rates {
    /// Takes one request off what a principal has left.
    pub(super) fn take(
        &mut self,
        principal: &PrincipalId,
        limits: &GatewayLimits,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let most = u64::from(limits.burst.max(1)) * WHOLE;
        let per_second = u64::from(limits.requests_per_second);
        let now = now.as_millis();
        let left = |bucket: &Bucket| {
            let passed = u64::try_from(now.saturating_sub(bucket.at)).unwrap_or(0);
            bucket.left.saturating_add(passed.saturating_mul(per_second)).min(most)
        };
        if !self.buckets.contains_key(principal) && self.buckets.len() >= limits.principals {
            // Who has all left is as good as unknown.
            self.buckets.retain(|_, bucket| left(bucket) < most);
            if self.buckets.len() >= limits.principals {
                return Err(Refusal::Full);
            }
        }
        let bucket = self.buckets.entry(principal.clone()).or_insert(Bucket { left: most, at: now });
        let found = left(bucket);
        *bucket = Bucket { left: found, at: now.max(bucket.at) };
        if found < WHOLE {
            return Err(Refusal::Rate);
        }
        bucket.left -= WHOLE;
        Ok(())
    }
}
