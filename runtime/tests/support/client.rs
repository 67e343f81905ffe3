//! A client with a session in each space: it asks for random things, waits for the answers, and asks again, by the same name,
//! where it was not told what came of it. What it knows outlives the process that serves it.
#![allow(dead_code)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use memos_memory::cube::{CubeId, Digest, Grant, Grantee, IdSource, Layer, Rights, State};
use memos_memory::governance::Principal;
use memos_memory::time::Clock;
use memos_memory::{Error, Result};
use memos_runtime::ReadPoint;

use super::history::{Asked, Recorder, Told};
use super::model::Ask;
use super::wire::{Request, Wire};
use super::world::World;
use crate::seeded::Random;

/// Tries of one request before its client gives it up.
const TRIES: usize = 12;

/// How long a cube lives that does not live for ever: half an hour.
const LIVES_MILLIS: u64 = 30 * 60 * 1000;

/// What all clients share.
pub(crate) struct Town {
    pub(crate) recorder: Recorder,
    pub(crate) principals: Vec<Principal>,
    pub(crate) groups: &'static [&'static str],
    pub(crate) spaces: &'static [&'static str],
    /// The longest that a client thinks between two requests, in milliseconds.
    pub(crate) thinks: usize,
    /// What clients do ends after so many requests of each, or at this time of the world, in milliseconds.
    pub(crate) steps: usize,
    pub(crate) until: i64,
    /// The cubes that somebody has begun to store, by space.
    pub(crate) known: Mutex<Vec<Vec<CubeId>>>,
}

/// A request on its way.
#[derive(Clone)]
struct Pending {
    number: usize,
    space: usize,
    asked: Asked,
    key: String,
    tries: usize,
}

impl Pending {
    fn is_erasure(&self) -> bool {
        matches!(&self.asked, Asked::Changes(asks) if matches!(asks[..], [Ask::Erase { .. }]))
    }
}

pub(crate) struct Client {
    number: usize,
    who: Principal,
    random: Random,
    /// Requests that it has made.
    steps: usize,
    pending: Option<Pending>,
    /// The last request of changes that was done, which may be asked for again.
    last: Option<Pending>,
    /// The last version that it saw.
    seen: Option<(usize, CubeId, Digest)>,
    points: Vec<ReadPoint>,
    /// The cubes that it stored, by space.
    mine: Vec<Vec<CubeId>>,
}

impl Client {
    pub(crate) fn new(number: usize, town: &Town, seed: u64) -> Self {
        let random = Random::new(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9));
        let who = town.principals[number % town.principals.len()].clone();
        let points = vec![ReadPoint::default(); town.spaces.len()];
        let mine = vec![Vec::new(); town.spaces.len()];
        Self { number, who, random, steps: 0, pending: None, last: None, seen: None, points, mine }
    }
}

/// Does what a client has left to do.
pub(crate) async fn live(client: Arc<Mutex<Client>>, town: Arc<Town>, world: Arc<World>, wire: Arc<impl Wire>) {
    loop {
        let (pending, pause) = {
            let mut client = client.lock().unwrap();
            let is_over = client.steps >= town.steps || world.clock.elapsed() >= town.until;
            if is_over && client.pending.is_none() {
                return;
            }
            let pause = Duration::from_millis(client.random.below(town.thinks) as u64);
            (client.next(&town, &world), pause)
        };
        tokio::time::sleep(pause).await;
        insist(&client, &town, &*wire, pending).await;
    }
}

/// Asks until there is an answer.
async fn insist(client: &Mutex<Client>, town: &Town, wire: &impl Wire, mut pending: Pending) {
    loop {
        let request = client.lock().unwrap().request(town, &pending);
        let (answer, seen) = wire.ask(request).await;
        let pause = {
            let mut client = client.lock().unwrap();
            client.points[pending.space] = client.points[pending.space].max(seen);
            client.hear(town, &mut pending, answer)
        };
        let Some(pause) = pause else { return };
        tokio::time::sleep(pause).await;
    }
}

/// Returns whether an error leaves open what came of the request.
fn is_open(error: &Error) -> bool {
    error.kind().is_retryable() || error.to_string().contains("stopped taking changes")
}

impl Client {
    fn request(&self, town: &Town, pending: &Pending) -> Request {
        let Pending { space, asked, key, .. } = pending.clone();
        let (who, after) = (Arc::new(self.who.clone()), self.points[space]);
        Request { who, space: town.spaces[space], asked, key, after }
    }

    /// Takes an answer in. Returns after which time to ask again, when that is to be done.
    fn hear(&mut self, town: &Town, pending: &mut Pending, answer: Result<Told>) -> Option<Duration> {
        pending.tries += 1;
        let told = match answer {
            Ok(told) => Some(told),
            // An erasure has no key, so it is not asked for twice.
            Err(error) if is_open(&error) => (pending.is_erasure() || pending.tries >= TRIES).then_some(Told::Nothing),
            // An earlier copy of it may have been done, and it has no key that would tell.
            Err(_) if pending.is_erasure() => Some(Told::Nothing),
            Err(error) => Some(Told::Refused(error.kind())),
        };
        match told {
            Some(told) => {
                self.conclude(town, pending.clone(), told);
                None
            }
            None => {
                self.pending = Some(pending.clone());
                Some(Duration::from_millis(1 + self.random.below(10 << pending.tries.min(5)) as u64))
            }
        }
    }

    fn conclude(&mut self, town: &Town, pending: Pending, told: Told) {
        if let Told::Saw(seen) = &told
            && !seen.is_empty()
        {
            let seen = &seen[self.random.below(seen.len())];
            self.seen = Some((pending.space, seen.cube, seen.digest));
        }
        // What was refused is remembered for as long as the process lives; what was done, for longer.
        if matches!(told, Told::Done { .. }) && !pending.is_erasure() && matches!(pending.asked, Asked::Changes(_)) {
            self.last = Some(pending.clone());
        }
        self.pending = None;
        // What was given up may still be done, so it is not over.
        if told != Told::Nothing {
            town.recorder.end(pending.number, told);
        }
    }

    /// The request that is still open, or a new one.
    fn next(&mut self, town: &Town, world: &World) -> Pending {
        if let Some(pending) = self.pending.take() {
            self.pending = Some(pending.clone());
            return pending;
        }
        let again = self.random.chance(1, 12).then(|| self.last.clone()).flatten();
        let pending = match again {
            Some(last) => Pending { asked: Asked::Again(last.number), tries: 0, ..last },
            None => {
                let (space, asked) = self.choose(town, world);
                Pending { number: 0, space, asked, key: String::new(), tries: 0 }
            }
        };
        self.steps += 1;
        let session = self.number * town.spaces.len() + pending.space;
        let number = town.recorder.begin(session, &self.who, pending.space, pending.asked.clone());
        let key = if pending.key.is_empty() { format!("request {number}") } else { pending.key.clone() };
        let pending = Pending { number, key, ..pending };
        self.pending = Some(pending.clone());
        pending
    }

    fn choose(&mut self, town: &Town, world: &World) -> (usize, Asked) {
        let step = self.steps;
        // A reading is often followed by a change of what was read.
        if let Some((space, cube, parent)) = self.seen.take()
            && self.random.chance(2, 3)
        {
            let text = Some(self.text(&format!("version {step}")));
            let other = self.random.chance(1, 3).then(|| self.some_cube(town, space)).flatten();
            let update = |text, layer, grants| Ask::Update { cube, parent, text, layer, grants };
            let mut asks = vec![match self.random.below(4) {
                0 => update(None, Some(self.layer(town)), None),
                1 => update(None, None, Some(self.grants(town))),
                _ => update(text, None, None),
            }];
            if let Some(other) = other.filter(|other| *other != cube) {
                let reason = format!("client {} step {step}", self.number);
                asks.push(Ask::State { cube: other, state: State::Activated, reason });
            }
            return (space, Asked::Changes(asks));
        }
        let space = self.random.below(town.spaces.len());
        let cube = self.some_cube(town, space);
        let reason = format!("client {} step {step}", self.number);
        let asked = match (self.random.below(16), cube) {
            (0..=5, Some(cube)) => Asked::Get(cube),
            (6 | 7, Some(_)) => Asked::Recall,
            (8 | 9, Some(cube)) => {
                let state = *self.random.pick(&[State::Archived, State::Activated, State::Frozen, State::Expired]);
                Asked::Changes(vec![Ask::State { cube, state, reason }])
            }
            (10, Some(cube)) => Asked::Changes(vec![Ask::Erase { cube, reason }]),
            (11, Some(other)) => {
                let (one, two) = (self.store(town, world, space), self.store(town, world, space));
                let link = |from: &Ask, to| Ask::Link { from: from.cubes()[0], to };
                let links = [link(&one, two.cubes()[0]), link(&two, other)];
                Asked::Changes([vec![one, two], links.into()].concat())
            }
            _ => Asked::Changes(vec![self.store(town, world, space)]),
        };
        (space, asked)
    }

    fn store(&mut self, town: &Town, world: &World, space: usize) -> Ask {
        let cube = world.ids.cube_id(world.clock.now());
        town.known.lock().unwrap()[space].push(cube);
        self.mine[space].push(cube);
        let lives = self.random.chance(1, 6).then_some(LIVES_MILLIS);
        Ask::Store { cube, text: self.text(&format!("step {}", self.steps)), layer: self.layer(town), lives }
    }

    fn text(&mut self, what: &str) -> String {
        let place = *self.random.pick(&["harbour", "harbour", "kettle", "tower"]);
        // Some do not fit into a row.
        let long = if self.random.chance(1, 8) { " and so on".repeat(40) } else { String::new() };
        format!("of the {place} says client {} {what}{long}", self.number)
    }

    fn layer(&mut self, town: &Town) -> Layer {
        match self.random.below(4) {
            0 => Layer::Private,
            1 | 2 => Layer::Shared(self.random.pick(town.groups).parse().unwrap()),
            _ => Layer::Global,
        }
    }

    fn grants(&mut self, town: &Town) -> Vec<Grant> {
        let rights = Rights { read: true, write: self.random.chance(2, 3), share: self.random.chance(1, 3) };
        let to = match self.random.chance(2, 3) {
            true => Grantee::Group(self.random.pick(town.groups).parse().unwrap()),
            false => Grantee::Principal(self.random.pick(&town.principals).id.clone()),
        };
        if self.random.chance(1, 3) { Vec::new() } else { vec![Grant { to, rights }] }
    }

    /// Its own or anybody's, and mostly one of the youngest, so that clients meet.
    fn some_cube(&mut self, town: &Town, space: usize) -> Option<CubeId> {
        let all = &town.known.lock().unwrap()[space];
        let known = if self.random.chance(2, 5) { &self.mine[space] } else { all };
        let from = if self.random.chance(3, 4) { known.len().saturating_sub(6) } else { 0 };
        (!known.is_empty()).then(|| *self.random.pick(&known[from..]))
    }
}
