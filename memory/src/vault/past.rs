//! The Time Machine: a space as it was known at an earlier point, what changed since, and the way back.
//!
//! A view of the past is a space that takes no changes: recall, history and graph work on it as they do on the present. What
//! may be read in it takes the rights of then *and* of today, and what was erased since is not in it. The way back is a new
//! event like any other; nothing of the ledger is ever undone.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::batch::{Batch, Committed};
use super::projection::{CubeHead, Present};
use super::reading::lifecycle_of;
use super::snapshot::{beginning, catch_up};
use super::space::{Opening, Space};
use crate::cube::{Cube, CubeId, Digest, Header, Payload, State, Update, UpdateMode, VersionRef};
use crate::error::{Error, Result};
use crate::governance::redaction::redacted;
use crate::governance::{Access, AccessClass, Operation, Principal};
use crate::graph::{Link, Slot};
use crate::index::ClassSet;
use crate::keys::Keys;
use crate::ledger::{LedgerHead, LedgerReader, check_header};
use crate::lifecycle::Transition;
use crate::time::Timestamp;

/// A point of a space's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// After so many events.
    Events(u64),
    /// After all that was written then or before.
    Time(Timestamp),
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events(events) => write!(f, "#{events}"),
            Self::Time(time) => time.fmt(f),
        }
    }
}

impl FromStr for Point {
    type Err = Error;

    /// Reads `#1200`, after so many events, or a time.
    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix('#') {
            Some(number) => number
                .parse()
                .map(Self::Events)
                .map_err(|_| Error::invalid(format!("`{text}` is not a number of events; write it like `#1200`"))),
            None => text.parse().map(Self::Time).map_err(|_| {
                Error::invalid(format!(
                    "`{text}` is no point of time; write `#1200` for after 1200 events, or 2024-05-07T10:00"
                ))
            }),
        }
    }
}

/// How two points of a space, or two spaces with common cubes, differ, as far as a caller may read both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Cubes that only the first has.
    pub removed: Vec<CubeId>,
    /// Cubes that only the second has.
    pub added: Vec<CubeId>,
    /// Cubes that say something else in the second.
    pub changed: Vec<Changed>,
    /// Cubes that are in another state in the second.
    pub moved: Vec<Moved>,
    /// Links that only the first has.
    pub unlinked: Vec<Link>,
    /// Links that only the second has.
    pub linked: Vec<Link>,
}

impl Comparison {
    /// Returns whether there is no difference.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A cube with another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The cube.
    pub cube: CubeId,
    /// Its version in the first.
    pub before: u32,
    /// Its version in the second.
    pub after: u32,
}

/// A cube in another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The cube.
    pub cube: CubeId,
    /// Its state in the first.
    pub before: State,
    /// Its state in the second.
    pub after: State,
}

impl Space {
    /// Returns after how many events a point lies.
    ///
    /// # Errors
    /// `NotFound` when the space had not begun then, or has fewer events.
    pub fn events_at(&self, point: Point) -> Result<u64> {
        let head = self.view().ledger;
        match point {
            Point::Events(events) if (1..=head.events).contains(&events) => Ok(events),
            Point::Events(events) => Err(Error::not_found(format!(
                "space `{}` has {} events; there is no point after {events}",
                self.name(),
                head.events
            ))),
            Point::Time(time) => match self.ledger()?.events_until(time)?.min(head.events) {
                0 => Err(Error::not_found(format!("space `{}` had not begun at {time}", self.name()))),
                events => Ok(events),
            },
        }
    }

    /// Returns the space as it was known at a point: a view that takes no changes. Recall works on it as on the space itself.
    ///
    /// Making one reads the ledger up to there; the last few are kept at hand.
    ///
    /// # Errors
    /// As [`Space::events_at`]; `Corrupt` when the ledger fails a check.
    pub fn at(&self, point: Point) -> Result<Self> {
        let events = self.events_at(point)?;
        let shared = self.shared();
        let governed = shared.governed.load(Ordering::Acquire);
        let known = {
            let mut views = shared.views.lock();
            views.retain(|(made, _)| *made == governed);
            views.iter().find(|(_, present)| present.ledger.events == events).map(|(_, present)| present.clone())
        };
        let present = match known {
            Some(present) => present,
            None => {
                let present = self.present_at(events)?;
                let mut views = shared.views.lock();
                while views.len() >= self.limits().past_views.max(1) {
                    views.pop_front();
                }
                views.push_back((governed, present.clone()));
                present
            }
        };
        let opening =
            Opening { folder: &shared.folder, name: self.name(), options: &shared.options, keys: &Keys::Open };
        let (readers, ring) = (shared.readers.clone(), shared.ring.clone());
        let mut view = Self::of(&opening, present, readers, ring, None, None, Default::default());
        if let Some(made) = Arc::get_mut(&mut view.shared) {
            made.past = Some((governed, shared.governed.clone()));
            made.viewed = Some(self.clone());
        }
        Ok(view)
    }

    fn present_at(&self, events: u64) -> Result<Present> {
        let reader = self.ledger()?;
        let head = LedgerHead { events, digest: reader.digest(events - 1)? };
        let mut projection = beginning(&reader, self.embedder())?;
        let erased: Vec<CubeId> = {
            let present = self.view();
            let rights =
                (0..).zip(&present.heads).filter_map(|(slot, head)| Some((head.id, present.class(slot)?.clone())));
            projection.today = rights.collect();
            present.heads.iter().filter(|head| head.state == State::Erased).map(|head| head.id).collect()
        };
        catch_up(&mut projection, LedgerHead::EMPTY, &reader, head, self.embedder())?;
        // What a fork erased of its origin's is still readable there, but not here.
        let gone: Vec<Slot> = erased.iter().filter_map(|cube| projection.slot(cube)).collect();
        for slot in &gone {
            if let Some(head) = projection.heads.get_mut(*slot as usize) {
                head.state = State::Erased;
            }
        }
        projection.forget(&gone)?;
        projection.today = HashMap::new();
        Ok(Present::new(projection, head))
    }

    /// Returns a cube as it was known at a point, with the state that it had then. No view is made for it.
    ///
    /// # Errors
    /// `NotFound` when there was none that the caller may read, then and now; else as [`Space::events_at`].
    pub fn get_at(&self, caller: &Principal, cube: &CubeId, point: Point) -> Result<Cube> {
        let events = self.events_at(point)?;
        let (head, _) = self.readable_head(caller, cube)?;
        let missing =
            || Error::not_found(format!("there was no cube `{cube}` that the caller may see after {events} events"));
        if head.state == State::Erased {
            return Err(Error::not_found(format!("cube `{cube}` was erased")));
        }
        let ledger = self.ledger()?;
        let (version, event) = head.version_at(events).ok_or_else(missing)?;
        let mut header = ledger.bare_header(event)?;
        self.check_named(&ledger, &head, version, &header)?;
        let then = self.ruling().decide(caller, Operation::Read, &AccessClass::from(&header.governance)).access;
        if then == Access::Denied {
            return Err(missing());
        }
        let body = ledger.record(event, &mut header)?.ok_or_else(missing)?;
        let payload = Payload::checked(header.form.clone(), body)?;
        if let Some((state, since)) = head.state_at(events)
            && head.versions().next() != Some(since)
            && let Some(lifecycle) = lifecycle_of(&ledger, state, since)?
        {
            header.lifecycle = lifecycle;
        }
        let (cube, access) = (Cube { header, payload }, then.min(self.access(caller, &head)));
        self.note_access(caller, "get-then", access.into(), &format!("as of event {events}"), vec![head.id])?;
        Ok(if access == Access::Full { cube } else { redacted(cube) })
    }

    /// Holds a version against what names it: the next version, or the head.
    fn check_named(&self, ledger: &LedgerReader, head: &CubeHead, version: u32, header: &Header) -> Result<()> {
        let named: Option<Digest> = match head.earlier.get(version as usize) {
            _ if version == head.version => Some(head.digest),
            Some(next) => ledger.bare_header(*next)?.chain.parent,
            None => ledger.bare_header(head.event)?.chain.parent,
        };
        let named =
            named.ok_or_else(|| Error::corrupt(format!("cube `{}` has a version before its first", head.id)))?;
        check_header(header, &named)
    }

    /// Makes a cube say again what an earlier version of it said, as its next version.
    ///
    /// # Errors
    /// `NotFound` when there is no such version that the caller may read; else as [`Space::update`].
    pub fn restore(&self, caller: &Principal, cube: &CubeId, version: u32) -> Result<VersionRef> {
        let (head, _) = self.readable_head(caller, cube)?;
        if self.access(caller, &head) != Access::Full {
            return Err(Error::denied(format!("`{}` may read cube `{cube}` redacted only", caller.id)));
        }
        let versions = self.versions(caller, cube)?;
        let then = versions.into_iter().find(|then| then.header.version == version).ok_or_else(|| {
            Error::not_found(format!(
                "cube `{cube}` has no version {version} that can be read; `memos history` lists them"
            ))
        })?;
        self.update(caller, Update { cube: *cube, parent: head.digest, mode: UpdateMode::Restore(Box::new(then)) })
    }

    /// Brings all cubes and links back to what they were at a point, in one durable step. A cube that came later is
    /// archived, not dropped; what was erased stays so; who may use what stays as it is today.
    ///
    /// # Errors
    /// `Denied` when the caller may not change one of them, `Invalid` when one is frozen; nothing was changed then.
    pub fn restore_space(&self, caller: &Principal, point: Point, reason: &str) -> Result<Committed> {
        let then = self.at(point)?;
        let mut batch = Batch::default();
        let mut states = Vec::new();
        let (view, past) = (self.view(), then.view());
        let ledger = self.ledger()?;
        let sees = |cube: &CubeId| {
            view.slot(cube).is_some_and(|slot| self.decide(&view, caller, Operation::Read, slot).allowed())
        };
        let hidden = || Error::denied(format!("`{}` may not change all that has changed since that point", caller.id));
        for head in view.heads.iter().filter(|head| head.state != State::Erased) {
            let was = past.slot(&head.id).and_then(|slot| past.head(slot));
            if was.is_none() && head.state == State::Frozen && sees(&head.id) {
                return Err(Error::invalid(format!(
                    "cube `{}` is frozen and came after that point; unfreeze it first",
                    head.id
                )));
            }
            let then = match was {
                Some(was) if was.digest != head.digest && said(&ledger, was)? != said(&ledger, head)? => {
                    readable_version(&ledger, was)?
                }
                _ => None,
            };
            let target = target_state(head.state, was.map_or(State::Archived, |was| was.state));
            if (then.is_some() || target != head.state) && !sees(&head.id) {
                return Err(hidden());
            }
            let state = bring_back(&mut batch, head, then, reason);
            states.push((head.id, state, target));
        }
        let (now, before) = (links(&view), links(&past));
        let alive = |link: &&Link| {
            let state = |cube| view.slot(cube).and_then(|slot| view.head(slot)).map(|head| head.state);
            [&link.from, &link.to].iter().all(|cube| state(cube).is_some_and(|state| state != State::Erased))
        };
        let mut changed: Vec<(bool, &Link)> = now.difference(&before).map(|link| (false, link)).collect();
        changed.extend(before.difference(&now).filter(alive).map(|link| (true, link)));
        // Sorted, so that the same restoring gives the same events; what goes makes room for what comes.
        changed.sort_unstable();
        for (comes, link) in changed {
            if !sees(&link.from) || !sees(&link.to) {
                return Err(hidden());
            }
            if comes {
                batch.link(*link)
            } else {
                batch.unlink(*link)
            };
        }
        // Behind the links, as what is merged needs one.
        states.into_iter().for_each(|(cube, state, target)| bring_state_back(&mut batch, cube, state, target, reason));
        drop((view, past));
        self.commit_whole(caller, batch)
    }

    /// Compares this space, or this view of one, with another that has cubes in common with it.
    ///
    /// # Errors
    /// `Corrupt` when a header fails its checks.
    pub fn compare(&self, caller: &Principal, other: &Self) -> Result<Comparison> {
        let (first, second) = (self.view(), other.view());
        let ledgers = (self.ledger()?, other.ledger()?);
        let (read_first, read_second) = (self.readable(&first, caller), other.readable(&second, caller));
        let mut comparison = Comparison::default();
        let is_there = |head: &&CubeHead| head.state != State::Erased;
        for head in first.heads.iter().filter(|head| read_first.contains(head.class)).filter(is_there) {
            let Some(after) = second.slot(&head.id).and_then(|slot| second.head(slot)) else {
                comparison.removed.push(head.id);
                continue;
            };
            if !read_second.contains(after.class) {
                continue;
            }
            if after.digest != head.digest && content(&ledgers.0, head)? != content(&ledgers.1, after)? {
                comparison.changed.push(Changed { cube: head.id, before: head.version, after: after.version });
            }
            if after.state != head.state {
                comparison.moved.push(Moved { cube: head.id, before: head.state, after: after.state });
            }
        }
        let is_new =
            |head: &&CubeHead| is_there(head) && read_second.contains(head.class) && first.slot(&head.id).is_none();
        comparison.added.extend(second.heads.iter().filter(is_new).map(|head| head.id));
        let seen = |view: &Present, classes: &ClassSet| -> HashSet<Link> {
            let readable = |cube: &CubeId| {
                view.slot(cube).and_then(|slot| view.head(slot)).is_some_and(|head| classes.contains(head.class))
            };
            links(view).into_iter().filter(|link| readable(&link.from) && readable(&link.to)).collect()
        };
        let (before, after) = (seen(&first, &read_first), seen(&second, &read_second));
        comparison.unlinked.extend(before.difference(&after));
        comparison.linked.extend(after.difference(&before));
        comparison.unlinked.sort_unstable();
        comparison.linked.sort_unstable();
        Ok(comparison)
    }
}

/// What a version says and how it is described, but not who may use it, which restoring leaves as it is.
fn said(ledger: &LedgerReader, head: &CubeHead) -> Result<impl PartialEq + use<>> {
    let header = ledger.header(head.event)?;
    check_header(&header, &head.digest)?;
    let times = (header.times.observed, header.times.valid);
    let (content, sources) = (header.fingerprint.content, header.chain.derived_from);
    Ok((content, header.title, header.tags, header.path, times, header.semantic, sources))
}

/// What a version says and how it is described, but not under which keys it is kept.
fn content(ledger: &LedgerReader, head: &CubeHead) -> Result<impl PartialEq + use<>> {
    let header = ledger.header(head.event)?;
    check_header(&header, &head.digest)?;
    let times = (header.times.observed, header.times.valid);
    Ok((header.fingerprint.content, header.title, header.tags, header.path, times, header.governance, header.semantic))
}

fn readable_version(ledger: &LedgerReader, head: &CubeHead) -> Result<Option<Cube>> {
    let mut header = ledger.bare_header(head.event)?;
    check_header(&header, &head.digest)?;
    let Some(body) = ledger.record(head.event, &mut header)? else { return Ok(None) };
    let payload = Payload::checked(header.form.clone(), body)?;
    Ok(Some(Cube { header, payload }))
}

/// Returns the state that a cube is brought back to. One that was new stays in use.
fn target_state(state: State, was: State) -> State {
    match was {
        State::Generated if state != State::Generated => State::Activated,
        State::Generated | State::Erased => state,
        _ => was,
    }
}

/// Adds what takes a cube into use.
fn to_use(batch: &mut Batch, cube: CubeId, state: State, reason: &str) -> State {
    match state {
        State::Frozen => batch.unfreeze(cube, reason),
        _ => batch.set_state(cube, State::Activated, reason),
    };
    State::Activated
}

/// Adds what makes a cube say again what it said, and returns its state after that.
fn bring_back(batch: &mut Batch, head: &CubeHead, then: Option<Cube>, reason: &str) -> State {
    let mut state = head.state;
    if let Some(cube) = then {
        // A cube that takes no new version is taken back into use for it.
        if matches!(state, State::Frozen | State::Merged) {
            state = to_use(batch, head.id, state, reason);
        }
        batch.update(Update { cube: head.id, parent: head.digest, mode: UpdateMode::Restore(Box::new(cube)) });
    }
    state
}

fn bring_state_back(batch: &mut Batch, cube: CubeId, mut state: State, target: State, reason: &str) {
    if state == target {
        return;
    }
    // Where no way leads straight there, it leads over the state of what is in use.
    if state == State::Frozen || Transition::between(state, target).is_err() {
        state = to_use(batch, cube, state, reason);
    }
    if state != target {
        batch.set_state(cube, target, reason);
    }
}

fn links(view: &Present) -> HashSet<Link> {
    let name = |slot| view.head(slot).map(|head| head.id);
    let link = |(from, kind, to)| Some(Link { from: name(from)?, kind, to: name(to)? });
    view.graph().all().filter_map(link).collect()
}
