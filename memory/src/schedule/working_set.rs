//! The working set of a task: what it used and what stands near to that, read already.

use std::cmp::Reverse;
use std::collections::HashSet;

use super::{Plan, PlannedStep, Ranked, Reason, SchedulerRules, Situation, Step, Wanted, is_resident};
use crate::cube::CubeId;
use crate::lifecycle::{self, Reason as DueReason};

/// Fills the working set of a plan, the best claims first, and returns what moves.
pub(super) fn arrange(
    ranked: &[Ranked<'_>],
    situation: &Situation<'_>,
    rules: &SchedulerRules,
    plan: &mut Plan,
) -> Vec<PlannedStep> {
    let loaded: HashSet<CubeId> =
        plan.loads.iter().filter(|load| load.form.is_some()).map(|load| load.version.cube).collect();
    let of_task = ranked.iter().filter(|ranked| ranked.candidate.wanted != Wanted::Loaded);
    let mut order: Vec<Place<'_>> =
        of_task.map(|ranked| Place::of(ranked, loaded.contains(&ranked.id()), situation, rules)).collect();
    order.sort_by(|a, b| {
        let (a_first, b_first) = (Reverse((a.used, a.resident)), Reverse((b.used, b.resident)));
        a_first.cmp(&b_first).then(b.claim.total_cmp(&a.claim)).then(a.ranked.id().cmp(&b.ranked.id()))
    });
    let mut steps = Vec::new();
    for place in order {
        let (ranked, version) = (place.ranked, place.ranked.version());
        let was_there = ranked.candidate.at_hand_since.is_some();
        match place.refused(situation, rules, plan) {
            None => {
                plan.spent.working_set_tokens += ranked.candidate.tokens;
                plan.working_set.push(ranked.id());
                if !was_there && !place.used {
                    let reason = match ranked.candidate.wanted {
                        Wanted::Near { of, hops } => Reason::Near { of, hops, claim: ranked.claim },
                        Wanted::Asked | Wanted::Known | Wanted::Loaded => Reason::Used,
                    };
                    steps.push(PlannedStep { step: Step::Prefetch, version, reason });
                }
            }
            Some(reason) => {
                if was_there {
                    steps.push(PlannedStep { step: Step::Evict, version, reason });
                    if is_cold(ranked, situation, rules) {
                        steps.push(PlannedStep { step: Step::Archive, version, reason: Reason::Cold });
                    }
                }
                let load = plan.loads.iter_mut().find(|load| load.version.cube == ranked.id());
                if let Some(load) = load.filter(|load| load.reason == Reason::AtHand) {
                    load.reason = reason;
                }
            }
        }
    }
    steps
}

/// One candidate for a place.
struct Place<'a> {
    ranked: &'a Ranked<'a>,
    /// The call loads it.
    used: bool,
    resident: bool,
    claim: f32,
}

impl<'a> Place<'a> {
    fn of(ranked: &'a Ranked<'a>, used: bool, situation: &Situation<'_>, rules: &SchedulerRules) -> Self {
        let since = ranked.candidate.at_hand_since;
        let resident = since.is_some_and(|since| is_resident(since, situation.now, rules));
        let claim = ranked.claim + if since.is_some() { rules.margin } else { 0.0 };
        Self { ranked, used, resident, claim }
    }

    /// Says why it gets no place.
    fn refused(&self, situation: &Situation<'_>, rules: &SchedulerRules, plan: &Plan) -> Option<Reason> {
        let (candidate, budgets) = (self.ranked.candidate, situation.budgets);
        if !self.ranked.is_recalled(situation.call) {
            return Some(Reason::NotRecalled { state: candidate.standing.state });
        }
        // What is there may cool a little before it goes, as forms may.
        let share = if candidate.at_hand_since.is_some() { rules.keep_share } else { 1.0 };
        let (claim, least) = (self.ranked.claim, share * rules.prefetch_from);
        if !self.used && !self.resident && claim < least {
            return Some(Reason::Below { claim, least });
        }
        let outranked = |needs: usize, left: usize| {
            Some(Reason::Outranked { claim: self.claim, needs: needs as u64, left: left as u64 })
        };
        if plan.working_set.len() >= budgets.working_set {
            return outranked(1, 0);
        }
        let left = budgets.working_set_tokens.saturating_sub(plan.spent.working_set_tokens);
        if candidate.tokens > left { outranked(candidate.tokens, left) } else { None }
    }
}

/// Returns whether what leaves is so cold that it is to be archived. Of what is due only the cold is done here: the rest
/// is the lifecycle's.
fn is_cold(ranked: &Ranked<'_>, situation: &Situation<'_>, rules: &SchedulerRules) -> bool {
    ranked.candidate.wanted != Wanted::Asked
        && lifecycle::due(&ranked.candidate.standing, situation.now, &rules.retention)
            .is_some_and(|due| due.reason == DueReason::Cold)
}
