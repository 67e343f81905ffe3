use proptest::prelude::*;

use super::*;
use crate::cube::{CubeId, Lifespan, Priority, Usage, UseSignal};
use crate::error::ErrorKind;
use crate::time::Timestamp;

const OPEN: Guard = Guard { legal_hold: false, has_merge_target: true, may_unfreeze: true };
const HELD: Guard = Guard { legal_hold: true, ..OPEN };
const DAY: u64 = 24 * 3600 * 1000;

/// For each state the state after each transition, in the order of `Transition::ALL`.
const TABLE: [(&str, [&str; 8]); 7] = [
    ("generated", ["activated", "merged", "archived", "expired", "frozen", "", "", "erased"]),
    ("activated", ["", "merged", "archived", "expired", "frozen", "", "", "erased"]),
    ("merged", ["", "", "archived", "expired", "", "", "activated", "erased"]),
    ("archived", ["", "merged", "", "expired", "frozen", "", "activated", "erased"]),
    ("expired", ["", "", "archived", "", "", "", "activated", "erased"]),
    ("frozen", ["", "", "", "", "", "activated", "", "erased"]),
    ("erased", [""; 8]),
];

#[test]
fn the_table_holds_for_every_state_and_transition() {
    assert_eq!(TABLE.len(), State::ALL.len());
    for (from, row) in TABLE {
        let from: State = from.parse().unwrap();
        for (transition, to) in Transition::ALL.into_iter().zip(row) {
            let found = next(from, transition, &OPEN);
            match to.parse::<State>() {
                Ok(to) => {
                    assert_eq!(found.unwrap(), to, "{from} {transition}");
                    assert_eq!(Transition::between(from, to).unwrap(), transition);
                }
                Err(_) => assert_eq!(found.unwrap_err().kind(), ErrorKind::Invalid, "{from} {transition}"),
            }
        }
        for to in State::ALL {
            assert_eq!(Transition::between(from, *to).is_ok(), row.contains(&to.as_str()), "{from} to {to}");
        }
    }
}

#[test]
fn guards_refuse() {
    use State::{Activated, Archived, Expired, Frozen};
    use Transition::{Archive, Erase, Expire, Freeze, Merge, Restore, Unfreeze};
    let lone = Guard { has_merge_target: false, ..OPEN };
    let powerless = Guard { may_unfreeze: false, ..OPEN };
    for (from, transition, guard, expect) in [
        (Activated, Erase, HELD, Some(ErrorKind::Denied)),
        (Frozen, Erase, HELD, Some(ErrorKind::Denied)),
        (Expired, Erase, HELD, Some(ErrorKind::Denied)),
        (Activated, Expire, HELD, Some(ErrorKind::Denied)),
        (Activated, Archive, HELD, None),
        (Activated, Freeze, HELD, None),
        (Archived, Restore, HELD, None),
        (Activated, Merge, HELD, None),
        (Activated, Merge, lone, Some(ErrorKind::Invalid)),
        (Activated, Archive, lone, None),
        (Frozen, Unfreeze, powerless, Some(ErrorKind::Denied)),
        (Frozen, Erase, powerless, None),
    ] {
        let found = next(from, transition, &guard).err().map(|error| error.kind());
        assert_eq!(found, expect, "{from} {transition} {guard:?}");
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    use State::{Activated, Archived, Erased, Expired, Frozen, Generated};
    for (from, transition, expect) in [
        (Frozen, Transition::Archive, "the cube is frozen; unfreeze it first"),
        (Frozen, Transition::Restore, "the cube is frozen; unfreeze it first"),
        (Frozen, Transition::Freeze, "the cube is frozen already"),
        (
            Erased,
            Transition::Restore,
            "the cube is erased and does not come back; store the memory again as a new cube",
        ),
        (Expired, Transition::Freeze, "the cube is expired and cannot become frozen; restore it first"),
        (Archived, Transition::Activate, "the cube is archived; restore it instead"),
        (
            Generated,
            Transition::Restore,
            "the cube is generated; only a merged, archived or expired cube can be restored",
        ),
        (Activated, Transition::Unfreeze, "the cube is activated, so there is nothing to unfreeze"),
        (Activated, Transition::Activate, "the cube is activated already"),
    ] {
        assert_eq!(next(from, transition, &OPEN).unwrap_err().to_string(), expect);
    }
    let back = Transition::between(Archived, Generated).unwrap_err().to_string();
    assert_eq!(back, "the cube is archived; none becomes generated again, `activated` brings it back");
}

fn at(days: u64) -> Timestamp {
    Timestamp::from_millis((days * DAY) as i64)
}

fn cube(number: u8) -> Standing {
    Standing {
        id: CubeId::from_bytes([number; 16]),
        state: State::Activated,
        since: at(0),
        begun: at(0),
        usage: Usage::default(),
        lifespan: Lifespan::Forever,
        legal_hold: false,
        priority: Priority::Normal,
    }
}

fn read_on(days: &[u64]) -> Usage {
    let mut usage = Usage::default();
    days.iter().for_each(|day| usage.record(UseSignal::Read, at(*day)));
    usage
}

#[test]
fn what_is_due_when() {
    let days = Lifespan::TimeToLiveMillis(10 * DAY);
    let fading = Lifespan::HalfLifeMillis(7 * DAY);
    let archive = |reason| Some((Transition::Archive, reason));
    let expired = Standing { state: State::Expired, since: at(5), lifespan: days, ..cube(0) };
    for (standing, day, expect) in [
        (cube(0), 10_000, None),
        (Standing { lifespan: days, ..cube(0) }, 9, None),
        (Standing { lifespan: days, ..cube(0) }, 10, Some((Transition::Expire, Reason::Outlived))),
        (Standing { lifespan: days, begun: at(8), ..cube(0) }, 10, None),
        (
            Standing { lifespan: days, state: State::Archived, ..cube(0) },
            10,
            Some((Transition::Expire, Reason::Outlived)),
        ),
        (Standing { lifespan: days, state: State::Frozen, ..cube(0) }, 10, None),
        (Standing { lifespan: days, state: State::Erased, ..cube(0) }, 10, None),
        (Standing { lifespan: days, legal_hold: true, ..cube(0) }, 10, archive(Reason::OutlivedUnderHold)),
        (Standing { lifespan: days, legal_hold: true, state: State::Archived, ..cube(0) }, 10, None),
        (Standing { lifespan: fading, ..cube(0) }, 28, None),
        (Standing { lifespan: fading, ..cube(0) }, 29, archive(Reason::Faded)),
        (Standing { lifespan: fading, usage: read_on(&[20]), ..cube(0) }, 29, None),
        (Standing { lifespan: fading, usage: read_on(&[1]), begun: at(20), ..cube(0) }, 48, None),
        (Standing { lifespan: Lifespan::HalfLifeMillis(0), ..cube(0) }, 1, archive(Reason::Faded)),
        (Standing { lifespan: Lifespan::HalfLifeMillis(0), ..cube(0) }, 0, None),
        (Standing { priority: Priority::Low, ..cube(0) }, 89, None),
        (Standing { priority: Priority::Low, ..cube(0) }, 90, archive(Reason::Cold)),
        (Standing { priority: Priority::Low, usage: read_on(&[60]), ..cube(0) }, 90, None),
        (Standing { priority: Priority::Low, usage: read_on(&[0; 400]), ..cube(0) }, 90, None),
        (Standing { priority: Priority::Low, usage: read_on(&[0; 400]), ..cube(0) }, 100, archive(Reason::Cold)),
        (Standing { priority: Priority::Low, state: State::Merged, ..cube(0) }, 90, None),
        (expired, 34, None),
        (expired, 35, Some((Transition::Erase, Reason::ExpiredLongEnough))),
        (Standing { legal_hold: true, ..expired }, 10_000, None),
    ] {
        let found = due(&standing, at(day), &Retention::default()).map(|due| (due.transition, due.reason));
        assert_eq!(found, expect, "day {day}: {standing:?}");
    }
    let kept = Retention { erase_after_millis: None, ..Retention::default() };
    assert_eq!(due(&expired, at(10_000), &kept), None);
}

#[test]
fn the_least_wanted_leave_first() {
    let low = Standing { priority: Priority::Low, usage: read_on(&[9, 9, 9]), ..cube(1) };
    let cold = cube(2);
    let old = Standing { usage: read_on(&[9]), ..cube(3) };
    let young = Standing { usage: read_on(&[9]), begun: at(5), ..cube(0) };
    let twin = Standing { id: CubeId::from_bytes([5; 16]), ..young };
    let high = Standing { priority: Priority::High, legal_hold: true, ..cube(6) };
    let frozen = Standing { state: State::Frozen, priority: Priority::Low, ..cube(7) };
    let archived = Standing { state: State::Archived, ..cube(8) };
    let all = [high, twin, frozen, young, archived, old, cold, low];
    for (most, expect) in
        [(9, &[][..]), (7, &[]), (6, &[1]), (3, &[1, 2, 3, 0]), (1, &[1, 2, 3, 0, 5, 6]), (0, &[1, 2, 3, 0, 5, 6])]
    {
        let expect: Vec<_> = expect.iter().map(|number| CubeId::from_bytes([*number; 16])).collect();
        assert_eq!(over_budget(&all, most, at(10)), expect, "at most {most}");
    }
    assert!(over_budget(&[], 0, at(10)).is_empty());
}

#[test]
fn rules_are_checked() {
    assert!(Retention::default().check().is_ok());
    for rules in [
        Retention { archive_below_weight: 1.5, ..Retention::default() },
        Retention { archive_below_weight: f32::NAN, ..Retention::default() },
        Retention { cold_below_heat: -1.0, ..Retention::default() },
        Retention { cold_below_heat: f32::INFINITY, ..Retention::default() },
    ] {
        assert!(rules.check().is_err(), "{rules:?}");
    }
}

fn standings() -> impl Strategy<Value = Standing> {
    let lifespan = prop_oneof![
        Just(Lifespan::Forever),
        (0..100 * DAY).prop_map(Lifespan::TimeToLiveMillis),
        (0..100 * DAY).prop_map(Lifespan::HalfLifeMillis),
        any::<u64>().prop_map(Lifespan::TimeToLiveMillis),
    ];
    let kind = (0..State::ALL.len(), 0..Priority::ALL.len(), any::<bool>());
    let times = (0..50u64, 0..50u64, prop::collection::vec(0..50u64, 0..4));
    (kind, lifespan, times).prop_map(|((state, priority, legal_hold), lifespan, (since, begun, mut reads))| {
        reads.sort_unstable();
        let (state, priority) = (State::ALL[state], Priority::ALL[priority]);
        let usage = read_on(&reads);
        Standing { state, priority, legal_hold, lifespan, since: at(since), begun: at(begun), usage, ..cube(0) }
    })
}

proptest! {
    #[test]
    fn no_walk_breaks_the_promises(steps in prop::collection::vec((0..8usize, any::<[bool; 3]>()), 1..60), held in any::<bool>()) {
        let mut state = State::Generated;
        for (step, [legal_hold, has_merge_target, may_unfreeze]) in steps {
            let transition = Transition::ALL[step];
            let guard = Guard { legal_hold: legal_hold || held, has_merge_target, may_unfreeze };
            let Ok(to) = next(state, transition, &guard) else { continue };
            prop_assert!(state != State::Erased && to != State::Generated && to != state);
            prop_assert!(state != State::Frozen || matches!(transition, Transition::Unfreeze | Transition::Erase));
            prop_assert!(!guard.legal_hold || !matches!(to, State::Erased | State::Expired));
            state = to;
        }
        prop_assert!(!held || state != State::Erased);
    }

    #[test]
    fn what_is_due_is_legal_grows_with_time_and_comes_to_rest(
        standing in standings(), now in 0..300 * DAY, later in 0..300 * DAY, never in any::<bool>(),
    ) {
        let rules = Retention { erase_after_millis: (!never).then_some(30 * DAY), ..Retention::default() };
        let time = |millis: u64| Timestamp::from_millis(millis as i64);
        let found = due(&standing, time(now), &rules);
        prop_assert_eq!(found, due(&standing, time(now), &rules));
        let then = due(&standing, time(now + later), &rules);
        prop_assert!(found.map(|due| due.transition) <= then.map(|due| due.transition));

        // Doing what is due leads, by legal steps, to where nothing is due at the same moment.
        let guard = Guard { legal_hold: standing.legal_hold, ..Guard::default() };
        let mut after = standing;
        if let Some(found) = found {
            after.state = next(after.state, found.transition, &guard).unwrap();
            after.since = time(now);
            prop_assert_eq!(due(&after, time(now), &rules), None);
        }
    }

    #[test]
    fn a_budget_is_kept_and_takes_no_more_than_it_must(all in prop::collection::vec(standings(), 0..40), most in 0..40usize) {
        let all: Vec<_> = all
            .into_iter()
            .zip(0..)
            .map(|(standing, number)| Standing { id: CubeId::from_bytes([number; 16]), ..standing })
            .collect();
        let chosen = over_budget(&all, most, at(60));
        let recalled = all.iter().filter(|cube| cube.state.is_recalled()).count();
        let frozen = all.iter().filter(|cube| cube.state == State::Frozen).count();
        prop_assert_eq!(recalled - chosen.len(), recalled.min(most.max(frozen)));
        for id in chosen {
            let cube = all.iter().find(|cube| cube.id == id).unwrap();
            prop_assert!(matches!(cube.state, State::Generated | State::Activated));
        }
    }
}
