//! A network between clients and a kernel that loses messages, brings them late, twice and in another order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memos_memory::error::{Error, ErrorKind};
use memos_runtime::{Kernel, ReadPoint};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::history::{Asked, Told};
use super::model::Ask;
use super::wire::{Answer, Request, Wire, serve};
use super::world::principal;
use crate::seeded::Random;

/// How long the kernel is given for a request, and how long a client waits for the answer to one try.
const PATIENCE: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_secs(12);

/// An answer that can be doubled.
type Copied = (Result<Told, (ErrorKind, String)>, ReadPoint);

#[derive(Clone)]
pub(crate) struct Network {
    kernel: Kernel,
    /// Who asks in this space says that they belong to all these groups. Its roll knows better.
    claimed: (&'static str, &'static [&'static str]),
    random: Arc<Mutex<Random>>,
    /// What each named request was answered by this process.
    answered: Arc<Mutex<HashMap<(String, String), Told>>>,
    broken: Arc<Mutex<Vec<String>>>,
}

impl Network {
    pub(crate) fn new(kernel: Kernel, claimed: (&'static str, &'static [&'static str]), random: Random) -> Self {
        let random = Arc::new(Mutex::new(random));
        Self { kernel, claimed, random, answered: Arc::default(), broken: Arc::default() }
    }

    /// Returns after which times a message arrives: once, or never, or twice.
    fn arrivals(&self) -> Vec<Duration> {
        let mut random = self.random.lock().unwrap();
        let copies = match random.below(100) {
            0..2 => 0,
            2..5 => 2,
            _ => 1,
        };
        // Most within a tenth of a second; some so late that their client asks again.
        let mut late = || if random.chance(1, 40) { 20_000 } else { 100 };
        let longest: Vec<usize> = (0..copies).map(|_| late()).collect();
        longest.into_iter().map(|longest| Duration::from_millis(random.below(longest) as u64)).collect()
    }

    /// Returns what was promised to clients and not held: an answer when the time of a request is over, and the same answer
    /// to the same request.
    pub(crate) fn broken_promises(&self) -> Vec<String> {
        self.broken.lock().unwrap().clone()
    }

    /// Serves one copy of a request.
    async fn arrived(&self, mut request: Request) -> Copied {
        if request.space == self.claimed.0 {
            request.who = Arc::new(principal(request.who.id.as_str(), self.claimed.1));
        }
        let name = (request.who.id.to_string(), format!("{} {}", request.space, request.key));
        // An erasure has no key.
        let is_named = match &request.asked {
            Asked::Changes(asks) => !matches!(asks[..], [Ask::Erase { .. }]),
            Asked::Again(_) => true,
            Asked::Get(_) | Asked::Recall => false,
        };
        let after = request.after;
        let served = timeout(PATIENCE + Duration::from_secs(1), serve(&self.kernel, request, PATIENCE)).await;
        let Ok((told, seen)) = served else {
            self.broken.lock().unwrap().push(format!("{name:?} has no answer, and its deadline has passed"));
            return (Err((ErrorKind::Deadline, "nothing".to_owned())), after);
        };
        if let Ok(told @ Told::Done { .. }) = &told
            && is_named
        {
            let mut answered = self.answered.lock().unwrap();
            let before = answered.entry(name.clone()).or_insert_with(|| told.clone());
            if before != told {
                self.broken.lock().unwrap().push(format!("{name:?} was answered {before:?}, and then {told:?}"));
            }
        }
        (told.map_err(|error| (error.kind(), error.to_string())), seen)
    }
}

impl Wire for Network {
    async fn ask(&self, request: Request) -> Answer {
        let (answers, mut arrived) = mpsc::unbounded_channel::<Copied>();
        for late in self.arrivals() {
            let (network, request, answers) = (self.clone(), request.clone(), answers.clone());
            tokio::spawn(async move {
                sleep(late).await;
                let answer = network.arrived(request).await;
                for late in network.arrivals() {
                    let (answer, answers) = (answer.clone(), answers.clone());
                    tokio::spawn(async move {
                        sleep(late).await;
                        // A client who has an answer already hears no other.
                        let _ = answers.send(answer);
                    });
                }
            });
        }
        drop(answers);
        match timeout(WAIT, arrived.recv()).await {
            Ok(Some((told, seen))) => (told.map_err(|(kind, why)| Error::new(kind, why)), seen),
            _ => (Err(Error::new(ErrorKind::Deadline, "nothing came back")), request.after),
        }
    }
}
