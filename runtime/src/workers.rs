//! Threads for work that blocks or is heavy, behind a queue with a bound. Actors and callers wait for them without a
//! thread of their own.
//!
//! Without threads the work is done in tasks of the runtime, one for each piece, in the order in which it came. On a runtime
//! of one thread nothing happens at the same time then, and a run can be repeated.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use memos_memory::error::{Error, ErrorKind, Result};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use crate::actor::Reply;
use crate::telemetry::{WorkerFigures, WorkerMeter, spans};

/// When it was handed over, and what is to do.
type Job = (std::time::Instant, Work);

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    news: Condvar,
    places: Semaphore,
    name: String,
    threads: usize,
    meter: WorkerMeter,
}

/// Who does the work.
enum Hands {
    Threads,
    /// Tasks of this runtime. Each holds the sender while there is work to come; none when it is closed.
    Tasks(Handle, Mutex<Option<mpsc::Sender<()>>>),
}

/// A few threads and the queue before them.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    hands: Hands,
    /// Ends when the last thread or task has ended.
    ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl Workers {
    /// Begins so many threads with so many places before them; with none, the work is done by tasks of this runtime.
    pub(crate) fn begin(name: &str, threads: usize, places: usize) -> Result<Arc<Self>> {
        let places = Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS));
        let meter = WorkerMeter::default();
        let (queue, news) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { queue, news, places, name: name.to_owned(), threads, meter });
        let (alive, ended) = mpsc::channel(1);
        let hands = match threads {
            0 => Hands::Tasks(Handle::current(), Mutex::new(Some(alive.clone()))),
            _ => Hands::Threads,
        };
        let workers = Arc::new(Self { shared: shared.clone(), hands, ended: tokio::sync::Mutex::new(ended) });
        for number in 0..threads {
            let (shared, alive) = (shared.clone(), alive.clone());
            let work = move || {
                shared.work();
                drop(alive);
            };
            let thread = std::thread::Builder::new().name(format!("memos-{name}-{number}")).spawn(work);
            thread.map_err(|e| Error::unavailable(format!("thread `{name}` cannot be started: {e}")).with_source(e))?;
        }
        Ok(workers)
    }

    /// Runs work on one of the threads and returns what it returns. Work whose turn comes after the deadline, or for
    /// which nobody waits any more, is not begun.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Option<Instant>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run_for(&Span::none(), deadline, work).await
    }

    /// Runs work of a request, below whose span its waiting and its doing are seen.
    pub(crate) async fn run_for<T: Send + 'static>(
        &self,
        request: &Span,
        deadline: Option<Instant>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (waiting, request) = (spans::wait(request, &self.shared.name), request.clone());
        let shared = self.shared.clone();
        let work = move || {
            drop(waiting);
            spans::work(&request, &shared.name).in_scope(work)
        };
        let asked = async {
            let place = self.shared.places.acquire().await.map_err(|_| closed())?;
            let (reply, answer) = Reply::new();
            self.put(place, deadline, reply, work)?;
            answer.await.unwrap_or_else(|_| Err(Error::unavailable("the work was cut off; try again")))
        };
        match deadline {
            Some(deadline) => timeout_at(deadline, asked).await.unwrap_or_else(|_| Err(late())),
            None => asked.await,
        }
    }

    fn put<T: Send + 'static>(
        &self,
        place: SemaphorePermit<'_>,
        deadline: Option<Instant>,
        reply: Reply<T>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<()> {
        let shared = self.shared.clone();
        let queue = self.shared.queue.lock();
        if queue.closed {
            return Err(closed());
        }
        place.forget();
        let job = Box::new(move || {
            shared.places.add_permits(1);
            if !reply.is_awaited() {
                return;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return reply.send(Err(late()));
            }
            reply.send(work());
        });
        self.hand_over(queue, job);
        Ok(())
    }

    /// Gives work to a thread or a task. The queue is open.
    fn hand_over(&self, mut queue: MutexGuard<'_, Queue>, work: Work) {
        let job = (std::time::Instant::now(), work);
        match &self.hands {
            Hands::Threads => {
                queue.jobs.push_back(job);
                drop(queue);
                self.shared.news.notify_one();
            }
            Hands::Tasks(runtime, alive) => {
                let (alive, shared) = (alive.lock().clone(), self.shared.clone());
                drop(queue);
                // The work goes with the task, so that a runtime that is dropped drops it too.
                runtime.spawn(async move {
                    shared.attempt(job);
                    drop(alive);
                });
            }
        }
    }

    /// Returns how much waits for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.queue.lock().jobs.len()
    }

    /// Does work for which nobody waits and which must be done, such as closing a file. It takes no place: there is at
    /// most as much of it as there are open spaces.
    pub(crate) fn must(&self, work: impl FnOnce() + Send + 'static) {
        let queue = self.shared.queue.lock();
        if queue.closed {
            drop(queue);
            return work();
        }
        self.hand_over(queue, Box::new(work));
    }

    /// Returns what is counted of them.
    pub(crate) fn figures(&self) -> WorkerFigures {
        let Shared { queue, name, threads, meter, .. } = &*self.shared;
        let waiting = queue.lock().jobs.len();
        meter.read(name, *threads, waiting)
    }

    /// Takes no more work. What waits is done.
    pub(crate) fn close(&self) {
        self.shared.places.close();
        self.shared.queue.lock().closed = true;
        self.shared.news.notify_all();
        if let Hands::Tasks(_, alive) = &self.hands {
            alive.lock().take();
        }
    }

    /// Waits until all work is done and the threads or tasks have ended. They must be closed.
    pub(crate) async fn ended(&self) {
        while self.ended.lock().await.recv().await.is_some() {}
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let mut queue = self.queue.lock();
            let job = loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.closed {
                    return;
                }
                self.news.wait(&mut queue);
            };
            drop(queue);
            self.attempt(job);
        }
    }

    fn attempt(&self, (handed, work): Job) {
        let begun = std::time::Instant::now();
        self.meter.begun(begun.saturating_duration_since(handed));
        // Whoever waits for it learns of a panic from the dropped reply.
        let _ = catch_unwind(AssertUnwindSafe(work));
        self.meter.ended(begun.elapsed());
    }
}

fn closed() -> Error {
    Error::unavailable("the kernel is being shut down; open it again")
}

fn late() -> Error {
    Error::new(ErrorKind::Deadline, "the deadline passed before the work began; give it more time")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;

    /// Keeps the one thread busy until the sender is dropped.
    fn occupy(workers: &Workers) -> Sender<()> {
        let (let_go, held) = channel::<()>();
        let (here, arrived) = channel();
        workers.must(move || {
            here.send(()).unwrap();
            let _ = held.recv();
        });
        arrived.recv().unwrap();
        let_go
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn what_blocks_stops_nobody_and_has_a_bound() {
        let workers = Workers::begin("test", 1, 2).unwrap();
        let let_go = occupy(&workers);
        let done = Arc::new(AtomicUsize::new(0));
        let work = || {
            let done = done.clone();
            move || Ok(done.fetch_add(1, Ordering::SeqCst))
        };
        // Two wait in the queue, and the third before it; all three give up, though the thread itself is stuck.
        let (one, two, three) =
            tokio::join!(workers.run(soon(), work()), workers.run(soon(), work()), workers.run(soon(), work()));
        for outcome in [one, two, three] {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Deadline);
        }
        drop(let_go);
        // What they gave up is not done, and its places are free again.
        assert_eq!(workers.run(None, work()).await.unwrap(), 0);
        workers.close();
        workers.ended().await;
        assert_eq!(workers.run(None, work()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_panic_takes_no_thread_with_it() {
        for threads in [0, 1] {
            let workers = Workers::begin("test", threads, 2).unwrap();
            for _ in 0..3 {
                let failed: Result<()> = workers.run(None, || panic!("a test's panic")).await;
                assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unavailable);
            }
            assert_eq!(workers.run(None, || Ok(7)).await.unwrap(), 7);
        }
    }

    #[tokio::test]
    async fn without_threads_the_work_is_done_here_and_in_order() {
        let workers = Workers::begin("test", 0, 8).unwrap();
        let (here, done) = (std::thread::current().id(), Arc::new(Mutex::new(Vec::new())));
        for number in 0..8 {
            let done = done.clone();
            workers.must(move || done.lock().push((number, std::thread::current().id())));
        }
        assert!(done.lock().is_empty());
        workers.close();
        workers.ended().await;
        assert_eq!(*done.lock(), (0..8).map(|number| (number, here)).collect::<Vec<_>>());
        assert_eq!(workers.run(None, || Ok(())).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn what_waits_at_the_end_is_done() {
        let workers = Workers::begin("test", 1, 8).unwrap();
        let let_go = occupy(&workers);
        let waiting = [1, 2, 3].map(|number| {
            let workers = workers.clone();
            tokio::spawn(async move { workers.run(None, move || Ok(number)).await })
        });
        tokio::task::yield_now().await;
        workers.close();
        drop(let_go);
        workers.ended().await;
        for (waiting, number) in waiting.into_iter().zip(1..) {
            assert_eq!(waiting.await.unwrap().unwrap(), number);
        }
    }
}
