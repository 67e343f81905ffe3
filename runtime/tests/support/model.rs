//! What a cube is at one point, and who may do what with it, told a second time in the plainest words: from what the
//! documentation promises, and with no code of the program's.
#![allow(dead_code)]

use std::collections::BTreeMap;

use memos_memory::ErrorKind;
use memos_memory::cube::{CubeId, Digest, Grant, Grantee, GroupName, Layer, PrincipalId, State};
use memos_memory::governance::Principal;

/// One change that a client asks for.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Store {
        cube: CubeId,
        text: String,
        layer: Layer,
        /// For how long, in milliseconds; for ever when not given.
        lives: Option<u64>,
    },
    /// The next version: another text, or other rights.
    Update {
        cube: CubeId,
        parent: Digest,
        text: Option<String>,
        layer: Option<Layer>,
        grants: Option<Vec<Grant>>,
    },
    State {
        cube: CubeId,
        state: State,
        reason: String,
    },
    Link {
        from: CubeId,
        to: CubeId,
    },
    Unlink {
        from: CubeId,
        to: CubeId,
    },
    Erase {
        cube: CubeId,
        reason: String,
    },
}

impl Ask {
    /// The cubes that it names.
    pub(crate) fn cubes(&self) -> Vec<CubeId> {
        match self {
            Self::Store { cube, .. }
            | Self::Update { cube, .. }
            | Self::State { cube, .. }
            | Self::Erase { cube, .. } => {
                vec![*cube]
            }
            Self::Link { from, to } | Self::Unlink { from, to } => vec![*from, *to],
        }
    }
}

/// A cube at one point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Now {
    pub(crate) version: u32,
    /// None while nobody has told it.
    pub(crate) digest: Option<Digest>,
    /// None where the space has made it, and only it knows what it says.
    pub(crate) text: Option<String>,
    pub(crate) state: State,
    pub(crate) owner: PrincipalId,
    pub(crate) layer: Layer,
    pub(crate) grants: Vec<Grant>,
    /// Whether its time passes.
    pub(crate) is_mortal: bool,
    /// From what the space has made it.
    pub(crate) sources: Vec<CubeId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    Read,
    Write,
    Share,
    Erase,
}

impl Now {
    /// Returns whether somebody may do that with the cube, where the rules of the space keep a group from all that is global.
    pub(crate) fn lets(&self, who: &Principal, right: Right, barred: Option<&GroupName>) -> bool {
        if self.layer == Layer::Global && barred.is_some_and(|barred| who.groups.contains(barred)) {
            return false;
        }
        let granted = |grant: &Grant| {
            let named = match &grant.to {
                Grantee::Principal(id) => *id == who.id,
                Grantee::Group(group) => who.groups.contains(group),
            };
            named
                && match right {
                    Right::Read => grant.rights.read,
                    Right::Write => grant.rights.write,
                    Right::Share => grant.rights.share,
                    Right::Erase => false,
                }
        };
        let in_layer = match &self.layer {
            Layer::Private => false,
            Layer::Shared(group) => who.groups.contains(group),
            Layer::Global => true,
        };
        self.owner == who.id || self.grants.iter().any(granted) || (right == Right::Read && in_layer)
    }

    /// Returns whether the same people may do the same with another cube.
    pub(crate) fn is_open_as(&self, other: &Self) -> bool {
        (&self.owner, &self.layer, &self.grants) == (&other.owner, &other.layer, &other.grants)
    }

    /// Returns whether somebody who asks for the cube gets it.
    pub(crate) fn shows(&self, who: &Principal, barred: Option<&GroupName>) -> bool {
        self.state != State::Erased && self.lets(who, Right::Read, barred)
    }
}

/// A space at one point.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) cubes: BTreeMap<CubeId, Now>,
    pub(crate) links: std::collections::BTreeSet<(CubeId, CubeId)>,
    /// The group that the rules keep from what is global, its own members' memories as well.
    pub(crate) barred: Option<GroupName>,
}

/// The states to which a change of state leads, by the table of the lifecycle.
pub(crate) fn leads(from: State, to: State) -> bool {
    use State::{Activated, Archived, Expired, Frozen, Generated, Merged};
    match to {
        Activated => matches!(from, Generated | Merged | Archived | Expired),
        Archived => matches!(from, Generated | Activated | Merged | Expired),
        Expired => matches!(from, Generated | Activated | Merged | Archived),
        Frozen | Merged => matches!(from, Generated | Activated | Archived),
        _ => false,
    }
}

impl Model {
    /// Returns all reasons for which a change is refused here; none when it is made.
    pub(crate) fn refusals(&self, who: &Principal, ask: &Ask) -> Vec<ErrorKind> {
        let mut reasons = Vec::new();
        let barred = self.barred.as_ref();
        let mut need = |cube: &CubeId, right: Right| -> Option<&Now> {
            let now = self.cubes.get(cube);
            match now {
                None => reasons.push(ErrorKind::NotFound),
                Some(now) if now.lets(who, right, barred) => {}
                Some(now) if now.lets(who, Right::Read, barred) => reasons.push(ErrorKind::Denied),
                Some(_) => reasons.push(ErrorKind::NotFound),
            }
            now
        };
        let mut more = Vec::new();
        match ask {
            Ask::Store { cube, .. } => {
                if self.cubes.contains_key(cube) {
                    more.push(ErrorKind::Conflict);
                }
            }
            Ask::Update { cube, parent, layer, grants, .. } => {
                let now = need(cube, Right::Write);
                if now.is_some_and(|now| {
                    layer.as_ref().is_some_and(|layer| *layer != now.layer)
                        || grants.as_ref().is_some_and(|grants| *grants != now.grants)
                }) {
                    need(cube, Right::Share);
                }
                // What nobody has told cannot be held against it.
                if now.is_some_and(|now| now.digest.is_none_or(|digest| digest != *parent)) {
                    more.push(ErrorKind::Conflict);
                }
                match now.map(|now| now.state) {
                    Some(State::Frozen | State::Merged) => more.push(ErrorKind::Invalid),
                    Some(State::Erased) => more.extend([ErrorKind::Invalid, ErrorKind::NotFound]),
                    _ => {}
                }
            }
            Ask::State { cube, state, .. } => {
                let now = need(cube, Right::Write);
                if now.is_some_and(|now| now.state != *state && !leads(now.state, *state)) {
                    more.push(ErrorKind::Invalid);
                }
            }
            Ask::Link { from, to } => {
                let ends = [need(from, Right::Share), need(to, Right::Read)];
                if from == to || ends.into_iter().flatten().any(|now| now.state == State::Erased) {
                    more.push(ErrorKind::Invalid);
                }
            }
            Ask::Unlink { from, to } => {
                need(from, Right::Share);
                need(to, Right::Read);
            }
            Ask::Erase { cube, .. } => {
                if need(cube, Right::Erase).is_some_and(|now| now.state == State::Erased) {
                    more.push(ErrorKind::Invalid);
                }
            }
        }
        reasons.extend(more);
        reasons
    }

    /// Returns whether a change that is made here changes nothing.
    pub(crate) fn is_idle(&self, ask: &Ask) -> bool {
        match ask {
            Ask::State { cube, state, .. } => self.cubes.get(cube).is_some_and(|now| now.state == *state),
            Ask::Link { from, to } => self.links.contains(&(*from, *to)),
            Ask::Unlink { from, to } => !self.links.contains(&(*from, *to)),
            Ask::Store { .. } | Ask::Update { .. } | Ask::Erase { .. } => false,
        }
    }

    /// Makes a change.
    pub(crate) fn make(&mut self, who: &PrincipalId, ask: &Ask) {
        match ask {
            Ask::Store { cube, text, layer, lives } => {
                let now = Now {
                    version: 1,
                    digest: None,
                    text: Some(text.clone()),
                    state: State::Generated,
                    owner: who.clone(),
                    layer: layer.clone(),
                    grants: Vec::new(),
                    is_mortal: lives.is_some(),
                    sources: Vec::new(),
                };
                self.cubes.insert(*cube, now);
            }
            Ask::Update { cube, text, layer, grants, .. } => {
                let Some(now) = self.cubes.get_mut(cube) else { return };
                (now.version, now.digest) = (now.version + 1, None);
                text.iter().for_each(|text| now.text = Some(text.clone()));
                layer.iter().for_each(|layer| now.layer = layer.clone());
                grants.iter().for_each(|grants| now.grants.clone_from(grants));
            }
            Ask::State { cube, state, .. } => {
                self.cubes.get_mut(cube).into_iter().for_each(|now| now.state = *state);
            }
            Ask::Link { from, to } => _ = self.links.insert((*from, *to)),
            Ask::Unlink { from, to } => _ = self.links.remove(&(*from, *to)),
            Ask::Erase { cube, .. } => {
                self.cubes.get_mut(cube).into_iter().for_each(|now| now.state = State::Erased);
                self.links.retain(|(from, to)| from != cube && to != cube);
            }
        }
    }
}
