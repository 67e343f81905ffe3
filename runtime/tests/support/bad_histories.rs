//! The checker held against histories that are wrong, each in its own way.

use memos_memory::ErrorKind;
use memos_memory::cube::{CubeId, Digest, Layer, PrincipalId, State};
use memos_memory::governance::Principal;

use super::checker::{Wrong, check};
use super::history::{Asked, Made, Op, Seen, Told, Written};
use super::model::Ask;
use super::world::principal;

fn id(number: u8) -> CubeId {
    CubeId::from_bytes([number; 16])
}

fn digest(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

fn ada() -> Principal {
    principal("user:ada", &[])
}

fn bo() -> Principal {
    principal("user:bo", &["red"])
}

fn keeper() -> Principal {
    Principal::keeper().unwrap()
}

/// What is told of some clients, and what their ledger has.
struct Story {
    ops: Vec<Op>,
    ledger: Vec<(PrincipalId, Written)>,
    clock: u64,
}

impl Story {
    /// A client asks, and is told before anything else happens.
    fn does(&mut self, session: usize, who: Principal, asked: Asked, told: Told) {
        let (began, number) = (self.clock + 1, self.ops.len());
        self.clock += 2;
        let ended = (told != Told::Nothing).then_some(self.clock);
        self.ops.push(Op { number, session, who, space: 0, asked, began, ended, told });
    }

    fn writes(&mut self, who: &Principal, written: Written) {
        self.ledger.push((who.id.clone(), written));
    }
}

fn store(cube: u8, text: &str, layer: Layer) -> Ask {
    Ask::Store { cube: id(cube), text: text.to_owned(), layer, lives: None }
}

fn stored(cube: u8, version: u32, parent: Option<u8>) -> Written {
    let (owner, grants, sources) = (ada().id, Vec::new(), Vec::new());
    let made = Box::new(Made { owner, layer: Layer::Global, grants, is_mortal: false, sources });
    Written::Stored { cube: id(cube), version, parent: parent.map(digest), made }
}

/// A cube for all, which the space made of others.
fn derived(cube: u8, sources: &[u8]) -> Written {
    let (owner, grants, sources) = (ada().id, Vec::new(), sources.iter().map(|source| id(*source)).collect());
    let made = Box::new(Made { owner, layer: Layer::Global, grants, is_mortal: false, sources });
    Written::Stored { cube: id(cube), version: 1, parent: None, made }
}

fn update(cube: u8, parent: u8, text: &str) -> Ask {
    let text = Some(text.to_owned());
    Ask::Update { cube: id(cube), parent: digest(parent), text, layer: None, grants: None }
}

fn state(cube: u8, state: State, reason: &str) -> (Ask, Written) {
    let (cube, reason) = (id(cube), reason.to_owned());
    (Ask::State { cube, state, reason: reason.clone() }, Written::State { cube, state, reason })
}

fn saw(cube: u8, version: u32, of: u8, text: &str, state: State) -> Told {
    Told::Saw(vec![Seen { cube: id(cube), version, digest: digest(of), text: text.to_owned(), state }])
}

fn done(first: u64, events: u64) -> Told {
    Told::Done { first, events }
}

/// A history with nothing wrong: the places of requests and events are named in the table below.
fn good() -> Story {
    let mut story = Story { ops: Vec::new(), ledger: Vec::new(), clock: 0 };
    let (archived, archived_too) = (state(1, State::Archived, "old"), state(2, State::Archived, "old too"));
    story.writes(&ada(), Written::Other);
    // Requests 0 and 1: a cube for all, and who reads it.
    story.does(0, ada(), Asked::Changes(vec![store(1, "one", Layer::Global)]), done(1, 1));
    story.writes(&ada(), stored(1, 1, None));
    story.does(1, bo(), Asked::Get(id(1)), saw(1, 1, 11, "one", State::Generated));
    // Request 2: two cubes that are Ada's own, with a link.
    let link = Ask::Link { from: id(2), to: id(3) };
    let batch = vec![store(2, "two", Layer::Private), store(3, "three", Layer::Private), link];
    story.does(0, ada(), Asked::Changes(batch), done(2, 3));
    story.writes(&ada(), stored(2, 1, None));
    story.writes(&ada(), stored(3, 1, None));
    story.writes(&ada(), Written::Linked(id(2), id(3)));
    // Requests 3 and 4: the next version, and who reads it.
    story.does(0, ada(), Asked::Changes(vec![update(1, 11, "one more")]), done(5, 1));
    story.writes(&ada(), stored(1, 2, Some(11)));
    story.does(1, bo(), Asked::Get(id(1)), saw(1, 2, 12, "one more", State::Generated));
    // Request 5, and 6, which is refused.
    story.does(0, ada(), Asked::Changes(vec![archived.0]), done(6, 1));
    story.writes(&ada(), archived.1);
    story.does(1, bo(), Asked::Changes(vec![update(1, 12, "mine")]), Told::Refused(ErrorKind::Denied));
    // Request 7 asks for 3 again; 8 is never answered, and done; 9 finds nothing.
    story.does(0, ada(), Asked::Again(3), done(5, 1));
    story.does(2, ada(), Asked::Changes(vec![archived_too.0]), Told::Nothing);
    story.writes(&ada(), archived_too.1);
    story.does(1, bo(), Asked::Get(id(2)), Told::Refused(ErrorKind::NotFound));
    // The space makes something of what all may see, and it is read.
    story.writes(&keeper(), derived(4, &[1]));
    story.does(1, bo(), Asked::Get(id(4)), saw(4, 1, 14, "of one", State::Generated));
    story.writes(&keeper(), Written::Read(vec![id(4)]));
    story.does(1, bo(), Asked::Get(id(4)), saw(4, 1, 14, "of one", State::Activated));
    story
}

/// What is bad about a history, how the checker calls it, and how a good one becomes it.
type Bad = (&'static str, Wrong, fn(&mut Story));

#[test]
fn a_good_history_passes() {
    let Story { ops, ledger, .. } = good();
    check(&ops, &ledger).unwrap_or_else(|violation| panic!("{}", violation.tell(&ops, &ledger)));
}

#[test]
fn each_kind_of_bad_history_is_found() {
    let table: &[Bad] = &[
        ("a cube that nobody stored", Wrong::AskedByNobody, |story| story.writes(&bo(), stored(9, 1, None))),
        ("a change in another's name", Wrong::AskedByNobody, |story| story.ledger[7].0 = bo().id),
        ("a batch without its link", Wrong::Torn, |story| _ = story.ledger.remove(4)),
        ("a batch with another's change in it", Wrong::Torn, |story| story.ledger.swap(4, 5)),
        ("a batch that is not where it was said to be", Wrong::Lost, |story| story.ops[5].told = done(7, 1)),
        ("a request that is done again", Wrong::DoneTwice, |story| {
            let (_, again) = state(2, State::Archived, "old too");
            story.writes(&ada(), again);
        }),
        ("an acknowledged request that is gone", Wrong::Lost, |story| story.ledger.truncate(6)),
        ("an acknowledged request that is elsewhere", Wrong::Lost, |story| story.ops[5].told = done(20, 1)),
        ("a request that was refused and done", Wrong::RefusedAndDone, |story| {
            (story.ops[8].told, story.ops[8].ended) = (Told::Refused(ErrorKind::Busy), Some(99));
        }),
        ("a change of what is another's", Wrong::Forbidden, |story| {
            story.ops[6].told = done(7, 1);
            story.ledger.insert(7, (bo().id, stored(1, 3, Some(12))));
        }),
        ("a version that is left out", Wrong::BrokenChain, |story| story.ledger[5].1 = stored(1, 3, Some(11))),
        ("a version with two digests", Wrong::BrokenChain, |story| {
            story.ops[4].told = saw(1, 2, 13, "one more", State::Generated);
            story.does(3, ada(), Asked::Get(id(1)), saw(1, 2, 12, "one more", State::Archived));
        }),
        ("an order that is not that of time", Wrong::OutOfTime, |story| {
            let version = story.ledger.remove(5);
            story.ledger.insert(2, version);
            (story.ops[2].told, story.ops[3].told) = (done(3, 3), done(2, 1));
            story.ops[7].told = done(2, 1);
        }),
        ("a late reading of an old version", Wrong::FitsNowhere, |story| {
            story.does(3, bo(), Asked::Get(id(1)), saw(1, 1, 11, "one", State::Generated));
        }),
        ("a reading of what is not begun", Wrong::FitsNowhere, |story| {
            story.ops[1].told = saw(1, 2, 12, "one more", State::Generated);
        }),
        ("a state that is older than its version", Wrong::FitsNowhere, |story| {
            story.does(3, bo(), Asked::Get(id(1)), saw(1, 2, 12, "one more", State::Generated));
        }),
        ("a reading of half a batch", Wrong::FitsNowhere, |story| {
            let of = |cube: u8, text: &str, state| Seen {
                cube: id(cube),
                version: 1,
                digest: digest(20 + cube),
                text: text.to_owned(),
                state,
            };
            let seen = vec![of(2, "two", State::Archived), of(3, "three", State::Archived)];
            story.does(3, ada(), Asked::Recall, Told::Saw(seen));
        }),
        ("what a reader may not see", Wrong::FitsNowhere, |story| {
            story.does(3, bo(), Asked::Recall, saw(2, 1, 22, "two", State::Generated));
        }),
        ("what the rules keep a reader from", Wrong::FitsNowhere, |story| {
            let (bo, blue) = (principal("user:bo", &["blue"]), "blue".parse().unwrap());
            let same = || Asked::Get(id(1));
            let is_there = || saw(1, 2, 12, "one more", State::Archived);
            story.does(3, bo.clone(), same(), is_there());
            story.writes(&ada(), Written::Ruled(Some(blue)));
            story.does(3, bo.clone(), same(), Told::Refused(ErrorKind::NotFound));
            story.does(3, bo, same(), is_there());
        }),
        ("a change that the rules forbid", Wrong::Forbidden, |story| {
            let (ada, (ask, written)) = (principal("user:ada", &["blue"]), state(1, State::Frozen, "keep"));
            story.writes(&keeper(), Written::Ruled(Some("blue".parse().unwrap())));
            let at = story.ledger.len() as u64;
            story.does(0, ada.clone(), Asked::Changes(vec![ask]), done(at, 1));
            story.writes(&ada, written);
        }),
        ("a cube that is not found and is there", Wrong::FitsNowhere, |story| {
            story.does(3, bo(), Asked::Get(id(1)), Told::Refused(ErrorKind::NotFound));
        }),
        ("a refusal for no reason", Wrong::FitsNowhere, |story| {
            story.ops[6].told = Told::Refused(ErrorKind::Conflict);
        }),
        ("a change that is said to change nothing", Wrong::FitsNowhere, |story| {
            let (ask, _) = state(3, State::Frozen, "keep");
            story.does(0, ada(), Asked::Changes(vec![ask]), done(9, 0));
        }),
        ("a session that goes back", Wrong::WentBack, |story| {
            story.does(1, bo(), Asked::Get(id(1)), saw(1, 1, 11, "one", State::Generated));
        }),
        ("a session that does not see what it wrote", Wrong::WentBack, |story| {
            story.does(0, ada(), Asked::Get(id(1)), saw(1, 1, 11, "one", State::Generated));
        }),
        ("a way between states that is none", Wrong::Forbidden, |story| {
            let (_, back) = state(2, State::Generated, "young again");
            story.writes(&keeper(), back);
        }),
        ("what nobody lets expire is erased", Wrong::Forbidden, |story| {
            story.writes(&keeper(), Written::Erased { cubes: vec![id(2)], reason: "due".to_owned() });
        }),
        ("what is made of nothing", Wrong::Forbidden, |story| story.writes(&keeper(), derived(9, &[]))),
        ("what is made for all of what is private", Wrong::Forbidden, |story| {
            story.writes(&keeper(), derived(9, &[1, 2]));
        }),
        ("what says more than what it was made from", Wrong::Forbidden, |story| {
            story.writes(&keeper(), derived(9, &[1]));
            story.does(1, bo(), Asked::Get(id(9)), saw(9, 1, 19, "he says client 3 step 7\nso", State::Generated));
        }),
        ("what lives for ever expires", Wrong::Forbidden, |story| {
            let (_, late) = state(3, State::Expired, "due");
            story.writes(&keeper(), late);
        }),
        ("another answer to the same request", Wrong::AnsweredOtherwise, |story| story.ops[7].told = done(9, 1)),
    ];
    for (name, wrong, spoil) in table {
        let mut story = good();
        spoil(&mut story);
        match check(&story.ops, &story.ledger) {
            Ok(()) => panic!("{name}: not found"),
            Err(violation) => {
                let told = violation.tell(&story.ops, &story.ledger);
                assert_eq!(violation.wrong, *wrong, "{name}: {told}");
            }
        }
    }
}
