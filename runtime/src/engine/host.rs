//! A loaded model on two threads of its own: one answers, all who ask at once in one batch; the other makes segments and
//! teaches adapters meanwhile. Before each is a queue with a bound, and whoever finds it full is told `Busy`: nobody's runtime
//! waits for a tensor.
//!
//! It must never know what a cube is: whoever asks lays out the request on the model's thread.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

use memos_engine::generate::{Ended, Request, RequestId, Said, Talk};
use memos_engine::model::Model;
use memos_memory::error::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::memory_error;
use super::options::EngineLimits;

/// A part of an answer: what one step said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The text that is whole with it; may be empty.
    pub text: String,
    /// The token.
    pub token: u32,
    /// Why it was the last, where it was.
    pub ended: Option<Ended>,
}

/// An answer as the model gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Spoken {
    /// What was said.
    pub text: String,
    /// Its tokens, the end too.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub ended: Ended,
    /// From asking to the first token.
    pub first_token: Duration,
    /// From asking to the last.
    pub took: Duration,
}

/// An answer on its way. Dropping it ends the answer.
pub struct Pieces {
    from: mpsc::Receiver<Result<Piece>>,
    asked: Instant,
    deadline: Instant,
    is_over: bool,
}

impl Pieces {
    /// Waits for the next piece; none when the answer is whole or has failed.
    ///
    /// # Cancellation
    /// Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Option<Result<Piece>> {
        if self.is_over {
            return None;
        }
        let piece = match timeout_at(self.deadline, self.from.recv()).await {
            Ok(Some(piece)) => piece,
            // The model looks at the clock as well.
            Ok(None) if Instant::now() < self.deadline => Err(gone()),
            Ok(None) | Err(_) => Err(late()),
        };
        self.is_over = piece.as_ref().map_or(true, |piece| piece.ended.is_some());
        if self.is_over {
            self.from.close();
        }
        Some(piece)
    }

    /// Waits for all of it.
    ///
    /// # Errors
    /// Those of the request; `Deadline` when it is not whole in time; `Unavailable` when the model's thread is gone.
    pub async fn whole(mut self) -> Result<Spoken> {
        let (mut text, mut tokens, mut first_token) = (String::new(), Vec::new(), None);
        while let Some(piece) = self.next().await {
            let piece = piece?;
            first_token.get_or_insert(self.asked.elapsed());
            text.push_str(&piece.text);
            tokens.push(piece.token);
            if let Some(ended) = piece.ended {
                let took = self.asked.elapsed();
                return Ok(Spoken { text, tokens, ended, first_token: first_token.unwrap_or(took), took });
            }
        }
        Err(gone())
    }
}

type Make = Box<dyn FnOnce(&Model) -> Result<Request> + Send>;

struct Question {
    make: Make,
    deadline: Instant,
    to: mpsc::Sender<Result<Piece>>,
}

impl Question {
    fn is_in_vain(&self) -> bool {
        self.to.is_closed() || self.deadline.into_std() <= std::time::Instant::now()
    }
}

type Job = Box<dyn FnOnce(&Model) + Send>;

/// How far the job at work has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobProgress {
    /// What it makes, in words.
    pub what: String,
    /// Steps done.
    pub done: usize,
    /// Steps in all, at most.
    pub of: usize,
}

/// Where a job says how far it is, and learns that nobody waits for it any more.
pub struct Progress<'a> {
    what: &'a str,
    is_awaited: &'a dyn Fn() -> bool,
    told: &'a watch::Sender<Option<JobProgress>>,
}

impl Progress<'_> {
    /// Says how far the job is.
    ///
    /// # Errors
    /// `Deadline` when nobody waits for it any more, so that it ends.
    pub fn tell(&self, done: usize, of: usize) -> Result<()> {
        self.told.send_replace(Some(JobProgress { what: self.what.to_owned(), done, of }));
        if (self.is_awaited)() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Deadline, "nobody waits for the job any more; ask for it again"))
    }
}

/// A model at work. When it is dropped, what it was asked before is done, and its threads end.
pub struct ModelHost {
    model: Model,
    questions: SyncSender<Question>,
    jobs: SyncSender<Job>,
    told: watch::Sender<Option<JobProgress>>,
    limits: EngineLimits,
}

impl ModelHost {
    /// Begins the threads of a model.
    ///
    /// # Errors
    /// `Unavailable` when they cannot be started.
    pub fn begin(model: Model, limits: EngineLimits) -> Result<Self> {
        let (questions, asked) = sync_channel(limits.questions.max(1));
        let (jobs, begun) = sync_channel::<Job>(limits.jobs.max(1));
        let (answering, most) = (model.clone(), limits.batch.clamp(1, memos_engine::generate::MAX_REQUESTS));
        thread("answer", move || answer_all(&answering, &asked, most))?;
        let working = model.clone();
        thread("job", move || {
            while let Ok(job) = begun.recv() {
                // Whoever waits for it learns of a panic from the dropped reply.
                let _ = catch_unwind(AssertUnwindSafe(|| job(&working)));
            }
        })?;
        Ok(Self { model, questions, jobs, told: watch::channel(None).0, limits })
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns where it can be seen how far the job at work is.
    pub fn progress(&self) -> watch::Receiver<Option<JobProgress>> {
        self.told.subscribe()
    }

    /// Asks the model. The request is laid out on the model's thread, and joins those that are being answered.
    ///
    /// # Errors
    /// `Busy` when as many wait as may; `Unavailable` when the model's thread is gone.
    pub fn ask(
        &self,
        deadline: Option<Instant>,
        make: impl FnOnce(&Model) -> Result<Request> + Send + 'static,
    ) -> Result<Pieces> {
        let asked = Instant::now();
        let deadline = deadline.unwrap_or(asked + self.limits.patience);
        // As many places as an answer has tokens at most: the model never waits for who listens slowly.
        let (to, from) = mpsc::channel(self.limits.answer_tokens.saturating_add(2));
        let most = self.limits.answer_tokens.max(1);
        let make = move |model: &Model| {
            let mut request = make(model)?;
            request.most_tokens = request.most_tokens.min(most);
            Ok(request)
        };
        let question = Question { make: Box::new(make), deadline, to };
        self.questions.try_send(question).map_err(|error| match error {
            TrySendError::Full(_) => {
                let most = self.limits.questions;
                Error::new(ErrorKind::Busy, format!("{most} questions wait for the model already; ask again later"))
            }
            TrySendError::Disconnected(_) => gone(),
        })?;
        Ok(Pieces { from, asked, deadline, is_over: false })
    }

    /// Does a job on the thread for jobs, and returns what it returns. A job for which nobody waits any more is not begun, and
    /// ends at its next word of progress.
    ///
    /// # Errors
    /// `Busy` when as many wait as may; those of the job; `Unavailable` when it broke down.
    pub async fn work<T: Send + 'static>(
        &self,
        what: impl Into<String>,
        job: impl FnOnce(&Model, &Progress<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (to, from) = oneshot::channel();
        let (told, what) = (self.told.clone(), what.into());
        let begin: Job = Box::new(move |model| {
            let is_awaited = || !to.is_closed();
            if !is_awaited() {
                return;
            }
            let done = catch_unwind(AssertUnwindSafe(|| {
                job(model, &Progress { what: &what, is_awaited: &is_awaited, told: &told })
            }));
            told.send_replace(None);
            let broken = || Err(Error::unavailable(format!("the model broke down at {what}; try again later")));
            let _ = to.send(done.unwrap_or_else(|_| broken()));
        });
        self.jobs.try_send(begin).map_err(|error| match error {
            TrySendError::Full(_) => {
                let most = self.limits.jobs;
                Error::new(ErrorKind::Busy, format!("{most} jobs wait for the model already; ask again later"))
            }
            TrySendError::Disconnected(_) => gone(),
        })?;
        from.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let begun = std::thread::Builder::new().name(format!("memos-{name}")).spawn(work);
    begun
        .map(drop)
        .map_err(|e| Error::unavailable(format!("the model's thread `{name}` cannot be started: {e}")).with_source(e))
}

fn late() -> Error {
    Error::new(ErrorKind::Deadline, "the deadline passed before the answer was whole; give it more time")
}

fn gone() -> Error {
    Error::unavailable("the model's thread is gone; begin the engine again")
}

/// Answers until nobody can ask any more.
fn answer_all(model: &Model, asked: &Receiver<Question>, most: usize) {
    loop {
        // A panic takes those with it who were being answered, and nobody else.
        if catch_unwind(AssertUnwindSafe(|| answer_some(model, asked, most))).unwrap_or(false) {
            return;
        }
    }
}

/// Answers until the batch breaks down; returns whether nobody can ask any more.
fn answer_some(model: &Model, asked: &Receiver<Question>, most: usize) -> bool {
    let mut talk = Talk::new(model.decoder(), model.tokenizer());
    let mut running: HashMap<RequestId, (mpsc::Sender<Result<Piece>>, Instant)> = HashMap::new();
    loop {
        while running.len() < most {
            let next = if running.is_empty() {
                asked.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                asked.try_recv()
            };
            match next {
                Ok(question) if question.is_in_vain() => {}
                Ok(Question { make, deadline, to }) => {
                    let said = make(model).and_then(|request| talk.join(request).map_err(memory_error));
                    match said {
                        Ok(said) => {
                            let (id, is_over) = (said.request, said.ended.is_some());
                            say(&to, said);
                            if !is_over {
                                running.insert(id, (to, deadline));
                            }
                        }
                        Err(error) => drop(to.try_send(Err(error))),
                    }
                }
                Err(TryRecvError::Disconnected) if running.is_empty() => return true,
                Err(_) => break,
            }
        }
        let now = std::time::Instant::now();
        running.retain(|id, (to, deadline)| {
            let goes_on = !to.is_closed() && deadline.into_std() > now;
            if !goes_on {
                talk.cancel(*id);
            }
            goes_on
        });
        match talk.step() {
            Ok(all) => {
                for (id, said) in all {
                    let Some((to, _)) = running.get(&id) else { continue };
                    let goes_on = match said {
                        Ok(said) => {
                            let goes_on = said.ended.is_none();
                            say(to, said);
                            goes_on
                        }
                        Err(error) => {
                            let _ = to.try_send(Err(memory_error(error)));
                            false
                        }
                    };
                    if !goes_on {
                        running.remove(&id);
                    }
                }
            }
            Err(error) => {
                let why = error.to_string();
                running.drain().for_each(|(_, (to, _))| drop(to.try_send(Err(Error::unavailable(why.clone())))));
                return false;
            }
        }
    }
}

fn say(to: &mpsc::Sender<Result<Piece>>, said: Said) {
    // Who has gone is cancelled before the next step.
    let _ = to.try_send(Ok(Piece { text: said.text, token: said.token, ended: said.ended }));
}
