//! Deciding what becomes of memory that comes from elsewhere. Pure: what a space has is asked through a closure.
//!
//! For each cube, what it says is compared with what the cube of the same id says here, version by version, by digest
//! of the content. That needs no common clock and no trust in version numbers, which are counted in each space anew:
//!
//! | here | becomes |
//! |---|---|
//! | nothing of that id | new, under the same id |
//! | the head says the same | nothing |
//! | the head is one of the bundle's earlier versions | the next version |
//! | the bundle's cube is one of our earlier versions | nothing, ours is newer |
//! | erased | nothing: what was erased does not come back |
//! | neither follows from the other | a conflict, resolved by [`OnConflict`] |
//! | a cube that the importer may not see | new, under an id of its own that follows from the importer's name |
//!
//! A redacted cube is taken where there is none, and never in place of one. The import of the same bundle a second time
//! plans nothing.
//!
//! Whoever imports owns what is new. Grants stay behind, and so do layers, unless [`ImportOptions::keep_layers`] keeps
//! `global`, and `shared:GROUP` for a group that the importer is in. Legal hold, lifespan, priority, sensitivity,
//! subject and state come along; author and date are kept as claimed, with their source. A next version brings the
//! payload alone.

mod incoming;
mod order;

use std::collections::{HashMap, HashSet};

use serde::Serialize;

pub use incoming::{Incoming, stable_id};

use crate::cube::{Adoption, CubeId, Digest, Layer, State, Update, UpdateMode, VersionRef};
use crate::error::Result;
use crate::governance::Principal;
use crate::graph::{Link, LinkKind};

/// What a space knows of a cube that is to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// There is a cube of that id, and the importer may not see it.
    Hidden,
    /// It was erased.
    Erased,
    /// The importer may see it.
    Seen(Seen),
}

/// A cube that is here already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The digest of its present version, on which an update is made.
    pub digest: Digest,
    /// The digests of what its versions say, oldest first, the present one last.
    pub contents: Vec<Digest>,
    /// Where it stands in its life.
    pub state: State,
    /// The system that it was imported from.
    pub system: Option<String>,
    /// Whether the importer may write its next version.
    pub may_write: bool,
    /// Whether the importer may link it to others.
    pub may_share: bool,
}

/// What is done where neither version follows from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// What is here stays.
    #[default]
    KeepOurs,
    /// What comes becomes the next version.
    TakeTheirs,
    /// What comes becomes a new cube that contradicts ours.
    KeepBoth,
}

/// How an import goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportOptions {
    /// What is done about conflicts.
    pub on_conflict: OnConflict,
    /// Whether what was global, or shared with a group of the importer, stays so. Without it everything is private.
    pub keep_layers: bool,
    /// Whether it is only checked, and nothing is written.
    pub dry_run: bool,
}

/// One change that an import makes.
#[derive(Debug, Clone)]
pub enum Step {
    /// A cube is new here.
    Adopt(CubeId, Box<Adoption>),
    /// A cube gets its next version.
    Update(Box<Update>),
    /// Two cubes are linked.
    Link(Link),
}

/// All that an import does, in order, and what is said of it.
#[derive(Debug, Clone, Default)]
pub struct ImportPlan {
    /// The changes.
    pub steps: Vec<Step>,
    /// What is said of them.
    pub report: ImportReport,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ImportReport {
    /// Cubes that are new.
    pub new: u64,
    /// Cubes that have a next version.
    pub updated: u64,
    /// Cubes that say the same here.
    pub unchanged: u64,
    /// Cubes of which the version here is newer.
    pub newer_here: u64,
    /// Links that were made or there.
    pub links: u64,
    /// Links of which an end is missing here or may not be linked, and those that would close a circle of sources.
    pub links_left_out: u64,
    /// Sources that cubes name and that are missing here.
    pub sources_left_out: u64,
    /// Cubes that fewer may read here than there.
    pub made_private: u64,
    /// Cubes of which neither version follows from the other.
    pub conflicts: Vec<Conflict>,
    /// What has no place here, and why.
    pub left_out: Vec<LeftOut>,
}

/// A cube of which neither version follows from the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The cube here.
    pub cube: CubeId,
    /// The cube beside it that says what came, where both were kept.
    pub beside: Option<CubeId>,
    /// What was done.
    pub resolved: &'static str,
}

/// Something that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What it is.
    pub what: String,
    /// Why it has no place here.
    pub why: String,
}

/// Plans an import: what is new, what changes, what stays. `look` says what the space knows of a cube.
///
/// # Errors
/// Those of `look`.
pub fn plan_import(
    importer: &Principal,
    incoming: Vec<Incoming>,
    links: &[Link],
    look: impl Fn(&CubeId) -> Result<Option<Known>>,
    options: ImportOptions,
) -> Result<ImportPlan> {
    let mut planning = Planning {
        importer,
        look,
        options,
        plan: ImportPlan::default(),
        here: HashMap::with_capacity(incoming.len()),
        adopted: Vec::new(),
        beside: Vec::new(),
    };
    for cube in incoming {
        planning.add(cube)?;
    }
    planning.add_adopted()?;
    let beside = std::mem::take(&mut planning.beside);
    planning.plan.steps.extend(beside.into_iter().map(Step::Link));
    let links = links.iter().filter_map(|link| planning.place_link(link).transpose()).collect::<Result<Vec<_>>>()?;
    planning.add_links(links);
    Ok(planning.plan)
}

/// Where a cube of the bundle is found here.
#[derive(Debug, Clone, Copy)]
struct Here {
    id: CubeId,
    versions: u32,
    may_share: bool,
}

struct Planning<'a, F> {
    importer: &'a Principal,
    look: F,
    options: ImportOptions,
    plan: ImportPlan,
    here: HashMap<CubeId, Here>,
    adopted: Vec<(CubeId, Adoption)>,
    beside: Vec<Link>,
}

/// How what comes stands to what is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Same,
    Follows,
    Precedes,
    Apart,
}

fn relation(cube: &Incoming, seen: &Seen) -> Relation {
    let says = |digest: &Digest| *digest == cube.content || Some(*digest) == cube.original;
    let Some((head, before)) = seen.contents.split_last() else { return Relation::Apart };
    if says(head) {
        return Relation::Same;
    }
    let system = &cube.adoption.source.system;
    // Other systems name no earlier versions. What was imported from them and never changed since is one.
    let untouched = system != incoming::MEMOS && before.is_empty() && seen.system.as_ref() == Some(system);
    let follows = cube.earlier.contains(head) || untouched;
    let precedes = before.iter().any(says);
    match (follows, precedes) {
        // Where a text went back to what it was, the longer history is the later one.
        (true, true) if cube.earlier.len() > before.len() => Relation::Follows,
        (_, true) => Relation::Precedes,
        (true, false) => Relation::Follows,
        (false, false) => Relation::Apart,
    }
}

impl<F: Fn(&CubeId) -> Result<Option<Known>>> Planning<'_, F> {
    fn add(&mut self, cube: Incoming) -> Result<()> {
        let named = cube.id;
        let known = match (self.look)(&named)? {
            Some(Known::Hidden) => {
                let own = stable_id("own", &[named.as_bytes(), self.importer.id.as_str().as_bytes()]);
                let known = (self.look)(&own)?;
                return self.add_known(named, Incoming { id: own, ..cube }, known);
            }
            known => known,
        };
        self.add_known(named, cube, known)
    }

    fn add_known(&mut self, named: CubeId, cube: Incoming, known: Option<Known>) -> Result<()> {
        let seen = match known {
            None => {
                self.adopt(named, cube);
                return Ok(());
            }
            Some(Known::Erased) => return self.leave_out(&cube, "it was erased here, and what was erased stays so"),
            Some(Known::Hidden) => {
                return self.leave_out(&cube, "there is one of that id that the importer may not see");
            }
            Some(Known::Seen(seen)) => seen,
        };
        let versions = u32::try_from(seen.contents.len()).unwrap_or(u32::MAX);
        self.here.insert(named, Here { id: cube.id, versions, may_share: seen.may_share });
        match relation(&cube, &seen) {
            Relation::Same => self.plan.report.unchanged += 1,
            Relation::Precedes => self.plan.report.newer_here += 1,
            Relation::Follows | Relation::Apart if cube.redacted => {
                return self.leave_out(&cube, "it is redacted, and there is one that is not");
            }
            Relation::Follows => return self.update(named, cube, &seen),
            Relation::Apart => return self.resolve(named, cube, &seen),
        }
        Ok(())
    }

    fn resolve(&mut self, named: CubeId, cube: Incoming, seen: &Seen) -> Result<()> {
        let id = cube.id;
        match self.options.on_conflict {
            OnConflict::KeepOurs => self.conflict(id, None, "kept ours"),
            OnConflict::TakeTheirs => {
                self.conflict(id, None, "took theirs");
                return self.update(named, cube, seen);
            }
            OnConflict::KeepBoth => {
                let beside = stable_id("beside", &[id.as_bytes(), cube.content.as_bytes()]);
                match (self.look)(&beside)? {
                    None => {
                        self.conflict(id, Some(beside), "kept both");
                        self.beside.push(Link { from: beside, kind: LinkKind::Contradicts, to: id });
                        self.adopt(named, Incoming { id: beside, ..cube });
                    }
                    Some(Known::Seen(there)) => {
                        let versions = u32::try_from(there.contents.len()).unwrap_or(u32::MAX);
                        self.here.insert(named, Here { id: beside, versions, may_share: there.may_share });
                        self.plan.report.unchanged += 1;
                    }
                    Some(Known::Erased) => {
                        return self.leave_out(&cube, "it was kept beside ours once, and erased since");
                    }
                    Some(Known::Hidden) => return self.leave_out(&cube, "somebody else keeps it beside ours already"),
                }
            }
        }
        Ok(())
    }

    fn conflict(&mut self, cube: CubeId, beside: Option<CubeId>, resolved: &'static str) {
        self.plan.report.conflicts.push(Conflict { cube, beside, resolved });
    }

    fn leave_out(&mut self, cube: &Incoming, why: &str) -> Result<()> {
        self.plan.report.left_out.push(LeftOut { what: cube.what(), why: why.to_owned() });
        Ok(())
    }

    fn update(&mut self, named: CubeId, cube: Incoming, seen: &Seen) -> Result<()> {
        if !seen.may_write {
            return self.leave_out(&cube, "the importer may not change the one that is here");
        }
        if matches!(seen.state, State::Frozen | State::Merged | State::Erased) {
            return self.leave_out(&cube, &format!("the one that is here is {} and takes no new version", seen.state));
        }
        if let Some(here) = self.here.get_mut(&named) {
            here.versions = here.versions.saturating_add(1);
        }
        self.plan.report.updated += 1;
        let mode = UpdateMode::Overwrite(cube.adoption.draft.payload);
        self.plan.steps.push(Step::Update(Box::new(Update { cube: cube.id, parent: seen.digest, mode })));
        Ok(())
    }

    /// Takes a cube as the importer's own.
    fn adopt(&mut self, named: CubeId, cube: Incoming) {
        let Incoming { id, mut adoption, .. } = cube;
        self.here.insert(named, Here { id, versions: 1, may_share: true });
        let draft = &mut adoption.draft;
        draft.owner = None;
        draft.grants.clear();
        let kept = match &draft.layer {
            Layer::Private => true,
            Layer::Shared(group) => self.options.keep_layers && self.importer.groups.contains(group),
            Layer::Global => self.options.keep_layers,
        };
        if !kept {
            draft.layer = Layer::Private;
            self.plan.report.made_private += 1;
        }
        self.plan.report.new += 1;
        self.adopted.push((id, adoption));
    }

    /// Plans the new cubes so that each stands behind those it was made from, and names them as they are called here.
    fn add_adopted(&mut self) -> Result<()> {
        let places: HashMap<CubeId, usize> = self.adopted.iter().enumerate().map(|(at, (id, _))| (*id, at)).collect();
        let mut sources = Vec::with_capacity(self.adopted.len());
        for at in 0..self.adopted.len() {
            let Some((id, adoption)) = self.adopted.get_mut(at) else { continue };
            let (id, named) = (*id, std::mem::take(&mut adoption.draft.derived_from));
            let mut found = Vec::with_capacity(named.len());
            for source in named {
                match self.find(&source.cube)?.filter(|here| here.id != id) {
                    // Earlier versions did not come along, so the nearest that is here stands for them.
                    Some(here) => found.push(VersionRef { cube: here.id, version: source.version.min(here.versions) }),
                    None => self.plan.report.sources_left_out += 1,
                }
            }
            found.sort();
            found.dedup();
            sources.push(found);
        }
        let edges: Vec<Vec<usize>> = sources
            .iter()
            .map(|found| found.iter().filter_map(|source| places.get(&source.cube)).copied().collect())
            .collect();
        let mut adopted: Vec<_> = std::mem::take(&mut self.adopted).into_iter().zip(sources).map(Some).collect();
        let mut placed = HashSet::with_capacity(adopted.len());
        for at in order::sources_first(&edges) {
            let Some(((id, mut adoption), found)) = adopted.get_mut(at).and_then(Option::take) else { continue };
            let before = found.len();
            // A circle of sources has no beginning: what would come later is no source.
            let known = |source: &VersionRef| !places.contains_key(&source.cube) || placed.contains(&source.cube);
            adoption.draft.derived_from = found.into_iter().filter(known).collect();
            self.plan.report.sources_left_out += (before - adoption.draft.derived_from.len()) as u64;
            placed.insert(id);
            self.plan.steps.push(Step::Adopt(id, Box::new(adoption)));
        }
        Ok(())
    }

    /// Names the ends of a link as they are called here; none where one is missing.
    fn place_link(&mut self, link: &Link) -> Result<Option<Link>> {
        let ends = (self.find(&link.from)?, self.find(&link.to)?);
        if let (Some(from), Some(to)) = ends
            && from.may_share
            && from.id != to.id
        {
            return Ok(Some(Link { from: from.id, kind: link.kind, to: to.id }));
        }
        self.plan.report.links_left_out += 1;
        Ok(None)
    }

    /// Plans links, without those that would lead from a cube back to what it was made from.
    fn add_links(&mut self, links: Vec<Link>) {
        let mut places = HashMap::new();
        let mut sources: Vec<Vec<usize>> = Vec::new();
        for link in links.iter().filter(|link| link.kind.is_lineage()) {
            let [from, to] = [link.from, link.to].map(|id| {
                *places.entry(id).or_insert_with(|| {
                    sources.push(Vec::new());
                    sources.len() - 1
                })
            });
            sources.get_mut(from).into_iter().for_each(|of| of.push(to));
        }
        let mut ranks = vec![0; sources.len()];
        for (rank, at) in order::sources_first(&sources).into_iter().enumerate() {
            ranks.get_mut(at).into_iter().for_each(|slot| *slot = rank);
        }
        let rank = |id: &CubeId| places.get(id).and_then(|at| ranks.get(*at));
        for link in links {
            if link.kind.is_lineage() && rank(&link.to) > rank(&link.from) {
                self.plan.report.links_left_out += 1;
            } else {
                self.plan.report.links += 1;
                self.plan.steps.push(Step::Link(link));
            }
        }
    }

    /// Finds a cube that came along, or that is here.
    fn find(&self, named: &CubeId) -> Result<Option<Here>> {
        if let Some(here) = self.here.get(named) {
            return Ok(Some(*here));
        }
        Ok(match (self.look)(named)? {
            Some(Known::Seen(seen)) => Some(Here {
                id: *named,
                versions: u32::try_from(seen.contents.len()).unwrap_or(u32::MAX),
                may_share: seen.may_share,
            }),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
