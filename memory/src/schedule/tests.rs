//! The planner in tables, and the promises that hold for whatever is handed in.

use proptest::prelude::*;
use proptest::strategy::Strategy as PropStrategy;

use super::Strategy;
use super::*;
use crate::cube::{Lifespan, Priority, State, Usage, UseSignal};
use crate::governance::Principal;

const NOW: Timestamp = Timestamp::from_millis(100 * DAY_MILLIS as i64);

fn ago(millis: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() - millis as i64)
}

fn id(number: u8) -> CubeId {
    CubeId::from_bytes([number; 16])
}

/// A memory of a hundred days and ten tokens that was asked for.
fn memory(number: u8) -> Candidate {
    let standing = Standing {
        id: id(number),
        state: State::Activated,
        since: ago(100 * DAY_MILLIS),
        begun: ago(100 * DAY_MILLIS),
        usage: Usage::default(),
        lifespan: Lifespan::Forever,
        legal_hold: false,
        priority: Priority::Normal,
    };
    Candidate {
        standing,
        version: 1,
        written: ago(100 * DAY_MILLIS),
        wanted: Wanted::Asked,
        tokens: 10,
        score: 1.0,
        scored: NOW,
        labels: Vec::new(),
        forms: Vec::new(),
        at_hand_since: None,
    }
}

fn read(candidate: Candidate, times: usize) -> Candidate {
    read_at(candidate, times, ago(MINUTE_MILLIS))
}

fn read_at(mut candidate: Candidate, times: usize, at: Timestamp) -> Candidate {
    (0..times).for_each(|_| candidate.standing.usage.record(UseSignal::Read, at));
    candidate
}

/// A form that pays from about one read a day.
fn offer(form: Kind) -> FormOffer {
    let cost = FormCost { build_millis: 100.0, saved_millis_per_use: 100.0, bytes: 100 };
    FormOffer { form, cost, built: None, set_aside: None }
}

fn built(form: Kind, since: Timestamp) -> FormOffer {
    FormOffer { built: Some(Built { version: 1, bytes: 100, since }), ..offer(form) }
}

fn with(candidate: Candidate, forms: &[FormOffer]) -> Candidate {
    Candidate { forms: forms.to_vec(), ..candidate }
}

fn call() -> MemoryCall {
    MemoryCall::new(Principal::new("user:ada".parse().unwrap()), "what?", NOW)
}

fn small() -> Budgets {
    Budgets { activation_bytes: 100, adapter_bytes: 100, ..Budgets::default() }
}

fn planned(candidates: &[Candidate], call: Option<&MemoryCall>, budgets: &Budgets) -> Plan {
    let situation = Situation { call, task: Some("move"), candidates, budgets, now: NOW };
    plan(&situation, &SchedulerRules::default())
}

/// Says what becomes of each candidate, by its number: `T`ext, `A`ctivation, `P`arametric, `-` left out.
fn loads(plan: &Plan) -> String {
    let mut loads: Vec<_> = plan.loads.iter().collect();
    loads.sort_by_key(|load| load.version.cube);
    let letter = |load: &&PlannedLoad| match load.form {
        Some(Kind::Plaintext) => 'T',
        Some(Kind::Activation) => 'A',
        Some(Kind::Parametric) => 'P',
        None => '-',
    };
    loads.iter().map(letter).collect()
}

fn steps(plan: &Plan) -> Vec<(Step, u8)> {
    plan.steps.iter().map(|step| (step.step, step.version.cube.as_bytes()[0])).collect()
}

#[test]
fn what_a_call_loads() {
    let text = |tokens| Candidate { tokens, ..memory(1) };
    let lesser = |number, tokens| Candidate { tokens, score: 0.5, ..memory(number) };
    let old = Candidate { standing: Standing { state: State::Archived, ..memory(1).standing }, ..memory(1) };
    let known = Candidate { wanted: Wanted::Known, ..memory(1) };
    let loaded = |form| with(memory(1), &[built(form, ago(1))]);
    for (candidates, tokens, memories, expect) in [
        (vec![], 100, 10, ""),
        (vec![text(10), lesser(2, 10)], 100, 10, "TT"),
        (vec![text(10), lesser(2, 10)], 10, 10, "T-"),
        (vec![text(60), lesser(2, 60), lesser(3, 40)], 100, 10, "T-T"),
        (vec![text(10), lesser(2, 10)], 100, 1, "T-"),
        (vec![text(10), lesser(2, 10)], 0, 10, "--"),
        (vec![old.clone()], 100, 10, "-"),
        (vec![known], 100, 10, "-"),
        (vec![loaded(Kind::Activation)], 0, 10, "A"),
        (vec![loaded(Kind::Parametric)], 0, 10, "P"),
        (vec![with(memory(1), &[built(Kind::Activation, ago(1)), built(Kind::Parametric, ago(1))])], 0, 10, "P"),
        (vec![loaded(Kind::Activation)], 0, 0, "-"),
        (vec![text(10), Candidate { tokens: 500, ..memory(1) }], 100, 10, "T"),
    ] {
        let call = MemoryCall { tokens, memories, ..call() };
        assert_eq!(loads(&planned(&candidates, Some(&call), &Budgets::default())), expect, "{tokens} {candidates:?}");
    }
    let archived = MemoryCall { archived: true, ..call() };
    assert_eq!(loads(&planned(&[old], Some(&archived), &Budgets::default())), "T");
}

#[test]
fn heat_reorders_and_says_why() {
    let (near, hot) = (Candidate { score: 1.1, ..memory(1) }, read(memory(2), 20));
    let one = MemoryCall { memories: 1, ..call() };
    let plan = planned(&[near.clone(), hot], Some(&one), &Budgets::default());
    assert_eq!(loads(&plan), "-T");
    let best = &plan.loads[0];
    let part = |strategy| best.parts.iter().find(|part| part.strategy == strategy).unwrap();
    assert!(part(Strategy::Frequency).value > 0.8 && part(Strategy::Recency).value > 0.99);
    assert_eq!(best.reason, Reason::Fits { tokens: 10, left: 1990 });
    assert_eq!(plan.loads[1].reason, Reason::Enough { most: 1 });
    // What is much nearer is not overtaken.
    let nearest = Candidate { score: 20.0, ..near };
    assert_eq!(loads(&planned(&[nearest, read(memory(2), 3)], Some(&one), &Budgets::default())), "T-");
    let json = serde_json::to_value(best).unwrap();
    assert_eq!(json["reason"], serde_json::json!({"because": "fits", "tokens": 10, "left": 1990}));
    assert_eq!(json["parts"][4]["strategy"], "frequency");
}

#[test]
fn each_strategy_counts() {
    let labels =
        |labels: &[&str]| Candidate { labels: labels.iter().map(|label| label.to_string()).collect(), ..memory(1) };
    let priority = |priority| Candidate { standing: Standing { priority, ..memory(1).standing }, ..memory(1) };
    let called = |helpful, unhelpful| {
        let mut candidate = memory(1);
        (0..helpful).for_each(|_| candidate.standing.usage.record(UseSignal::Helpful, NOW));
        (0..unhelpful).for_each(|_| candidate.standing.usage.record(UseSignal::Unhelpful, NOW));
        candidate
    };
    let call = MemoryCall { tags: vec!["Food".into()], subject: Some("Bo".into()), ..call() };
    let value = |candidate: &Candidate, strategy| {
        let plan = planned(std::slice::from_ref(candidate), Some(&call), &Budgets::default());
        plan.loads[0].parts.iter().find(|part| part.strategy == strategy).unwrap().value
    };
    for (candidate, strategy, expect) in [
        (memory(1), Strategy::Similarity, 1.0 / 3.0),
        (Candidate { score: 2.0, scored: ago(DAY_MILLIS), ..memory(1) }, Strategy::Similarity, 1.0 / 3.0),
        (Candidate { score: f32::NAN, ..memory(1) }, Strategy::Similarity, 0.0),
        (Candidate { score: -3.0, ..memory(1) }, Strategy::Similarity, 0.0),
        (labels(&[]), Strategy::Labels, 0.0),
        (labels(&["food", "x"]), Strategy::Labels, 1.0 / 3.0),
        (labels(&["food", "entity:bo", "task:move"]), Strategy::Labels, 1.0),
        (priority(Priority::Low), Strategy::Priority, 0.0),
        (priority(Priority::High), Strategy::Priority, 1.0),
        (memory(1), Strategy::Frequency, 0.0),
        (read_at(memory(1), 4, NOW), Strategy::Frequency, 0.5),
        (read_at(memory(1), 8, ago(7 * DAY_MILLIS)), Strategy::Frequency, 0.5),
        (read_at(memory(1), 1, NOW), Strategy::Recency, 1.0),
        (read_at(memory(1), 1, ago(7 * DAY_MILLIS)), Strategy::Recency, 0.5),
        (memory(1), Strategy::Helpful, 0.5),
        (called(2, 0), Strategy::Helpful, 0.75),
        (called(0, 2), Strategy::Helpful, 0.25),
    ] {
        let found = value(&candidate, strategy);
        assert!((found - expect).abs() < 1e-4, "{strategy} is {found}, not {expect}: {candidate:?}");
    }
}

#[test]
fn forms_are_built_kept_and_dropped() {
    use Kind::{Activation, Parametric};
    let long = ago(DAY_MILLIS);
    let hot = |number| read(memory(number), 40);
    let warm = |number| read(memory(number), 6);
    let aside = |until| FormOffer { set_aside: Some(SetAside { until, failures: 2 }), ..offer(Activation) };
    let young = Candidate { written: ago(MINUTE_MILLIS), ..hot(1) };
    let changed = Candidate { version: 2, ..with(hot(1), &[built(Activation, ago(1))]) };
    let away = Candidate { standing: Standing { state: State::Archived, ..hot(1).standing }, ..hot(1) };
    let both = [built(Activation, long), built(Parametric, long)];
    let dear = FormOffer { cost: FormCost { build_millis: f32::NAN, ..offer(Activation).cost }, ..offer(Activation) };
    for (what, candidates, expect) in [
        ("it pays", vec![with(hot(1), &[offer(Activation)])], vec![(Step::Promote(Activation), 1)]),
        ("it does not", vec![with(memory(1), &[offer(Activation)])], vec![]),
        ("no cost is no cost", vec![with(hot(1), &[dear])], vec![]),
        ("it has just changed", vec![with(young, &[offer(Activation)])], vec![]),
        ("it failed", vec![with(hot(1), &[aside(ago(0).max(NOW))])], vec![(Step::Promote(Activation), 1)]),
        ("it failed lately", vec![with(hot(1), &[aside(Timestamp::from_millis(NOW.as_millis() + 1))])], vec![]),
        (
            "the lower first",
            vec![with(hot(1), &[offer(Activation), offer(Parametric)])],
            vec![(Step::Promote(Activation), 1)],
        ),
        (
            "then the higher",
            vec![with(hot(1), &[built(Activation, long), offer(Parametric)])],
            vec![(Step::Promote(Parametric), 1)],
        ),
        ("no lower one is there", vec![with(hot(1), &[offer(Parametric)])], vec![(Step::Promote(Parametric), 1)]),
        ("the lower is not needed", vec![with(hot(1), &both)], vec![(Step::Demote(Activation), 1)]),
        ("it is of an old version", vec![changed], vec![(Step::Demote(Activation), 1)]),
        ("it cooled", vec![with(memory(1), &[built(Activation, long)])], vec![(Step::Demote(Activation), 1)]),
        ("it stays a while", vec![with(memory(1), &[built(Activation, ago(1))])], vec![]),
        ("between building and dropping", vec![with(warm(1), &[built(Activation, long)])], vec![]),
        ("between dropping and building", vec![with(warm(1), &[offer(Activation)])], vec![]),
        ("it is archived", vec![with(away, &[built(Activation, ago(1))])], vec![(Step::Demote(Activation), 1)]),
        (
            "the hotter first",
            vec![with(read(memory(1), 20), &[offer(Activation)]), with(hot(2), &[offer(Activation)])],
            vec![(Step::Promote(Activation), 2)],
        ),
        (
            "a little hotter",
            vec![with(read(memory(1), 30), &[built(Activation, long)]), with(hot(2), &[offer(Activation)])],
            vec![],
        ),
        (
            "by a margin",
            vec![with(warm(1), &[built(Activation, long)]), with(hot(2), &[offer(Activation)])],
            vec![(Step::Demote(Activation), 1), (Step::Promote(Activation), 2)],
        ),
        (
            "by a margin, after a while",
            vec![with(warm(1), &[built(Activation, ago(1))]), with(hot(2), &[offer(Activation)])],
            vec![],
        ),
    ] {
        let plan = planned(&candidates, None, &small());
        assert_eq!(
            steps(&plan).into_iter().filter(|(step, _)| *step != Step::Prefetch).collect::<Vec<_>>(),
            expect,
            "{what}"
        );
    }
    let many: Vec<_> = (1..6).map(|number| with(hot(number), &[offer(Activation)])).collect();
    let plan = planned(&many, None, &Budgets::default());
    assert_eq!(steps(&plan).iter().filter(|(step, _)| matches!(step, Step::Promote(_))).count(), 2);
    assert_eq!(plan.loads[2].not, [(Activation, Reason::BuildersBusy)]);
}

#[test]
fn what_lies_in_a_working_set() {
    let budgets = Budgets { working_set: 2, working_set_tokens: 100, ..Budgets::default() };
    let near = |number| Candidate { wanted: Wanted::Near { of: id(9), hops: 1 }, ..memory(number) };
    let known = |number, since| Candidate { wanted: Wanted::Known, at_hand_since: Some(since), ..memory(number) };
    let dull = |candidate: Candidate| Candidate {
        score: 0.0,
        standing: Standing { priority: Priority::Low, ..candidate.standing },
        ..candidate
    };
    let long = ago(DAY_MILLIS);
    let standing = |standing| Candidate { standing, ..dull(known(1, long)) };
    let used = dull(read_at(known(1, long), 1, ago(DAY_MILLIS)));
    let frozen = standing(Standing { state: State::Frozen, priority: Priority::Low, ..memory(1).standing });
    let gone = standing(Standing { state: State::Merged, priority: Priority::Low, ..memory(1).standing });
    let better = |number| read(near(number), 200);
    for (what, candidates, set, expect) in [
        ("what stands near", vec![near(1)], vec![1], vec![(Step::Prefetch, 1)]),
        ("what is far", vec![dull(near(1))], vec![], vec![]),
        ("what is there", vec![known(1, long)], vec![1], vec![]),
        ("too long a text", vec![Candidate { tokens: 101, ..near(1) }], vec![], vec![]),
        ("a cold one is archived", vec![dull(known(1, long))], vec![], vec![(Step::Evict, 1), (Step::Archive, 1)]),
        ("a cold one stays a while", vec![dull(known(1, ago(1)))], vec![1], vec![]),
        ("one that was used stays", vec![used], vec![1], vec![]),
        ("a frozen one is never archived", vec![frozen], vec![], vec![(Step::Evict, 1)]),
        ("a merged one goes", vec![gone], vec![], vec![(Step::Evict, 1)]),
        (
            "the better two",
            vec![better(1), near(2), better(3)],
            vec![1, 3],
            vec![(Step::Prefetch, 1), (Step::Prefetch, 3)],
        ),
        ("not by a little", vec![known(1, long), known(2, long), near(3)], vec![1, 2], vec![]),
        (
            "by a margin",
            vec![known(1, long), known(2, long), better(3)],
            vec![3, 1],
            vec![(Step::Evict, 2), (Step::Prefetch, 3)],
        ),
        ("after a while", vec![known(1, ago(1)), known(2, ago(1)), better(3)], vec![1, 2], vec![]),
    ] {
        let plan = planned(&candidates, None, &budgets);
        let numbers: Vec<u8> = plan.working_set.iter().map(|cube| cube.as_bytes()[0]).collect();
        assert_eq!((numbers, steps(&plan)), (set, expect), "{what}");
    }
    // What the call loads has a place before all else.
    let plan = planned(&[known(1, ago(1)), known(2, ago(1)), memory(3)], Some(&call()), &budgets);
    assert_eq!(plan.working_set, [id(3), id(1)]);
    assert_eq!(steps(&plan), [(Step::Evict, 2)]);
}

#[test]
fn rules_are_checked() {
    assert!(SchedulerRules::default().check().is_ok());
    let rules = SchedulerRules::default();
    let weights = rules.weights;
    let nothing = SchedulerWeights { recency: 0.0, priority: 0.0, frequency: 0.0, helpful: 0.0, ..weights };
    for rules in [
        SchedulerRules { weights: SchedulerWeights { recency: -1.0, ..weights }, ..rules },
        SchedulerRules { weights: SchedulerWeights { labels: f32::NAN, ..weights }, ..rules },
        SchedulerRules { weights: nothing, ..rules },
        SchedulerRules { margin: 1.5, ..rules },
        SchedulerRules { keep_share: f32::NAN, ..rules },
        SchedulerRules { half_heat: 0.0, ..rules },
        SchedulerRules { half_score: f32::INFINITY, ..rules },
    ] {
        assert!(rules.check().is_err(), "{rules:?}");
    }
}

fn forms() -> impl PropStrategy<Value = Vec<FormOffer>> {
    let cost = (0..2000u32, 0..400u32, 0..120u64).prop_map(|(build, saved, bytes)| FormCost {
        build_millis: build as f32,
        saved_millis_per_use: saved as f32,
        bytes,
    });
    let is_built = prop::option::of((1..3u32, 0..120u64, 0..40 * MINUTE_MILLIS));
    let form = prop_oneof![Just(Kind::Plaintext), Just(Kind::Activation), Just(Kind::Parametric)];
    let aside = prop::option::of((0..2u64, 1..4u32));
    let offer = (form, cost, is_built, aside).prop_map(|(form, cost, is_built, aside)| FormOffer {
        form,
        cost,
        built: is_built.map(|(version, bytes, age)| Built { version, bytes, since: ago(age) }),
        set_aside: aside.map(|(days, failures)| SetAside {
            until: Timestamp::from_millis(NOW.as_millis() + (days * DAY_MILLIS) as i64),
            failures,
        }),
    });
    prop::collection::vec(offer, 0..3)
}

fn candidates() -> impl PropStrategy<Value = Vec<Candidate>> {
    let standing = (0..State::ALL.len(), 0..Priority::ALL.len(), prop::collection::vec(0..60u64, 0..30));
    let rest = (1..3u32, 0..30 * MINUTE_MILLIS, 0..3u8, 0..200usize, -1.0..6.0f32);
    let one = (standing, rest, forms(), prop::option::of(0..40 * MINUTE_MILLIS)).prop_map(
        |((state, priority, mut reads), (version, written, wanted, tokens, score), forms, at_hand)| {
            reads.sort_unstable_by(|a, b| b.cmp(a));
            let mut candidate = memory(0);
            for days in reads {
                candidate.standing.usage.record(UseSignal::Read, ago(days * DAY_MILLIS / 4));
            }
            candidate.standing.state = State::ALL[state];
            candidate.standing.priority = Priority::ALL[priority];
            let wanted = match wanted {
                0 => Wanted::Asked,
                1 => Wanted::Known,
                _ => Wanted::Near { of: id(0), hops: 1 },
            };
            let at_hand_since = at_hand.map(ago);
            Candidate { version, written: ago(written), wanted, tokens, score, forms, at_hand_since, ..candidate }
        },
    );
    prop::collection::vec(one, 1..20).prop_map(|all| {
        let number = |(mut candidate, number): (Candidate, u8)| {
            candidate.standing.id = id(number);
            candidate
        };
        all.into_iter().zip(0..).map(number).collect()
    })
}

fn budgets() -> impl PropStrategy<Value = Budgets> {
    (0..400usize, 0..400u64, 0..400u64, 0..4usize, 0..4usize, (0..12usize, 0..800usize)).prop_map(
        |(tokens, activation_bytes, adapter_bytes, adapters, builds, (working_set, working_set_tokens))| Budgets {
            tokens,
            activation_bytes,
            adapter_bytes,
            adapters,
            builds,
            working_set,
            working_set_tokens,
        },
    )
}

/// How good the form is in which a plan leaves a cube: what it has loaded, and what is built for it.
fn standing_of(plan: &Plan, cube: CubeId) -> (Option<Kind>, Vec<Kind>, bool) {
    let load = plan.loads.iter().find(|load| load.version.cube == cube).unwrap();
    let promoted = plan.steps.iter().filter(|step| step.version.cube == cube).filter_map(|step| match step.step {
        Step::Promote(form) => Some(form),
        _ => None,
    });
    (load.form, promoted.collect(), plan.working_set.contains(&cube))
}

proptest! {
    #[test]
    fn a_plan_is_the_same_each_time_and_keeps_its_budgets(candidates in candidates(), budgets in budgets(), memories in 0..12usize) {
        let call = MemoryCall { memories, tokens: 300, ..call() };
        let plan = planned(&candidates, Some(&call), &budgets);
        prop_assert_eq!(&plan, &planned(&candidates, Some(&call), &budgets));

        let by_id = |cube: CubeId| candidates.iter().find(|candidate| candidate.standing.id == cube).unwrap();
        let is_loaded = |load: &&PlannedLoad| load.form.is_some();
        let texts = plan.loads.iter().filter(|load| load.form == Some(Kind::Plaintext));
        let tokens: usize = texts.map(|load| by_id(load.version.cube).tokens).sum();
        prop_assert!(tokens == plan.spent.tokens && tokens <= budgets.tokens.min(300));
        prop_assert!(plan.loads.iter().filter(is_loaded).count() <= memories);
        prop_assert!(plan.working_set.len() <= budgets.working_set);
        let at_hand: usize = plan.working_set.iter().map(|cube| by_id(*cube).tokens).sum();
        prop_assert!(at_hand <= budgets.working_set_tokens);
        // What is loaded after the plan is carried out: what was, without what is demoted, with what is promoted.
        let has = |step: Step, cube| plan.steps.iter().any(|planned| planned.step == step && planned.version.cube == cube);
        for (form, bytes) in [(Kind::Activation, budgets.activation_bytes), (Kind::Parametric, budgets.adapter_bytes)] {
            let mut there = Vec::new();
            for candidate in &candidates {
                let Some(offer) = candidate.forms.iter().find(|offer| offer.form == form) else { continue };
                match offer.built {
                    Some(built) if !has(Step::Demote(form), candidate.standing.id) => there.push(built.bytes),
                    None if has(Step::Promote(form), candidate.standing.id) => there.push(offer.cost.bytes),
                    _ => {}
                }
            }
            prop_assert!(there.iter().sum::<u64>() <= bytes);
            prop_assert!(form != Kind::Parametric || there.len() <= budgets.adapters);
        }
        prop_assert!(plan.steps.iter().filter(|planned| matches!(planned.step, Step::Promote(_))).count() <= budgets.builds);
        // Only what is of low priority and cold is archived, and it is what leaves.
        for archived in plan.steps.iter().filter(|planned| planned.step == Step::Archive) {
            let standing = &by_id(archived.version.cube).standing;
            prop_assert!(standing.priority == Priority::Low && has(Step::Evict, standing.id));
            prop_assert!(matches!(standing.state, State::Generated | State::Activated));
        }
    }

    #[test]
    fn more_heat_never_lowers(candidates in candidates(), budgets in budgets(), which in 0..20usize, reads in 1..40usize) {
        let call = MemoryCall { memories: 5, tokens: 300, ..call() };
        let which = which % candidates.len();
        let (cube, mut hotter) = (candidates[which].standing.id, candidates.clone());
        (0..reads).for_each(|_| hotter[which].standing.usage.record(UseSignal::Read, NOW));
        let before = planned(&candidates, Some(&call), &budgets);
        let after = planned(&hotter, Some(&call), &budgets);
        let (form, promoted, at_hand) = standing_of(&before, cube);
        let (hotter_form, hotter_promoted, hotter_at_hand) = standing_of(&after, cube);
        prop_assert!(hotter_form >= form, "{:?} became {:?}", form, hotter_form);
        prop_assert!(hotter_at_hand >= at_hand);
        // What was to be built is built, unless a higher form of it stays or comes.
        for form in promoted {
            let higher = hotter_promoted.iter().any(|other| *other >= form) || hotter_form > Some(form);
            let kept = hotter[which].forms.iter().any(|offer| offer.form > form && offer.built.is_some());
            prop_assert!(higher || kept, "{:?} is not built any more", form);
        }
    }

    #[test]
    fn equal_loads_in_turn_do_not_flap(minutes in 1..1440u64, many in 2..5u8, room in 1..4u64) {
        let budgets = Budgets { activation_bytes: 100 * room, builds: 4, ..Budgets::default() };
        let rules = SchedulerRules::default();
        let mut all: Vec<Candidate> = (0..many).map(|number| with(memory(number), &[offer(Kind::Activation)])).collect();
        for candidate in &mut all {
            candidate.wanted = Wanted::Known;
            candidate.forms[0].cost = FormCost { build_millis: 1.0, saved_millis_per_use: 1000.0, bytes: 100 };
        }
        let mut changes = 0;
        for turn in 0..300u64 {
            let now = Timestamp::from_millis(NOW.as_millis() + (turn * minutes * MINUTE_MILLIS) as i64);
            let used = (turn % u64::from(many)) as usize;
            all[used].standing.usage.record(UseSignal::Read, now);
            let situation = Situation { call: None, task: None, candidates: &all, budgets: &budgets, now };
            for planned in plan(&situation, &rules).steps {
                let candidate = all.iter_mut().find(|candidate| candidate.standing.id == planned.version.cube).unwrap();
                match planned.step {
                    Step::Promote(_) => candidate.forms[0].built = Some(Built { version: 1, bytes: 100, since: now }),
                    Step::Demote(_) => candidate.forms[0].built = None,
                    _ => continue,
                }
                changes += 1;
            }
        }
        // Each is built at most a few times while all warm up, and then nothing moves.
        prop_assert!(changes <= 4 * usize::from(many), "{} changes", changes);
    }
}
