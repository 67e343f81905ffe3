//! A history: what clients asked for and were told, in the real order of asking and telling, and what the ledger says was
//! done in the end.
#![allow(dead_code)]

use std::fmt;
use std::sync::Mutex;

use memos_memory::ErrorKind;
use memos_memory::cube::{
    CubeId, Digest, Governance, Grant, GroupName, Layer, Lifespan, PrincipalId, State, UseSignal,
};
use memos_memory::governance::Principal;
use memos_memory::graph::{Link, LinkKind};
use memos_memory::ledger::{Change, Event};

use super::model::Ask;

/// What a client asked for.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// Changes, all or none.
    Changes(Vec<Ask>),
    Get(CubeId),
    Recall,
    /// The changes of an earlier request once more, by the same name.
    Again(usize),
}

/// A cube as a client saw it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) cube: CubeId,
    pub(crate) version: u32,
    pub(crate) digest: Digest,
    pub(crate) text: String,
    pub(crate) state: State,
}

/// What a client was told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// Nothing: it may be done, or not, or later.
    Nothing,
    /// The changes are durable, from this event on, so many events.
    Done {
        first: u64,
        events: u64,
    },
    Saw(Vec<Seen>),
    Refused(ErrorKind),
}

/// One request, with all tries of it.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) number: usize,
    /// The session, each of one client.
    pub(crate) session: usize,
    pub(crate) who: Principal,
    pub(crate) space: usize,
    pub(crate) asked: Asked,
    /// When it was asked for, and when the client was told, on one counter for all.
    pub(crate) began: u64,
    pub(crate) ended: Option<u64>,
    pub(crate) told: Told,
}

impl Op {
    /// The cubes that it names or saw.
    pub(crate) fn cubes(&self) -> Vec<CubeId> {
        let mut cubes = match &self.asked {
            Asked::Changes(asks) => asks.iter().flat_map(Ask::cubes).collect(),
            Asked::Get(cube) => vec![*cube],
            Asked::Recall | Asked::Again(_) => Vec::new(),
        };
        if let Told::Saw(seen) = &self.told {
            cubes.extend(seen.iter().map(|seen| seen.cube));
        }
        cubes
    }
}

/// What stands before the name of a group in a charter that keeps it from what is global.
pub(crate) const BARRED: &str = "forbid (principal in Group::\"";

/// What the ledger says of a version beside its text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Made {
    pub(crate) owner: PrincipalId,
    pub(crate) layer: Layer,
    pub(crate) grants: Vec<Grant>,
    pub(crate) is_mortal: bool,
    pub(crate) sources: Vec<CubeId>,
}

/// What the ledger says of one event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Written {
    Stored {
        cube: CubeId,
        version: u32,
        parent: Option<Digest>,
        /// Whose it is and who may use it, and from what it was made.
        made: Box<Made>,
    },
    /// Cubes were read, which activates those that never were before.
    Read(Vec<CubeId>),
    State {
        cube: CubeId,
        state: State,
        reason: String,
    },
    Linked(CubeId, CubeId),
    Unlinked(CubeId, CubeId),
    Erased {
        cubes: Vec<CubeId>,
        reason: String,
    },
    /// The space has other rules, by which this group is kept from what is global.
    Ruled(Option<GroupName>),
    /// What no client asked for: beginnings, registers, what is on record.
    Other,
}

impl Written {
    /// Reads an event of the ledger.
    pub(crate) fn of(event: &Event) -> (PrincipalId, Self) {
        let written = match &event.change {
            Change::CubeStored(header) => {
                let Governance { owner, layer, grants, lifespan, .. } = header.governance.clone();
                let sources = header.chain.derived_from.iter().map(|source| source.cube).collect();
                let is_mortal = matches!(lifespan, Lifespan::TimeToLiveMillis(_));
                let made = Box::new(Made { owner, layer, grants, is_mortal, sources });
                Self::Stored { cube: header.id, version: header.version, parent: header.chain.parent, made }
            }
            Change::CubesUsed(uses) => {
                let reads = uses.iter().filter(|(_, signal)| *signal == UseSignal::Read);
                Self::Read(reads.map(|(cube, _)| *cube).collect())
            }
            Change::StateChanged { cube, state, reason } => {
                Self::State { cube: *cube, state: *state, reason: reason.clone() }
            }
            // Clients link in one way alone.
            Change::Linked(Link { from, kind: LinkKind::Follows, to }) => Self::Linked(*from, *to),
            Change::Unlinked(Link { from, kind: LinkKind::Follows, to }) => Self::Unlinked(*from, *to),
            Change::Erased { cubes, reason, .. } => Self::Erased { cubes: cubes.clone(), reason: reason.clone() },
            Change::RegisterSet { name, value: Some(charter) } if name == "charter" => {
                let text = String::from_utf8(charter.clone()).unwrap();
                Self::Ruled(text.split_once(BARRED).map(|(_, rest)| rest.split('"').next().unwrap().parse().unwrap()))
            }
            _ => Self::Other,
        };
        (event.principal.clone(), written)
    }
}

/// Writes a history down while it happens.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<(u64, Vec<Op>)>);

impl Recorder {
    /// A client asks.
    pub(crate) fn begin(&self, session: usize, who: &Principal, space: usize, asked: Asked) -> usize {
        let (counter, ops) = &mut *self.0.lock().unwrap();
        *counter += 1;
        let (number, who) = (ops.len(), who.clone());
        ops.push(Op { number, session, who, space, asked, began: *counter, ended: None, told: Told::Nothing });
        number
    }

    /// The client is told.
    pub(crate) fn end(&self, number: usize, told: Told) {
        let (counter, ops) = &mut *self.0.lock().unwrap();
        *counter += 1;
        (ops[number].ended, ops[number].told) = (Some(*counter), told);
    }

    /// Returns what was written down so far.
    pub(crate) fn ops(&self) -> Vec<Op> {
        self.0.lock().unwrap().1.clone()
    }
}

/// Writes the end of an id, which tells the cubes of a test apart.
pub(crate) fn short(cube: &CubeId) -> String {
    let id = cube.to_string();
    id[id.len() - 6..].to_owned()
}

fn hex(digest: &Digest) -> String {
    digest.to_string()[..6].to_owned()
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store { cube, text, layer, lives } => {
                let lives = if lives.is_some() { " for a while" } else { "" };
                write!(f, "store {} `{text}` {layer:?}{lives}", short(cube))
            }
            Self::Update { cube, parent, text, layer, grants } => {
                write!(f, "update {} of {}", short(cube), hex(parent))?;
                text.iter().try_for_each(|text| write!(f, " `{text}`"))?;
                layer.iter().try_for_each(|layer| write!(f, " {layer:?}"))?;
                grants.iter().try_for_each(|grants| write!(f, " {} grants", grants.len()))
            }
            Self::State { cube, state, .. } => write!(f, "{} to {state}", short(cube)),
            Self::Link { from, to } => write!(f, "link {} to {}", short(from), short(to)),
            Self::Unlink { from, to } => write!(f, "unlink {} from {}", short(from), short(to)),
            Self::Erase { cube, .. } => write!(f, "erase {}", short(cube)),
        }
    }
}

impl fmt::Display for Op {
    /// Writes one line: from when to when, who, what, and what came of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.ended.map_or_else(|| "…".to_owned(), |ended| ended.to_string());
        write!(f, "{:>6}–{ended:<6} #{} session {} {}: ", self.began, self.number, self.session, self.who.id)?;
        match &self.asked {
            Asked::Changes(asks) => {
                let asks: Vec<String> = asks.iter().map(Ask::to_string).collect();
                f.write_str(&asks.join("; "))?;
            }
            Asked::Get(cube) => write!(f, "get {}", short(cube))?,
            Asked::Recall => f.write_str("recall")?,
            Asked::Again(number) => write!(f, "#{number} again")?,
        }
        match &self.told {
            Told::Nothing => f.write_str(" → nothing"),
            Told::Done { first, events } => write!(f, " → events {first}+{events}"),
            Told::Refused(kind) => write!(f, " → {kind:?}"),
            Told::Saw(seen) => {
                let seen = seen.iter().map(|Seen { cube, version, digest, text, state }| {
                    format!("{}@{version} {} `{text}` {state}", short(cube), hex(digest))
                });
                write!(f, " → {}", seen.collect::<Vec<_>>().join(", "))
            }
        }
    }
}
