//! MemScheduler: in which form memory is loaded, what is promoted, demoted and read ahead, and why (MemOS paper, section
//! 5.4).
//!
//! All here is arithmetic over what is handed in: what is asked, who competes, what there is room for, what is there
//! already. This room knows no space, no engine and no clock; the actor that stands on it carries out what it says.
//!
//! Two claims are kept apart. What is loaded for a call is judged by all strategies. What is *kept in a form* is judged
//! by those that do not depend on the call, since what one call asks says nothing about the next. What is there already
//! stays until something is better by a margin, and for a while in any case, so that nothing flaps.
//!
//! No plan deletes anything. A form is made from a memory and can be made again; a memory is archived at most.

mod forms;
mod reason;
#[cfg(test)]
mod tests;
mod weights;
mod working_set;

use std::collections::HashSet;

use serde::Serialize;

use crate::cube::{CubeId, Kind, VersionRef};
use crate::error::{Error, Result};
use crate::lifecycle::{Retention, Standing};
use crate::operator::MemoryCall;
use crate::time::Timestamp;
use forms::Forms;
pub use reason::{Reason, Worth};
pub use weights::{Part, SchedulerWeights, Strategy};
use weights::{mean, parts};

const MINUTE_MILLIS: u64 = 60 * 1000;
const DAY_MILLIS: u64 = 24 * 60 * MINUTE_MILLIS;

/// How the planner judges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SchedulerRules {
    /// What each strategy weighs.
    pub weights: SchedulerWeights,
    /// By how much a claim must be better, from 0 to 1, to take the place of what is there. 0.15: with the weights as they
    /// are, two memories that are used in turn never differ by so much.
    pub margin: f32,
    /// How long what was loaded stays in any case, in milliseconds. Ten minutes. Only a smaller budget or a new version
    /// ends it before.
    pub residence_millis: u64,
    /// Within which time a form must pay for itself, in milliseconds. One day.
    pub horizon_millis: u64,
    /// The share of its cost that a form must save within the horizon to stay, and of `prefetch_from` that a memory must
    /// claim to stay in a working set; from 0 to 1. One half: what was worth its place is not dropped at once when it cools
    /// a little.
    pub keep_share: f32,
    /// How long a memory must not have changed before it is put into a form, in milliseconds. Ten minutes.
    pub settled_millis: u64,
    /// The time in which recency falls to half, in milliseconds. One week.
    pub recency_half_life_millis: u64,
    /// The heat at which frequency is one half. Four reads.
    pub half_heat: f32,
    /// The score of recall at which similarity is one half.
    pub half_score: f32,
    /// The time in which a score falls to half, in milliseconds. One day: what fitted what was asked then says less and
    /// less of what is asked now.
    pub score_half_life_millis: u64,
    /// The claim from which a memory that was not asked for is read ahead, from 0 to 1.
    pub prefetch_from: f32,
    /// When a memory that leaves a working set is cold enough to be archived. Of its rules those of the cold count.
    pub retention: Retention,
}

impl Default for SchedulerRules {
    fn default() -> Self {
        Self {
            weights: SchedulerWeights::default(),
            margin: 0.15,
            residence_millis: 10 * MINUTE_MILLIS,
            horizon_millis: DAY_MILLIS,
            keep_share: 0.5,
            settled_millis: 10 * MINUTE_MILLIS,
            recency_half_life_millis: 7 * DAY_MILLIS,
            half_heat: 4.0,
            half_score: 2.0,
            score_half_life_millis: DAY_MILLIS,
            prefetch_from: 0.2,
            retention: Retention::default(),
        }
    }
}

impl SchedulerRules {
    /// Checks the rules.
    ///
    /// # Errors
    /// `Invalid` when a weight is no number from 0, a share does not lie between 0 and 1, or a half is not above 0.
    pub fn check(&self) -> Result<()> {
        self.weights.check()?;
        for (name, share) in
            [("margin", self.margin), ("keep_share", self.keep_share), ("prefetch_from", self.prefetch_from)]
        {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::invalid(format!("`{share}` is no {name}; use a number from 0 to 1")));
            }
        }
        for (name, half) in [("half_heat", self.half_heat), ("half_score", self.half_score)] {
            if !half.is_finite() || half <= 0.0 {
                return Err(Error::invalid(format!("`{half}` is no {name}; use a number above 0")));
            }
        }
        self.retention.check()
    }
}

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Budgets {
    /// Tokens of text for one call, should the call not name less.
    pub tokens: usize,
    /// Bytes of activation segments that are loaded at a time.
    pub activation_bytes: u64,
    /// Bytes of adapters that are loaded at a time.
    pub adapter_bytes: u64,
    /// Adapters that are loaded at a time.
    pub adapters: usize,
    /// Forms that one plan begins to build.
    pub builds: usize,
    /// Cubes in a working set.
    pub working_set: usize,
    /// Tokens of text in a working set.
    pub working_set_tokens: usize,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            tokens: 1_000_000,
            activation_bytes: 512 * 1024 * 1024,
            adapter_bytes: 256 * 1024 * 1024,
            adapters: 4,
            builds: 2,
            working_set: 64,
            working_set_tokens: 32_768,
        }
    }
}

/// How a memory came to be a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Wanted {
    /// Recall found it for the call.
    Asked,
    /// The task used it, or it was read ahead for it.
    Known,
    /// It stands near to what the task uses.
    Near {
        /// What the task uses.
        of: CubeId,
        /// How many links it is away.
        hops: usize,
    },
    /// A form of it is loaded, for whichever task: it competes for its bytes and for no place in the working set.
    Loaded,
}

/// What a form would cost and bring.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FormCost {
    /// Milliseconds to build it.
    pub build_millis: f32,
    /// Milliseconds that each use saves.
    pub saved_millis_per_use: f32,
    /// Bytes that it takes while it is loaded.
    pub bytes: u64,
}

/// A form that is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Built {
    /// The version of the cube that it was made from.
    pub version: u32,
    /// Bytes that it takes.
    pub bytes: u64,
    /// Since when it is loaded.
    pub since: Timestamp,
}

/// A form whose building failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// When it may be tried again.
    pub until: Timestamp,
    /// How often it failed in a row.
    pub failures: u32,
}

/// A form beside its text that a memory has or could have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FormOffer {
    /// Which form; text is no offer and is passed over.
    pub form: Kind,
    /// What it costs.
    pub cost: FormCost,
    /// It is loaded.
    pub built: Option<Built>,
    /// It is not to be tried for now.
    pub set_aside: Option<SetAside>,
}

/// One memory that may be loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What the rules look at in it: state, usage, priority.
    pub standing: Standing,
    /// Its present version.
    pub version: u32,
    /// When that version was written.
    pub written: Timestamp,
    /// How it came to be one.
    pub wanted: Wanted,
    /// Tokens of its text.
    pub tokens: usize,
    /// How well it fits what is asked, by the score of recall; 0 where nobody has scored it.
    pub score: f32,
    /// When it was scored.
    pub scored: Timestamp,
    /// Its tags, and further labels such as `task:NAME`.
    pub labels: Vec<String>,
    /// The forms beside its text that it has or could have.
    pub forms: Vec<FormOffer>,
    /// Since when it lies in the task's working set.
    pub at_hand_since: Option<Timestamp>,
}

/// What is planned for.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What is asked; none when the planner looks after what is loaded between two calls.
    pub call: Option<&'a MemoryCall>,
    /// The task in which it is asked.
    pub task: Option<&'a str>,
    /// Who competes.
    pub candidates: &'a [Candidate],
    /// What there is room for.
    pub budgets: &'a Budgets,
    /// The present moment.
    pub now: Timestamp,
}

/// What becomes of one candidate in a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedLoad {
    /// The memory.
    pub version: VersionRef,
    /// The form in which it is loaded; none when it is left out.
    pub form: Option<Kind>,
    /// Why.
    pub reason: Reason,
    /// Its claim: the weighted mean of the parts, from 0 to 1.
    pub claim: f32,
    /// What each strategy says.
    pub parts: Vec<Part>,
    /// The forms that it could have had, and why it has not.
    pub not: Vec<(Kind, Reason)>,
}

/// Something to be done beside the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "do", content = "form", rename_all = "snake_case")]
pub enum Step {
    /// To build this form.
    Promote(Kind),
    /// To drop this form; the text stays.
    Demote(Kind),
    /// To read it ahead into the working set.
    Prefetch,
    /// To let it go from the working set; nothing else is done to it.
    Evict,
    /// To archive it.
    Archive,
}

/// One step, and why.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PlannedStep {
    /// What is to be done.
    pub step: Step,
    /// With which memory.
    pub version: VersionRef,
    /// Why.
    pub reason: Reason,
}

/// How much of the budgets a plan takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Spent {
    /// Tokens of text.
    pub tokens: usize,
    /// Bytes of activation segments, those to be built included.
    pub activation_bytes: u64,
    /// Bytes of adapters, those to be built included.
    pub adapter_bytes: u64,
    /// Adapters.
    pub adapters: usize,
    /// Tokens of text in the working set.
    pub working_set_tokens: usize,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Plan {
    /// What becomes of each candidate but those that compete for bytes alone, the best claim first.
    pub loads: Vec<PlannedLoad>,
    /// What is to be done beside the call: what frees something first.
    pub steps: Vec<PlannedStep>,
    /// The working set after it, the best claim first.
    pub working_set: Vec<CubeId>,
    /// What it takes of the budgets.
    pub spent: Spent,
}

/// A candidate with what the strategies say of it.
struct Ranked<'a> {
    candidate: &'a Candidate,
    parts: Vec<Part>,
    /// By all strategies.
    claim: f32,
    /// By those that do not depend on the call.
    standing: f32,
}

impl Ranked<'_> {
    fn id(&self) -> CubeId {
        self.candidate.standing.id
    }

    fn version(&self) -> VersionRef {
        VersionRef { cube: self.id(), version: self.candidate.version }
    }

    fn is_recalled(&self, call: Option<&MemoryCall>) -> bool {
        let state = self.candidate.standing.state;
        state.is_recalled() || (state == crate::cube::State::Archived && call.is_some_and(|call| call.archived))
    }
}

/// Plans: in which form each candidate is loaded, what is built, dropped, read ahead and let go. A cube that is named
/// twice counts where it is named first. In time proportional to the candidates and their logarithm.
pub fn plan(situation: &Situation<'_>, rules: &SchedulerRules) -> Plan {
    let ranked = rank(situation, rules);
    let mut forms = forms::arrange(&ranked, situation, rules);
    let mut plan = Plan { spent: forms.spent, ..Plan::default() };
    load(&ranked, situation, &mut forms, &mut plan);
    let moved = working_set::arrange(&ranked, situation, rules, &mut plan);
    plan.steps = forms.steps;
    plan.steps.extend(moved);
    // Demoting, evicting and archiving free what promoting and reading ahead take.
    plan.steps.sort_by_key(|planned| matches!(planned.step, Step::Promote(_) | Step::Prefetch));
    plan
}

fn rank<'a>(situation: &Situation<'a>, rules: &SchedulerRules) -> Vec<Ranked<'a>> {
    let wanted = wanted_labels(situation);
    let mut seen = HashSet::new();
    let first = situation.candidates.iter().filter(|candidate| seen.insert(candidate.standing.id));
    let mut ranked: Vec<Ranked<'a>> = first
        .map(|candidate| {
            let parts = parts(candidate, &wanted, situation.now, rules);
            let claim = mean(&parts, |_| true);
            let standing = mean(&parts, |strategy| !strategy.is_of_call());
            Ranked { candidate, parts, claim, standing }
        })
        .collect();
    ranked.sort_by(|a, b| b.claim.total_cmp(&a.claim).then_with(|| a.id().cmp(&b.id())));
    ranked
}

/// Returns the labels of what is asked, in lower case and each once.
fn wanted_labels(situation: &Situation<'_>) -> Vec<String> {
    let mut wanted: Vec<String> = Vec::new();
    if let Some(call) = situation.call {
        wanted.extend(call.tags.iter().map(|tag| tag.to_lowercase()));
        let named = call.entities.iter().chain(&call.subject);
        wanted.extend(named.map(|entity| format!("entity:{}", entity.to_lowercase())));
    }
    wanted.extend(situation.task.map(|task| format!("task:{}", task.to_lowercase())));
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

/// Says in which form each candidate is loaded, the best claim first, until the budget of the call is spent.
fn load(ranked: &[Ranked<'_>], situation: &Situation<'_>, forms: &mut Forms, plan: &mut Plan) {
    let most = situation.call.map_or(0, |call| call.memories);
    let budget = situation.call.map_or(0, |call| call.tokens.min(situation.budgets.tokens));
    let mut loaded = 0;
    for ranked in ranked.iter().filter(|ranked| ranked.candidate.wanted != Wanted::Loaded) {
        let (id, tokens) = (ranked.id(), ranked.candidate.tokens);
        let left = budget.saturating_sub(plan.spent.tokens);
        let (form, reason) = match forms.usable.get(&id) {
            _ if ranked.candidate.wanted != Wanted::Asked => (None, Reason::AtHand),
            _ if !ranked.is_recalled(situation.call) => {
                (None, Reason::NotRecalled { state: ranked.candidate.standing.state })
            }
            _ if loaded >= most => (None, Reason::Enough { most }),
            Some((form, bytes)) => (Some(*form), Reason::Loaded { bytes: *bytes }),
            None if tokens <= left => {
                plan.spent.tokens += tokens;
                (Some(Kind::Plaintext), Reason::Fits { tokens, left: left - tokens })
            }
            None => (None, Reason::TokensSpent { tokens, left }),
        };
        loaded += usize::from(form.is_some());
        plan.loads.push(PlannedLoad {
            version: ranked.version(),
            form,
            reason,
            claim: ranked.claim,
            parts: ranked.parts.clone(),
            not: forms.not.remove(&id).unwrap_or_default(),
        });
    }
}

/// Returns whether something that is there since a time stays in any case.
fn is_resident(since: Timestamp, now: Timestamp, rules: &SchedulerRules) -> bool {
    crate::lifecycle::age_millis(since, now) < rules.residence_millis
}
