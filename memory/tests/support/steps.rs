//! What can happen in a case of the model test, drawn before it is known what is there.

use proptest::prelude::*;

/// The words of all texts.
pub(crate) const WORDS: [&str; 12] = [
    "boat", "harbour", "red", "house", "garden", "allergic", "peanuts", "travels", "Lisbon", "winter", "music",
    "teaches",
];

/// What happens in a case. Numbers choose among what is there at that point.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Commit {
        who: usize,
        wait: i64,
        changes: Vec<Draw>,
    },
    /// Erases some cubes, or all memories of a subject.
    Erase {
        who: usize,
        cubes: Vec<Pick>,
        subject: Option<u8>,
    },
    Reopen {
        snapshot: bool,
    },
    Compare,
    /// Looks at the space as it was, by the number of events or by time.
    Past {
        point: u8,
        by_time: bool,
    },
}

/// A change, before it is known what is there.
#[derive(Debug, Clone)]
pub(crate) enum Draw {
    Store {
        text: Vec<u8>,
        layer: u8,
        grants: Vec<(u8, u8)>,
        odd: u8,
        sources: Vec<(Pick, u32)>,
        tags: u8,
        session: Option<u8>,
    },
    Update {
        cube: Pick,
        version: u8,
        mode: u8,
        text: Vec<u8>,
        sources: Vec<(Pick, u32)>,
    },
    Link {
        from: Pick,
        kind: u8,
        to: Pick,
    },
    Unlink {
        link: Option<u8>,
        from: Pick,
        to: Pick,
    },
    SetState {
        cube: Pick,
        state: u8,
        reason: u8,
    },
    Unfreeze {
        cube: Pick,
    },
    Use {
        uses: Vec<(Pick, u8)>,
    },
}

/// A cube among the principal's own, among those it may read, or among all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick {
    pub(crate) among: Among,
    pub(crate) number: u8,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Among {
    Own,
    Readable,
    All,
}

fn pick() -> impl Strategy<Value = Pick> {
    let among = prop_oneof![14 => Just(Among::Own), 5 => Just(Among::Readable), 1 => Just(Among::All)];
    (among, any::<u8>()).prop_map(|(among, number)| Pick { among, number })
}

/// Half of the time the first one, so that somebody has enough cubes to work with.
fn who() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(0_usize), 3 => 0..4_usize]
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![20 => prop::collection::vec(0..WORDS.len() as u8, 1..7), 1 => prop::collection::vec(0..WORDS.len() as u8, 18..22), 1 => Just(vec![])]
}

fn draw() -> impl Strategy<Value = Draw> {
    let sources = || {
        let some = prop::collection::vec((pick(), prop_oneof![15 => 1..2_u32, 1 => 0..4_u32]), 1..3);
        prop_oneof![3 => Just(vec![]), 1 => some]
    };
    prop_oneof![
        4 => store(sources()),
        5 => (pick(), prop_oneof![6 => Just(0_u8), 1 => 1..4_u8], 0..16_u8, words(), sources())
            .prop_map(|(cube, version, mode, text, sources)| Draw::Update { cube, version, mode, text, sources }),
        // Half of them may not close a circle.
        4 => (pick(), prop_oneof![any::<u8>(), 1..5_u8], pick()).prop_map(|(from, kind, to)| Draw::Link { from, kind, to }),
        2 => (prop::option::weighted(0.8, any::<u8>()), pick(), pick()).prop_map(|(link, from, to)| Draw::Unlink { link, from, to }),
        3 => (pick(), 0..20_u8, 0..16_u8).prop_map(|(cube, state, reason)| Draw::SetState { cube, state, reason }),
        1 => pick().prop_map(|cube| Draw::Unfreeze { cube }),
        2 => prop::collection::vec((pick(), 0..3_u8), 0..6).prop_map(|uses| Draw::Use { uses }),
    ]
}

fn store(sources: impl Strategy<Value = Vec<(Pick, u32)>>) -> impl Strategy<Value = Draw> {
    let grants = prop::collection::vec((0..6_u8, 0..8_u8), 1..4);
    let grants = prop_oneof![3 => Just(vec![]), 3 => prop::collection::vec((0..6_u8, 0..8_u8), 1..3), 1 => grants];
    (words(), 0..6_u8, grants, 0..60_u8, sources, 0..8_u8, prop::option::of(0..3_u8)).prop_map(
        |(text, layer, grants, odd, sources, tags, session)| Draw::Store {
            text,
            layer,
            grants,
            odd,
            sources,
            tags,
            session,
        },
    )
}

/// Returns the first commits of a case, which are seldom refused, so that there is something to work on.
pub(crate) fn beginning() -> impl Strategy<Value = Vec<Step>> {
    let first =
        (who(), store(Just(vec![]))).prop_map(|(who, store)| Step::Commit { who, wait: 1000, changes: vec![store] });
    prop::collection::vec(first, 3..7)
}

/// Returns one step of a case.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (who(), 0..400_000_000_i64, prop::collection::vec(draw(), 1..2))
            .prop_map(|(who, wait, changes)| Step::Commit { who, wait, changes }),
        6 => (who(), 0..400_000_000_i64, prop::collection::vec(draw(), 2..4))
            .prop_map(|(who, wait, changes)| Step::Commit { who, wait, changes }),
        1 => (who(), 0..400_000_000_i64, prop::collection::vec(draw(), 0..8))
            .prop_map(|(who, wait, changes)| Step::Commit { who, wait, changes }),
        2 => erase(),
        1 => any::<bool>().prop_map(|snapshot| Step::Reopen { snapshot }),
        1 => Just(Step::Compare),
        2 => past(),
    ]
}

/// What happens at the end of a case: a fork, steps on both sides, and the way back.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// From which point of the past it is forked; from the present without one.
    pub(crate) past: Option<u8>,
    pub(crate) in_fork: Vec<Step>,
    pub(crate) in_origin: Vec<Step>,
    pub(crate) snapshot: bool,
    /// Who merges it back, and which side holds; without one the space is restored to a point instead.
    pub(crate) merge: Option<(usize, u8)>,
    pub(crate) restore: u8,
}

/// Returns how a case ends.
pub(crate) fn ending() -> impl Strategy<Value = Ending> {
    let in_fork = prop_oneof![8 => commit(), 1 => erase(), 1 => Just(Step::Compare), 1 => past()];
    let in_origin = prop_oneof![8 => commit(), 1 => Just(Step::Compare), 1 => past()];
    (
        prop::option::of(any::<u8>()),
        prop::collection::vec(in_fork, 2..7),
        prop::collection::vec(in_origin, 0..4),
        any::<bool>(),
        prop::option::weighted(0.6, (Just(0_usize), 0..3_u8)),
        any::<u8>(),
    )
        .prop_map(|(past, in_fork, in_origin, snapshot, merge, restore)| Ending {
            past,
            in_fork,
            in_origin,
            snapshot,
            merge,
            restore,
        })
}

fn commit() -> impl Strategy<Value = Step> {
    (who(), 0..400_000_000_i64, prop::collection::vec(draw(), 1..3)).prop_map(|(who, wait, changes)| Step::Commit {
        who,
        wait,
        changes,
    })
}

fn past() -> impl Strategy<Value = Step> {
    (any::<u8>(), any::<bool>()).prop_map(|(point, by_time)| Step::Past { point, by_time })
}

fn erase() -> impl Strategy<Value = Step> {
    (who(), prop::collection::vec(pick(), 1..3), prop::option::weighted(0.3, 0..4_u8))
        .prop_map(|(who, cubes, subject)| Step::Erase { who, cubes, subject })
}
