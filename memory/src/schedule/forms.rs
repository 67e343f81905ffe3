//! Forms beside text: which are built, kept and dropped, within the bytes that there are.
//!
//! A form is built when what it is expected to save within the horizon is more than what building it costs, and kept
//! while it saves a share of that. Between the two nothing happens, which is one half of why nothing flaps; the other is
//! that who has a place is asked for it only by who is better by a margin.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{FormOffer, PlannedStep, Ranked, Reason, SchedulerRules, Situation, Spent, Step, Worth, is_resident};
use crate::cube::{CubeId, Kind};
use crate::lifecycle::age_millis;
use crate::time::Timestamp;

/// What was decided on forms.
#[derive(Default)]
pub(super) struct Forms {
    /// The highest form in which a cube can be loaded now, and its bytes.
    pub(super) usable: HashMap<CubeId, (Kind, u64)>,
    /// The forms that a cube could have, and why it has not.
    pub(super) not: HashMap<CubeId, Vec<(Kind, Reason)>>,
    pub(super) steps: Vec<PlannedStep>,
    pub(super) spent: Spent,
    builds: usize,
}

/// One cube that has a form or could have it.
struct Contender<'a> {
    ranked: &'a Ranked<'a>,
    offer: &'a FormOffer,
    resident: bool,
    claim: f32,
    worth: Worth,
}

/// What became of a contender.
enum Verdict {
    Kept,
    Begun,
    Dropped(Reason),
    Not(Reason),
}

pub(super) fn arrange(ranked: &[Ranked<'_>], situation: &Situation<'_>, rules: &SchedulerRules) -> Forms {
    let mut forms = Forms { builds: situation.budgets.builds, ..Forms::default() };
    // The higher form first: where it is loaded the lower one is not needed.
    for form in [Kind::Parametric, Kind::Activation] {
        let mut contenders: Vec<Contender<'_>> =
            ranked.iter().filter_map(|ranked| contender(ranked, form, situation.now, rules)).collect();
        contenders.sort_by(|a, b| {
            let place = |contender: &Contender<'_>| (Reverse(contender.resident), contender.ranked.id());
            let (a_place, b_place) = (place(a), place(b));
            let built = |contender: &Contender<'_>| Reverse(contender.offer.built.is_some());
            let by_claim = b.claim.total_cmp(&a.claim).then(built(a).cmp(&built(b)));
            a_place.0.cmp(&b_place.0).then(by_claim).then(a_place.1.cmp(&b_place.1))
        });
        for contender in contenders {
            let verdict = forms.judge(&contender, situation, rules);
            forms.note(&contender, verdict);
        }
    }
    forms
}

fn contender<'a>(ranked: &'a Ranked<'a>, form: Kind, now: Timestamp, rules: &SchedulerRules) -> Option<Contender<'a>> {
    let offer = ranked.candidate.forms.iter().find(|offer| offer.form == form)?;
    let resident = offer.built.is_some_and(|built| is_resident(built.since, now, rules));
    let claim = ranked.standing + if offer.built.is_some() { rules.margin } else { 0.0 };
    Some(Contender { ranked, offer, resident, claim, worth: worth(ranked, offer, now, rules) })
}

fn worth(ranked: &Ranked<'_>, offer: &FormOffer, now: Timestamp, rules: &SchedulerRules) -> Worth {
    let expected_uses = ranked.candidate.standing.usage.expected_reads(now, rules.horizon_millis);
    Worth {
        expected_uses,
        saves_millis: expected_uses * offer.cost.saved_millis_per_use,
        build_millis: offer.cost.build_millis,
        bytes: offer.built.map_or(offer.cost.bytes, |built| built.bytes),
    }
}

impl Forms {
    fn judge(&mut self, contender: &Contender<'_>, situation: &Situation<'_>, rules: &SchedulerRules) -> Verdict {
        let Contender { ranked, offer, resident, worth, .. } = contender;
        if !ranked.is_recalled(situation.call) {
            let reason = Reason::NotRecalled { state: ranked.candidate.standing.state };
            return if offer.built.is_some() { Verdict::Dropped(reason) } else { Verdict::Not(reason) };
        }
        if let Some(built) = offer.built {
            let present = ranked.candidate.version;
            if built.version != present {
                return Verdict::Dropped(Reason::Stale { built: built.version, present });
            }
            if let Some(reason) = self.weariness(contender, rules).filter(|_| !resident) {
                return Verdict::Dropped(reason);
            }
            return match self.crowding(contender, situation) {
                Some(reason) => Verdict::Dropped(reason),
                None => Verdict::Kept,
            };
        }
        if let Some(reason) = self.hindrance(contender, situation, rules) {
            return Verdict::Not(reason);
        }
        if !(worth.saves_millis > worth.build_millis && worth.build_millis >= 0.0) {
            return Verdict::Not(Reason::PaysNot { worth: *worth });
        }
        if let Some(reason) = self.crowding(contender, situation) {
            return Verdict::Not(reason);
        }
        if self.builds == 0 {
            return Verdict::Not(Reason::BuildersBusy);
        }
        Verdict::Begun
    }

    /// Says why a loaded form is not worth its place any more.
    fn weariness(&self, contender: &Contender<'_>, rules: &SchedulerRules) -> Option<Reason> {
        let Contender { ranked, offer, worth, .. } = contender;
        if let Some((by, _)) = self.usable.get(&ranked.id()).filter(|(form, _)| *form > offer.form) {
            return Some(Reason::Covered { by: *by });
        }
        let keeps = worth.saves_millis >= rules.keep_share * worth.build_millis;
        (!keeps).then_some(Reason::Cooled { worth: *worth, keep_share: rules.keep_share })
    }

    /// Says why a form is not to be built, however much it would pay.
    fn hindrance(
        &self,
        contender: &Contender<'_>,
        situation: &Situation<'_>,
        rules: &SchedulerRules,
    ) -> Option<Reason> {
        let Contender { ranked, offer, .. } = contender;
        let candidate = ranked.candidate;
        if let Some((by, _)) = self.usable.get(&ranked.id()).filter(|(form, _)| *form > offer.form) {
            return Some(Reason::Covered { by: *by });
        }
        if let Some(aside) = offer.set_aside.filter(|aside| situation.now < aside.until) {
            return Some(Reason::SetAside { until: aside.until, failures: aside.failures });
        }
        if age_millis(candidate.written, situation.now) < rules.settled_millis {
            let settled = i64::try_from(rules.settled_millis).unwrap_or(i64::MAX);
            let until = Timestamp::from_millis(candidate.written.as_millis().saturating_add(settled));
            return Some(Reason::Unsettled { until });
        }
        let lower = candidate.forms.iter().find(|other| other.form == Kind::Activation);
        let is_there = |other: &FormOffer| other.built.is_some_and(|built| built.version == candidate.version);
        match lower {
            Some(lower) if offer.form == Kind::Parametric && !is_there(lower) => {
                Some(Reason::After { form: Kind::Activation })
            }
            _ => None,
        }
    }

    /// Says that there is no room for a form.
    fn crowding(&self, contender: &Contender<'_>, situation: &Situation<'_>) -> Option<Reason> {
        let (needs, claim, budgets, spent) = (contender.worth.bytes, contender.claim, situation.budgets, &self.spent);
        let left = match contender.offer.form {
            Kind::Parametric if spent.adapters >= budgets.adapters => {
                return Some(Reason::Outranked { claim, needs: 1, left: 0 });
            }
            Kind::Parametric => budgets.adapter_bytes - spent.adapter_bytes,
            Kind::Activation | Kind::Plaintext => budgets.activation_bytes - spent.activation_bytes,
        };
        (needs > left).then_some(Reason::Outranked { claim, needs, left })
    }

    fn note(&mut self, contender: &Contender<'_>, verdict: Verdict) {
        let Contender { ranked, offer, worth, .. } = contender;
        let (id, form) = (ranked.id(), offer.form);
        let step = |step, reason| PlannedStep { step, version: ranked.version(), reason };
        match verdict {
            Verdict::Kept => {
                self.take(form, worth.bytes);
                self.usable.entry(id).or_insert((form, worth.bytes));
            }
            Verdict::Begun => {
                self.take(form, worth.bytes);
                self.builds -= 1;
                self.steps.push(step(Step::Promote(form), Reason::Pays { worth: *worth }));
            }
            Verdict::Dropped(reason) => {
                self.steps.push(step(Step::Demote(form), reason));
                self.not.entry(id).or_default().push((form, reason));
            }
            Verdict::Not(reason) => self.not.entry(id).or_default().push((form, reason)),
        }
    }

    fn take(&mut self, form: Kind, bytes: u64) {
        match form {
            Kind::Parametric => {
                self.spent.adapter_bytes += bytes;
                self.spent.adapters += 1;
            }
            Kind::Activation | Kind::Plaintext => self.spent.activation_bytes += bytes,
        }
    }
}
