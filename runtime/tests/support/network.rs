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
use crate::seeded::Random;

/// How long the kernel is given for a request, and how long a client waits for the answer to one try.
const PATIENCE: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_secs(12);

/// An answer that can be doubled.
type Copied = (Result<Told, (ErrorKind, String)>, ReadPoint);

#[derive(Clone)]
pub(crate) struct Network {
    kernel: Kernel,
    random: Arc<Mutex<Random>>,
    /// What each named request was answered by this process.
    answered: Arc<Mutex<HashMap<(String, String), Told>>>,
}

impl Network {
    pub(crate) fn new(kernel: Kernel, random: Random) -> Self {
        Self { kernel, random: Arc::new(Mutex::new(random)), answered: Arc::default() }
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

    /// Serves one copy of a request. There is an answer when its time is over, and it is the one that was given before.
    async fn arrived(&self, request: Request) -> Copied {
        let name = (request.who.id.to_string(), format!("{} {}", request.space, request.key));
        // An erasure has no key.
        let is_named = match &request.asked {
            Asked::Changes(asks) => !matches!(asks[..], [Ask::Erase { .. }]),
            Asked::Again(_) => true,
            Asked::Get(_) | Asked::Recall => false,
        };
        let served = timeout(PATIENCE + Duration::from_secs(1), serve(&self.kernel, request, PATIENCE)).await;
        let (told, seen) = served.expect("a request has an answer when its deadline has passed");
        if let Ok(told @ Told::Done { .. }) = &told
            && is_named
        {
            let mut answered = self.answered.lock().unwrap();
            let before = answered.entry(name.clone()).or_insert_with(|| told.clone());
            assert_eq!(before, told, "{name:?} was answered otherwise before");
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
