//! What the scheduler reads before it plans: the memories of a task, what stands around them, and what forms of them
//! would cost. It is read on a reader thread, in somebody's name.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use memos_memory::cube::{CubeId, SpaceName, VersionRef};
use memos_memory::error::{ErrorKind, Result};
use memos_memory::governance::Principal;
use memos_memory::schedule::{Candidate, FormOffer, Wanted};
use memos_memory::time::Timestamp;
use memos_memory::vault::Space;

use super::forms::survived;
use super::maker::FormMaker;

/// A memory, and how well it fitted what was asked when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored {
    pub(super) cube: CubeId,
    pub(super) score: f32,
    pub(super) at: Timestamp,
}

/// What is to be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    /// What recall found for the call, and its scores.
    pub(super) asked: Vec<Scored>,
    /// What lies in the working set, and the scores it came with.
    pub(super) known: Vec<Scored>,
    /// Of the working set those around which the graph is looked at.
    pub(super) seeds: Vec<Scored>,
    /// What has a form that is loaded.
    pub(super) loaded: Vec<CubeId>,
    pub(super) hops: usize,
    pub(super) neighbours: usize,
}

/// What was read.
pub(super) struct Gathered {
    pub(super) request: Request,
    pub(super) candidates: Vec<Candidate>,
    pub(super) texts: HashMap<CubeId, Arc<str>>,
}

/// What a memory gains from one that is a link away, as a share of its score.
const SCORE_PER_LINK: f32 = 0.5;

/// Reads what is asked for, as far as the caller may read it.
pub(super) fn gather(space: &Space, caller: &Principal, request: Request) -> Result<Gathered> {
    let (mut wanted, mut scores) = (Vec::new(), HashMap::new());
    let mut want = |scored: Scored, why: Wanted| {
        if let Entry::Vacant(entry) = scores.entry(scored.cube) {
            entry.insert(scored);
            wanted.push((scored.cube, why));
        }
    };
    request.asked.iter().for_each(|scored| want(*scored, Wanted::Asked));
    request.known.iter().for_each(|scored| want(*scored, Wanted::Known));
    for Scored { cube: seed, score, at } in &request.seeds {
        let near = match space.around(caller, seed, request.hops, request.neighbours) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            near => near?,
        };
        for (cube, hops) in near {
            let share = SCORE_PER_LINK.powi(i32::try_from(hops).unwrap_or(i32::MAX));
            want(Scored { cube, score: score * share, at: *at }, Wanted::Near { of: *seed, hops });
        }
    }
    let unscored = |cube: &CubeId| Scored { cube: *cube, score: 0.0, at: Timestamp::default() };
    request.loaded.iter().for_each(|cube| want(unscored(cube), Wanted::Loaded));
    let (mut candidates, mut texts) = (Vec::with_capacity(wanted.len()), HashMap::new());
    for (mut candidate, text) in space.candidates(caller, &wanted)? {
        if let Some(scored) = scores.get(&candidate.standing.id) {
            (candidate.score, candidate.scored) = (scored.score, scored.at);
        }
        texts.insert(candidate.standing.id, text.into());
        candidates.push(candidate);
    }
    Ok(Gathered { request, candidates, texts })
}

impl Gathered {
    /// Asks what forms of the candidates would cost.
    pub(super) async fn price(&mut self, space: &SpaceName, maker: Option<&Arc<dyn FormMaker>>) -> Result<()> {
        let Some(maker) = maker else { return Ok(()) };
        let asked: Vec<(VersionRef, usize)> = self.candidates.iter().map(version_and_tokens).collect();
        let (maker, space) = (maker.clone(), space.clone());
        let costs = survived(async move {
            let mut costs = Vec::with_capacity(asked.len());
            for (version, tokens) in asked {
                costs.push(maker.costs(&space, version, tokens).await?);
            }
            Ok(costs)
        });
        for (candidate, costs) in self.candidates.iter_mut().zip(costs.await?) {
            let offer = |(form, cost)| FormOffer { form, cost, built: None, set_aside: None };
            candidate.forms = costs.into_iter().map(offer).collect();
        }
        Ok(())
    }

    /// Returns what was asked for and could not be read: it is erased, or the reader may not read it as it is.
    pub(super) fn missing(&self) -> HashSet<CubeId> {
        let Request { known, loaded, .. } = &self.request;
        let named = known.iter().map(|scored| &scored.cube).chain(loaded);
        named.filter(|cube| !self.texts.contains_key(cube)).copied().collect()
    }
}

fn version_and_tokens(candidate: &Candidate) -> (VersionRef, usize) {
    (VersionRef { cube: candidate.standing.id, version: candidate.version }, candidate.tokens)
}
