//! The checks of a request, in their order: cheap before dear, and nothing of a stranger's is read that need not be.
//!
//! Whoever has shown no pass that holds, or no key to it, is told nothing but that they are refused. The reasons are
//! counted for the owner.

use std::collections::HashSet;

use memos_memory::cube::{Digest, SpaceName};
use memos_memory::error::{Error, ErrorKind};
use memos_memory::governance::KEEPER;
use memos_memory::time::Timestamp;

use super::GatewayLimits;
use super::pass::{GatewaySecret, Pass, PassId, VERSION, millis};
use super::request::{Asker, Command, Frame, RequestId};
use super::wire::{self, RequestV1};
use crate::actor::TraceLink;

/// Why a gateway refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It has more bytes than a request may have.
    TooLong,
    /// It is of a version that this gateway does not speak.
    Version,
    /// Its pass was not made with this gateway's secret.
    Pass,
    /// Its pass is in the name of the space itself.
    Keeper,
    /// Its pass has expired.
    Expired,
    /// Its pass was revoked.
    Revoked,
    /// Its pass does not lead to the space.
    Space,
    /// It was not sealed with the key of its pass.
    Seal,
    /// It was sent too long ago, or before this gateway began, or its time is yet to come.
    Stale,
    /// It cannot be read, or asks for more than a request may.
    Unreadable,
    /// Its sender waits no longer.
    Late,
    /// A read that was answered already.
    Replayed,
    /// Its name was given to something else before.
    Reused,
    /// It is being done.
    InFlight,
    /// As many requests are remembered as may be, of this principal or of all.
    Full,
    /// Its principal asks too often.
    Rate,
    /// Its principal is not on the space's roll.
    Roll,
}

impl Refusal {
    /// All reasons, in the order of the checks.
    pub const ALL: [Self; 17] = [
        Self::TooLong,
        Self::Version,
        Self::Pass,
        Self::Keeper,
        Self::Expired,
        Self::Revoked,
        Self::Space,
        Self::Seal,
        Self::Stale,
        Self::Unreadable,
        Self::Late,
        Self::Replayed,
        Self::Reused,
        Self::InFlight,
        Self::Full,
        Self::Rate,
        Self::Roll,
    ];

    /// Returns what the bearer of a good pass is told.
    pub(super) fn error(self, now: Timestamp) -> Error {
        let (kind, why) = match self {
            Self::Stale => {
                return Error::denied(format!(
                    "the request was sent too long ago, or by a clock that differs; it is {now} here; seal it anew"
                ));
            }
            Self::Unreadable => (ErrorKind::Invalid, "the request cannot be read, or asks for more than a request may"),
            Self::Late => (ErrorKind::Deadline, "the request's deadline has passed"),
            Self::Replayed => (ErrorKind::Conflict, "the request was answered already; ask again under another id"),
            Self::Reused => (ErrorKind::Conflict, "the request's id was given to another request; take a new one"),
            Self::InFlight => (ErrorKind::Busy, "the request is being done; ask for its answer soon"),
            Self::Full | Self::Rate => (ErrorKind::Busy, "there were too many requests; try again later"),
            Self::Roll => (ErrorKind::Denied, "the pass's bearer is not on the space's roll"),
            _ => (ErrorKind::Denied, "the request is refused"),
        };
        Error::new(kind, why)
    }
}

/// A refusal, and whom to tell the reason: nobody, unless they have shown a good pass and its key.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: Refusal,
    pub(super) to: Option<Asker>,
}

/// A request whose sender is known, and that is fresh.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) pass: Pass,
    pub(super) asker: Asker,
    pub(super) space: SpaceName,
    pub(super) id: RequestId,
    pub(super) sent: Timestamp,
    pub(super) deadline: Timestamp,
    pub(super) trace: TraceLink,
    pub(super) task: Option<String>,
    pub(super) session: Option<String>,
    pub(super) command: Command,
    /// The digest of what is asked, and where.
    pub(super) digest: Digest,
}

/// By what a request is checked.
pub(super) struct Checks<'a> {
    pub(super) secret: &'a GatewaySecret,
    pub(super) limits: &'a GatewayLimits,
    pub(super) revoked: &'a HashSet<PassId>,
    pub(super) now: Timestamp,
    /// What was sent before may have been answered by a gateway that is no more.
    pub(super) began: Timestamp,
}

impl Checks<'_> {
    /// Finds out who sent a request, and whether it is fresh.
    pub(super) fn know(&self, bytes: &[u8]) -> Result<Known, Refused> {
        let silent = |why| Refused { why, to: None };
        if bytes.len() > self.limits.request_bytes {
            return Err(silent(Refusal::TooLong));
        }
        if bytes.first() != Some(&VERSION) {
            return Err(silent(Refusal::Version));
        }
        let frame = Frame::read(bytes).ok_or(silent(Refusal::Pass))?;
        if frame.pass.len() > self.limits.pass_bytes {
            return Err(silent(Refusal::Pass));
        }
        let pass = self.secret.read(frame.pass).ok_or(silent(Refusal::Pass))?;
        if pass.terms.principal.as_str() == KEEPER {
            return Err(silent(Refusal::Keeper));
        }
        if self.now >= pass.terms.expires {
            return Err(silent(Refusal::Expired));
        }
        if self.revoked.contains(&pass.id) {
            return Err(silent(Refusal::Revoked));
        }
        let space = pass.terms.spaces.iter().find(|space| space.as_str().as_bytes() == frame.space).cloned();
        let space = space.ok_or(silent(Refusal::Space))?;
        let keys = self.secret.keys_of(pass.id);
        if !frame.is_sealed_by(&keys.requests) {
            return Err(silent(Refusal::Seal));
        }
        let asker = Asker { answers: keys.answers, tag: frame.tag };
        self.read(frame.body, pass, space, asker.clone()).map_err(|why| Refused { why, to: Some(asker) })
    }

    /// Reads what a known sender asks.
    fn read(&self, body: &[u8], pass: Pass, space: SpaceName, asker: Asker) -> Result<Known, Refusal> {
        let request: RequestV1 = wire::decode(body).ok_or(Refusal::Unreadable)?;
        let (id, sent) = (request.id(), Timestamp::from_millis(request.sent));
        if !self.is_fresh(sent) {
            return Err(Refusal::Stale);
        }
        let deadline = Timestamp::from_millis(request.deadline);
        if deadline <= self.now {
            return Err(Refusal::Late);
        }
        let names = [&request.task, &request.session];
        if names.into_iter().flatten().any(|name| name.len() > self.limits.name_bytes) {
            return Err(Refusal::Unreadable);
        }
        let asked = wire::encode(&request.command).map_err(|_| Refusal::Unreadable)?;
        let digest = Digest::of_parts(&[space.as_str().as_bytes(), &[0], &asked]);
        let command: Command = request.command.try_into().map_err(|_| Refusal::Unreadable)?;
        if command.len() > self.limits.changes {
            return Err(Refusal::Unreadable);
        }
        let trace = TraceLink { trace_id: request.trace_id, span_id: request.span_id };
        let RequestV1 { task, session, .. } = request;
        Ok(Known { pass, asker, space, id, sent, deadline, trace, task, session, command, digest })
    }

    /// Returns whether a request that was sent then cannot have been answered and forgotten.
    fn is_fresh(&self, sent: Timestamp) -> bool {
        let apart = |time| i64::try_from(millis(time)).unwrap_or(i64::MAX);
        let (window, skew) = (apart(self.limits.window), apart(self.limits.skew));
        let (now, sent) = (self.now.as_millis(), sent.as_millis());
        // A gateway before this one may have taken what a fast clock had sent `skew` after its time.
        let taken_before = self.began.as_millis().saturating_add(skew);
        taken_before < sent && now.saturating_sub(window) <= sent && sent <= now.saturating_add(skew)
    }
}
