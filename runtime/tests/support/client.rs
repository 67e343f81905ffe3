//! A client with a session in each space: it asks for random things, waits for the answers, and asks again, by the same name,
//! where it was not told what came of it. What it knows outlives the process that serves it.
#![allow(dead_code)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use memos_memory::cube::{
    CubeDraft, CubeId, Digest, GovernanceChange, Grant, Grantee, Layer, Payload, Rights, SemanticType, State, Update,
    UpdateMode,
};
use memos_memory::governance::Principal;
use memos_memory::graph::{Link, LinkKind};
use memos_memory::operator::MemoryCall;
use memos_memory::vault::{Batch, Committed, Erasure};
use memos_memory::{Error, ErrorKind, Result};
use memos_runtime::{Kernel, ReadPoint, Session};

use super::history::{Asked, Recorder, Seen, Told};
use super::model::Ask;
use super::world::World;
use crate::seeded::Random;

pub(crate) const SPACES: [&str; 2] = ["acme/one", "acme/two"];

/// Tries of one request before its client gives it up.
const TRIES: usize = 12;

/// What all clients share.
pub(crate) struct Town {
    pub(crate) recorder: Recorder,
    pub(crate) principals: Vec<Principal>,
    /// The cubes that somebody has begun to store, by space.
    pub(crate) known: Mutex<[Vec<CubeId>; SPACES.len()]>,
}

/// A request on its way.
#[derive(Clone)]
struct Pending {
    number: usize,
    space: usize,
    asked: Asked,
    key: String,
    tries: usize,
    /// Whether it may have been done in a process that does not remember it.
    is_unsure: bool,
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
    pub(crate) steps: usize,
    pending: Option<Pending>,
    /// The last request of changes that was answered, which may be asked for again.
    last: Option<Pending>,
    /// The last version that it saw.
    seen: Option<(usize, CubeId, Digest)>,
    points: [ReadPoint; SPACES.len()],
}

impl Client {
    pub(crate) fn new(number: usize, who: Principal, seed: u64, steps: usize) -> Self {
        let random = Random::new(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9));
        Self { number, who, random, steps, pending: None, last: None, seen: None, points: Default::default() }
    }

    /// Tells the client that the process it spoke with is gone, and with it all that was remembered of keys.
    pub(crate) fn hear_of_the_end(&mut self) {
        self.last = None;
        self.pending.iter_mut().for_each(|pending| pending.is_unsure = true);
    }
}

/// Does what a client has left to do.
pub(crate) async fn live(client: Arc<Mutex<Client>>, town: Arc<Town>, world: Arc<World>, kernel: Kernel) {
    loop {
        let (pending, pause) = {
            let mut client = client.lock().unwrap();
            if client.steps == 0 {
                return;
            }
            let pause = Duration::from_millis(client.random.below(6) as u64);
            (client.next(&town, &world), pause)
        };
        tokio::time::sleep(pause).await;
        serve(&client, &town, &kernel, pending).await;
        client.lock().unwrap().steps -= 1;
    }
}

/// Asks until there is an answer.
async fn serve(client: &Mutex<Client>, town: &Town, kernel: &Kernel, mut pending: Pending) {
    loop {
        let session = client.lock().unwrap().session(kernel, &pending);
        let answer = match session.await {
            Ok(session) => {
                let answer = ask(&session, &pending).await;
                client.lock().unwrap().points[pending.space] = session.point();
                answer
            }
            Err(error) => Err(error),
        };
        let Some(pause) = client.lock().unwrap().hear(town, &mut pending, answer) else { return };
        tokio::time::sleep(pause).await;
    }
}

/// Returns whether an error leaves open what came of the request.
fn is_open(error: &Error) -> bool {
    error.kind().is_retryable() || error.to_string().contains("stopped taking changes")
}

/// Asks once.
async fn ask(session: &Session, pending: &Pending) -> Result<Told> {
    match &pending.asked {
        Asked::Get(cube) => {
            let (cube, head) = session.get(cube).await?;
            let text = cube.payload.as_text().unwrap_or_default().to_owned();
            let (cube, version, digest, state) = (head.id, head.version, head.digest, head.state);
            Ok(Told::Saw(vec![Seen { cube, version, digest, text, state }]))
        }
        Asked::Recall => {
            let answer = session.work(|space, principal| {
                let call = MemoryCall::new(principal.clone(), "what of the harbour", space.now());
                memos_memory::operator::recall(&[space], &call)
            });
            let receipts = answer.await?.receipts.into_iter();
            Ok(Told::Saw(
                receipts
                    .map(|receipt| Seen {
                        cube: receipt.cube,
                        version: receipt.version,
                        digest: receipt.digest,
                        text: receipt.text,
                        state: receipt.state,
                    })
                    .collect(),
            ))
        }
        Asked::Changes(asks) => match &asks[..] {
            [Ask::Erase { cube, reason }] => {
                let (cube, reason) = (*cube, reason.clone());
                let erasure = move |space: &memos_memory::vault::Space, who: &Principal| {
                    space.erase(who, Erasure::Cubes(vec![cube]), reason)
                };
                Ok(Told::Done { first: session.work(erasure).await?.event, events: 1 })
            }
            asks => {
                let Committed { first_event, events, .. } =
                    session.clone().with_key(&pending.key)?.commit(batch_of(asks)).await?;
                Ok(Told::Done { first: first_event, events })
            }
        },
        Asked::Again(_) => {
            // What it holds is not looked at.
            let session = session.clone().with_key(&pending.key)?;
            let Committed { first_event, events, .. } = session.commit(Batch::default()).await?;
            Ok(Told::Done { first: first_event, events })
        }
    }
}

pub(crate) fn batch_of(asks: &[Ask]) -> Batch {
    let mut batch = Batch::default();
    let follows = |from: &CubeId, to: &CubeId| Link { from: *from, kind: LinkKind::Follows, to: *to };
    for ask in asks {
        match ask {
            Ask::Store { cube, text, layer } => {
                let draft = CubeDraft::text(SemanticType::Fact, text.clone());
                batch.store(*cube, CubeDraft { layer: layer.clone(), ..draft })
            }
            Ask::Update { cube, parent, text: Some(text), .. } => {
                let mode = UpdateMode::Overwrite(Payload::text(text.clone()));
                batch.update(Update { cube: *cube, parent: *parent, mode })
            }
            Ask::Update { cube, parent, text: None, layer, grants } => {
                let change = GovernanceChange { layer: layer.clone(), grants: grants.clone(), ..Default::default() };
                let mode = UpdateMode::Govern(Box::new(change));
                batch.update(Update { cube: *cube, parent: *parent, mode })
            }
            Ask::State { cube, state, reason } => batch.set_state(*cube, *state, reason.clone()),
            Ask::Link { from, to } => batch.link(follows(from, to)),
            Ask::Unlink { from, to } => batch.unlink(follows(from, to)),
            Ask::Erase { .. } => unreachable!("an erasure is no part of a batch"),
        };
    }
    batch
}

impl Client {
    /// A way to the space that sees at least what the client has written there.
    fn session(&self, kernel: &Kernel, pending: &Pending) -> impl Future<Output = Result<Session>> + use<> {
        let (kernel, who, point) = (kernel.clone(), self.who.clone(), self.points[pending.space]);
        let space = SPACES[pending.space];
        async move {
            let session = kernel.space(space).await?.session(who);
            Ok(session.with_patience(Duration::from_secs(2)).after(point))
        }
    }

    /// Takes an answer in. Returns after which time to ask again, when that is to be done.
    fn hear(&mut self, town: &Town, pending: &mut Pending, answer: Result<Told>) -> Option<Duration> {
        pending.tries += 1;
        let told = match answer {
            // Nobody remembers any more what is asked for again.
            Ok(_) if pending.is_unsure && matches!(pending.asked, Asked::Again(_)) => Some(Told::Nothing),
            Ok(told) => Some(told),
            Err(error) if is_open(&error) => {
                // A disk that failed in the middle of a step may have it or not.
                pending.is_unsure |= error.to_string().contains("store failed") || error.kind() == ErrorKind::Corrupt;
                // An erasure has no key, so it is not asked for twice.
                (pending.is_erasure() || pending.tries >= TRIES).then_some(Told::Nothing)
            }
            // It may have been done before, and be refused for that.
            Err(_) if pending.is_unsure && matches!(pending.asked, Asked::Changes(_) | Asked::Again(_)) => {
                Some(Told::Nothing)
            }
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
        let is_known = matches!(told, Told::Done { .. } | Told::Refused(_));
        if is_known && !pending.is_erasure() && matches!(pending.asked, Asked::Changes(_)) {
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
                Pending { number: 0, space, asked, key: String::new(), tries: 0, is_unsure: false }
            }
        };
        let number =
            town.recorder.begin(self.number * 2 + pending.space, &self.who, pending.space, pending.asked.clone());
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
                0 => update(None, Some(self.layer()), None),
                1 => update(None, None, Some(self.grants(town))),
                _ => update(text, None, None),
            }];
            if let Some(other) = other.filter(|other| *other != cube) {
                let reason = format!("client {} step {step}", self.number);
                asks.push(Ask::State { cube: other, state: State::Activated, reason });
            }
            return (space, Asked::Changes(asks));
        }
        let space = self.random.below(SPACES.len());
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
        use memos_memory::cube::IdSource;
        use memos_memory::time::Clock;
        let cube = world.ids.cube_id(world.clock.now());
        town.known.lock().unwrap()[space].push(cube);
        Ask::Store { cube, text: self.text(&format!("step {}", self.steps)), layer: self.layer() }
    }

    fn text(&mut self, what: &str) -> String {
        let place = *self.random.pick(&["harbour", "kettle", "tower", "garden"]);
        // Some do not fit into a row.
        let long = if self.random.chance(1, 8) { " and so on".repeat(40) } else { String::new() };
        format!("of the {place} says client {} {what}{long}", self.number)
    }

    fn layer(&mut self) -> Layer {
        match self.random.below(4) {
            0 => Layer::Private,
            1 => Layer::Shared("red".parse().unwrap()),
            2 => Layer::Shared("blue".parse().unwrap()),
            _ => Layer::Global,
        }
    }

    fn grants(&mut self, town: &Town) -> Vec<Grant> {
        let rights = Rights { read: true, write: self.random.chance(2, 3), share: self.random.chance(1, 3) };
        let to = match self.random.below(3) {
            0 => Grantee::Group("red".parse().unwrap()),
            1 => Grantee::Group("blue".parse().unwrap()),
            _ => Grantee::Principal(self.random.pick(&town.principals).id.clone()),
        };
        if self.random.chance(1, 3) { Vec::new() } else { vec![Grant { to, rights }] }
    }

    /// Mostly one of the youngest, so that clients meet.
    fn some_cube(&mut self, town: &Town, space: usize) -> Option<CubeId> {
        let known = &town.known.lock().unwrap()[space];
        let from = if self.random.chance(3, 4) { known.len().saturating_sub(6) } else { 0 };
        (!known.is_empty()).then(|| *self.random.pick(&known[from..]))
    }
}
