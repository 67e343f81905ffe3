//! Forks: a space that starts from another one and goes its own way, for a what-if; and the way back.
//!
//! A fork copies nothing. Its ledger holds what happened since and reads the rest from its origin, with the origin's
//! keys; the projection is shared until one of the two changes. So what is erased in the origin is unreadable in the
//! fork at once. Merging back writes what the fork has changed into the origin, in one durable step.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::charter::CHARTER;
use super::past::Point;
use super::projection::{CubeHead, Present};
use super::space::{Opening, Space, draw_session};
use super::{Vault, snapshot};
use crate::cube::{
    Adoption, Cube, CubeDraft, CubeId, Header, Source, SpaceName, State, Update, UpdateMode, VersionRef,
};
use crate::error::{Error, Result};
use crate::governance::{AccessClass, Operation, Principal};
use crate::graph::Link;
use crate::ledger::{Change, ForkPoint, Ledger, LedgerHead, NewEvent};
use crate::lifecycle::Transition;

/// Which side holds when a cube was changed on both sides since the fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// Nothing is merged, and the conflicts are named.
    #[default]
    Refuse,
    /// The origin's version stays.
    KeepOrigin,
    /// The fork's version becomes the next one.
    TakeFork,
}

/// What merging a fork back has changed in its origin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// Cubes that were made in the fork.
    pub added: Vec<CubeId>,
    /// Cubes that have the fork's version now.
    pub updated: Vec<CubeId>,
    /// Cubes that were taken to another state.
    pub moved: Vec<CubeId>,
    /// Links that were added or taken away.
    pub links: usize,
    /// Cubes that both sides had changed; what became of them follows from the rule.
    pub conflicts: Vec<CubeId>,
}

impl Vault {
    /// Begins a space that starts from another one as it is, or as it was at a point. Nothing is copied.
    ///
    /// # Errors
    /// `Denied` when it starts from a point since which the rights to a memory or the rules have changed: a fork of then would
    /// have the rights of then. Fork the space as it is, and restore the fork to that point. `Conflict` when there is a
    /// space of that name; `NotFound` when there is none to start from, or no such point.
    pub fn fork(&self, caller: &Principal, from: &SpaceName, at: Option<Point>, to: &SpaceName) -> Result<Space> {
        let origin = self.existing_space(from)?;
        let mut open = self.open.lock();
        if self.is_erased(to) {
            self.finish_erasure(to)?;
        }
        if self.is_there(to)? {
            return Err(Error::conflict(format!("there is a space `{to}` already; choose another name")));
        }
        // Nothing is written in the origin meanwhile, so that no erasure misses the fork.
        let space = origin.writer()?.hold(|_| self.begin_fork(caller, &origin, at, to))?;
        open.insert(to.clone(), std::sync::Arc::downgrade(space.shared()));
        Ok(space)
    }

    fn begin_fork(&self, caller: &Principal, origin: &Space, at: Option<Point>, to: &SpaceName) -> Result<Space> {
        let (folder, options) = (self.folder(to), &self.options);
        let present = origin.view().clone();
        let head = match at {
            None => present.ledger,
            Some(point) => {
                let events = origin.events_at(point)?;
                require_same_rights(origin, events)?;
                LedgerHead { events, digest: origin.ledger()?.digest(events - 1)? }
            }
        };
        let opening = Opening { folder: &folder, name: to, options, keys: &self.keys };
        let point = ForkPoint { origin: origin.name().clone(), events: head.events, digest: head.digest };
        let readers = origin.shared().readers.clone();
        let found = |found| opening.ring(found);
        let mut ledger = Ledger::fork(&folder, opening.ledger_options(), point, found, readers)?;
        let change = Change::SpaceForked { name: to.clone(), origin: origin.name().clone() };
        ledger.append(vec![NewEvent::bare(options.clock.now(), caller.id.clone(), change)])?;
        let (readers, ring) = (ledger.readers(), ledger.ring());
        let present = match head == present.ledger {
            true => present.at(ledger.head()),
            false => {
                let reader = readers.reader()?;
                let mut projection = snapshot::beginning(&reader, &*options.embedder)?;
                snapshot::catch_up(&mut projection, LedgerHead::EMPTY, &reader, ledger.head(), &*options.embedder)?;
                Present::new(projection, ledger.head())
            }
        };
        ring.set_next_slot(present.next_key_slot);
        let (origin, session) = (Some(origin.clone()), draw_session(options)?);
        Ok(Space::of(&opening, present, readers, ring, origin, Some(ledger), session))
    }

    /// Writes what a fork has changed into the space that it was forked from, in one durable step: new cubes under
    /// their ids, new versions, states and links. Who may use a cube stays as it is in the origin. Doing it again
    /// changes nothing.
    ///
    /// # Errors
    /// `Conflict`, naming the cubes, when both sides changed one and the rule is [`OnConflict::Refuse`]; `Denied` when
    /// the caller may not change one in the origin. Nothing was changed then.
    pub fn merge_back(&self, caller: &Principal, fork: &SpaceName, rule: OnConflict) -> Result<Merged> {
        let fork = self.existing_space(fork)?;
        let origin = fork
            .shared()
            .origin
            .clone()
            .ok_or_else(|| Error::invalid(format!("space `{}` was not forked from another one", fork.name())))?;
        let mut merging = Merging::new(caller, &fork, &origin, rule)?;
        let heads: Vec<CubeHead> = fork.view().heads.clone();
        for head in &heads {
            if merging.may_read(head) {
                merging.cube(head)?;
            }
        }
        merging.links()?;
        let Merging { batch, merged, .. } = merging;
        if rule == OnConflict::Refuse && !merged.conflicts.is_empty() {
            let named: Vec<String> = merged.conflicts.iter().take(5).map(|cube| format!("`{cube}`")).collect();
            return Err(Error::conflict(format!(
                "{} cubes were changed in both spaces, such as {}; say which side holds",
                merged.conflicts.len(),
                named.join(", ")
            )));
        }
        if !batch.is_empty() {
            origin.commit_whole(caller, batch)?;
        }
        Ok(merged)
    }

    /// Returns the spaces that were forked from one.
    ///
    /// # Errors
    /// `Busy` when a space is open elsewhere; `Corrupt` when a ledger fails its checks.
    pub fn forks_of(&self, name: &SpaceName) -> Result<Vec<SpaceName>> {
        let mut forks = Vec::new();
        for other in self.spaces()?.into_iter().filter(|other| other != name) {
            let open = self.open.lock().get(&other).and_then(std::sync::Weak::upgrade);
            let folder = self.folder(&other);
            let origin = match open {
                Some(shared) => shared.origin.as_ref().map(|origin| origin.name().clone()),
                None if Ledger::is_there(&folder, &*self.options.disk) => {
                    let opening = Opening { folder: &folder, name: &other, options: &self.options, keys: &self.keys };
                    Ledger::fork_of(&folder, &opening.ledger_options())?.map(|fork| fork.origin)
                }
                None => None,
            };
            if origin.as_ref() == Some(name) {
                forks.push(other);
            }
        }
        Ok(forks)
    }

    /// Erases a whole space: its keys are destroyed, and its folder goes.
    ///
    /// # Errors
    /// `Denied` when the caller may not erase one of its memories, or one is under legal hold; `Busy` when it is open
    /// elsewhere; `Conflict` when other spaces were forked from it. Nothing was erased then.
    pub fn erase_space(&self, caller: &Principal, name: &SpaceName) -> Result<u64> {
        if self.is_erased(name) {
            return self.finish_erasure(name).map(|()| 0);
        }
        let space = self.existing_space(name)?;
        if let Some(fork) = self.forks_of(name)?.first() {
            return Err(Error::conflict(format!("space `{fork}` was forked from `{name}`; erase that one first")));
        }
        let mut open = self.open.lock();
        let cubes = {
            let view = space.view();
            for (slot, head) in (0..).zip(&view.heads).filter(|(_, head)| head.state != State::Erased) {
                let decision = space.decide(&view, caller, Operation::Erase, slot);
                if !decision.allowed() {
                    return Err(Error::denied(format!(
                        "`{}` may not erase all of space `{name}`: {}",
                        caller.id, decision.rule
                    )));
                }
                if head.legal_hold {
                    return Err(Error::denied(format!("a memory of space `{name}` is under legal hold")));
                }
            }
            view.heads.len() as u64
        };
        let users = std::sync::Arc::strong_count(space.shared());
        if users > 1 {
            return Err(Error::new(
                crate::error::ErrorKind::Busy,
                format!("space `{name}` is in use here; close it first"),
            ));
        }
        // From now on it is erased: whoever finds the mark goes on where this stops.
        let mark = self.folder(name).join(super::ERASED_FILE);
        self.options
            .disk
            .replace(&mark, &[])
            .map_err(|e| Error::unavailable(format!("`{}` cannot be written: {e}", mark.display())).with_source(e))?;
        space.shared().discard();
        drop(space);
        open.remove(name);
        self.finish_erasure(name)?;
        Ok(cubes)
    }
}

/// Refuses a point at which somebody else could read a memory than today.
fn require_same_rights(origin: &Space, events: u64) -> Result<()> {
    let view = origin.view();
    let reader = origin.ledger()?;
    for (slot, head) in (0..).zip(&view.heads) {
        let Some((_, event)) = head.version_at(events).filter(|(_, event)| *event != head.event) else { continue };
        if view.class(slot) != Some(&AccessClass::from(&reader.bare_header(event)?.governance)) {
            return Err(Error::denied(format!(
                "who may use cube `{}` has changed since; fork the space as it is, and restore the fork to that point",
                head.id
            )));
        }
    }
    // Without the charter of today a fork would have the rules of then, or none.
    for event in events..view.ledger.events {
        if matches!(reader.event(event)?.change, Change::RegisterSet { name, .. } if name == CHARTER) {
            return Err(Error::denied(format!(
                "the rules of space `{}` have changed since; fork it as it is, and restore the fork to that point",
                origin.name()
            )));
        }
    }
    Ok(())
}

/// What is to be written into the origin.
struct Merging<'a> {
    caller: &'a Principal,
    fork: &'a Space,
    origin: &'a Space,
    rule: OnConflict,
    /// The events that both share.
    shared: u64,
    batch: Batch,
    /// Written behind the links, as what is merged needs one.
    states: Vec<(CubeId, State)>,
    merged: Merged,
}

impl<'a> Merging<'a> {
    fn new(caller: &'a Principal, fork: &'a Space, origin: &'a Space, rule: OnConflict) -> Result<Self> {
        let point = fork.shared().readers.fork_point();
        let shared = point.map(|point| point.events).ok_or_else(|| Error::invalid("this space is not a fork"))?;
        let (batch, merged) = (Batch::default(), Merged::default());
        Ok(Self { caller, fork, origin, rule, shared, batch, states: Vec::new(), merged })
    }

    fn may_read(&self, head: &CubeHead) -> bool {
        let view = self.fork.view();
        head.state != State::Erased
            && view
                .slot(&head.id)
                .is_some_and(|slot| self.fork.decide(&view, self.caller, Operation::Read, slot).allowed())
    }

    fn cube(&mut self, head: &CubeHead) -> Result<()> {
        let known = {
            let view = self.origin.view();
            view.slot(&head.id).and_then(|slot| view.head(slot)).cloned()
        };
        let Some(known) = known else {
            let cube = self.cube_for_origin(head)?;
            self.merged.added.push(head.id);
            self.batch.adopt(head.id, adoption(self.fork.name(), cube));
            return Ok(());
        };
        if known.state == State::Erased {
            return Ok(());
        }
        let changed = head.event >= self.shared;
        if changed && !self.says_the_same(head, &known)? {
            if matches!(known.state, State::Frozen | State::Merged) {
                // It takes no version, whichever side shall hold.
                self.merged.conflicts.push(head.id);
                return Ok(());
            }
            if known.event >= self.shared {
                self.merged.conflicts.push(head.id);
                if self.rule != OnConflict::TakeFork {
                    return Ok(());
                }
            }
            let cube = self.cube_for_origin(head)?;
            let mode = UpdateMode::Restore(Box::new(cube));
            self.batch.update(Update { cube: head.id, parent: known.digest, mode });
            self.merged.updated.push(head.id);
        }
        let moved = head.state_event >= self.shared && known.state_event < self.shared && head.state != known.state;
        if moved && known.state != State::Frozen && Transition::between(known.state, head.state).is_ok() {
            self.states.push((head.id, head.state));
            self.merged.moved.push(head.id);
        }
        Ok(())
    }

    /// Reads a cube of the fork. Its sources are named as the origin knows them; those that it does not know are left out.
    fn cube_for_origin(&self, head: &CubeHead) -> Result<Cube> {
        let mut cube = self.fork.cube_at(&self.fork.ledger()?, head)?;
        let (fork, origin) = (self.fork.view(), self.origin.view());
        let known_there = |source: VersionRef| {
            let VersionRef { cube, version } = source;
            if self.merged.added.contains(&cube) {
                return Some(VersionRef { cube, version: 1 });
            }
            let slot = origin.slot(&cube)?;
            if !self.origin.decide(&origin, self.caller, Operation::Read, slot).allowed() {
                return None;
            }
            let shared = fork.slot(&cube).and_then(|slot| fork.head(slot)?.version_at(self.shared));
            if shared.is_some_and(|(shared, _)| version <= shared) {
                return Some(source);
            }
            let head = origin.head(slot).filter(|_| self.merged.updated.contains(&cube))?;
            Some(VersionRef { cube, version: head.version + 1 })
        };
        let sources: BTreeSet<VersionRef> =
            cube.header.chain.derived_from.into_iter().filter_map(known_there).collect();
        cube.header.chain.derived_from = sources.into_iter().collect();
        Ok(cube)
    }

    fn says_the_same(&self, head: &CubeHead, known: &CubeHead) -> Result<bool> {
        let (a, b) = (self.fork.ledger()?.header(head.event)?, self.origin.ledger()?.header(known.event)?);
        let said = |header: &Header| (header.fingerprint.content, header.times.valid, header.times.observed);
        Ok(said(&a) == said(&b) && a.title == b.title && a.tags == b.tags && a.path == b.path)
    }

    /// Adds the links that the fork added, and takes away those that it took away.
    fn links(&mut self) -> Result<()> {
        let changed = self.changed_links()?;
        let (fork, origin) = (self.fork.view(), self.origin.view());
        let named = |view: &Present| -> HashSet<Link> {
            let name = |slot| view.head(slot).filter(|head| head.state != State::Erased).map(|head| head.id);
            let link = |(from, kind, to)| Some(Link { from: name(from)?, kind, to: name(to)? });
            view.graph().all().filter_map(link).collect()
        };
        let readable = self.fork.readable(&fork, self.caller);
        let seen = |cube: &CubeId| {
            fork.slot(cube).and_then(|slot| fork.head(slot)).is_some_and(|head| readable.contains(head.class))
        };
        let erased = |cube: &CubeId| {
            origin.slot(cube).and_then(|slot| origin.head(slot)).is_some_and(|head| head.state == State::Erased)
        };
        let (ours, theirs) = (named(&origin), named(&fork));
        let wanted = |link: &&Link| {
            changed.contains(link) && [&link.from, &link.to].into_iter().all(|cube| seen(cube) && !erased(cube))
        };
        let mut added: Vec<&Link> = theirs.difference(&ours).filter(wanted).collect();
        let mut removed: Vec<&Link> = ours.difference(&theirs).filter(wanted).collect();
        added.sort_unstable();
        removed.sort_unstable();
        self.merged.links = added.len() + removed.len();
        // What goes makes room for what comes.
        for link in removed {
            self.batch.unlink(*link);
        }
        for link in added {
            self.batch.link(*link);
        }
        for (cube, state) in &self.states {
            self.batch.set_state(*cube, *state, format!("merged from {}", self.fork.name()));
        }
        Ok(())
    }

    /// Returns the links that an event of the fork added or took away.
    fn changed_links(&self) -> Result<HashSet<Link>> {
        let (head, ledger) = (self.fork.ledger_head(), self.fork.ledger()?);
        let mut links = HashSet::new();
        for sequence in self.shared..head.events {
            if let Change::Linked(link) | Change::Unlinked(link) = ledger.event(sequence)?.change {
                links.insert(link);
            }
        }
        Ok(links)
    }
}

/// Makes of a fork's cube one that its origin can take in.
fn adoption(fork: &SpaceName, cube: Cube) -> Adoption {
    let Cube { header, payload } = cube;
    let source = Source {
        system: "memos".to_owned(),
        space: Some(fork.to_string()),
        cube: Some(header.id.to_string()),
        version: Some(header.version),
        signer: None,
    };
    let (author, created, state) = (header.origin.principal.clone(), header.times.created, header.lifecycle.state);
    Adoption { draft: CubeDraft::of(header, payload), author, created, state, source }
}
