//! A thread of its own for work that blocks: fsync, netlink, unpacking.
//!
//! ```text
//!   actor ── start(job, then) ──> [ at most N jobs ] ──> thread with its own state S
//!     ^                                                        │
//!     └───────────────── then(result): a message ──────────────┘
//! ```
//!
//! The thread builds its state `S` itself (so `S` need not be `Send`) and runs one job at a time,
//! in order. A panic in a job becomes [`WorkerError::Panicked`] for that job; the state, which may
//! be half changed, is dropped and built anew before the next one.
//!
//! Dropping the worker discards the jobs that have not begun and lets the thread end after the
//! present one, without waiting for it. When an actor made the worker, the actor's incarnation
//! lasts until the thread has ended, so a restarted actor never meets its predecessor's thread at
//! the same file. The thread must therefore never be made to wait for the actor.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::tree::current_occupancy;

/// Runs jobs on one dedicated thread that owns an `S`.
pub struct Worker<S> {
    name: Arc<str>,
    jobs: Option<mpsc::Sender<Job<S>>>,
    discard: Arc<AtomicBool>,
    ended: Option<oneshot::Receiver<()>>,
}

/// Why a job has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// As many jobs are waiting as the queue holds.
    #[error("worker {0} is busy")]
    Busy(Arc<str>),
    /// The job panicked; the text is the panic's.
    #[error("worker {worker} panicked: {message}")]
    Panicked { worker: Arc<str>, message: String },
    /// The state could not be built, at first or anew after a panic.
    #[error("worker {worker} has no state: {message}")]
    Init { worker: Arc<str>, message: String },
    /// The worker has ended and will run nothing more.
    #[error("worker {0} has ended")]
    Ended(Arc<str>),
}

/// Gets the state, or why there is none; tells whether the state can still be trusted.
type Job<S> = Box<dyn FnOnce(Result<&mut S, WorkerError>) -> Trust + Send>;

#[derive(PartialEq, Eq)]
enum Trust {
    Kept,
    Lost,
}

impl<S: 'static> Worker<S> {
    /// Starts a thread with room for `capacity` waiting jobs (0 counts as 1). `init` runs on the
    /// thread, before the first job and after every panic.
    ///
    /// # Errors
    /// The operating system refuses another thread.
    pub fn spawn<E: std::fmt::Display>(
        name: &str,
        capacity: usize,
        init: impl FnMut() -> Result<S, E> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(capacity.max(1));
        let (ending, ended) = oneshot::channel();
        let discard = Arc::new(AtomicBool::new(false));
        let (name, stop): (Arc<str>, _) = (name.into(), discard.clone());
        let (thread_name, occupancy) = (name.clone(), current_occupancy());
        std::thread::Builder::new()
            .name(name.to_string())
            .spawn(move || {
                serve(&thread_name, queue, &stop, init);
                // In this order: whoever waits for the end may start a successor.
                drop(occupancy);
                drop(ending);
            })?;
        Ok(Self {
            name,
            jobs: Some(jobs),
            discard,
            ended: Some(ended),
        })
    }

    /// Queues a job and returns at once; `then` runs on the thread with the result and should only
    /// pass it on (`slot.cast(...)`). This is the way for actors: their mailbox stays responsive.
    /// `Err` when the queue is full or the worker has ended; `then` is dropped unused in that case,
    /// and when the worker is dropped before the job begins.
    pub fn start<R>(
        &self,
        job: impl FnOnce(&mut S) -> R + Send + 'static,
        then: impl FnOnce(Result<R, WorkerError>) + Send + 'static,
    ) -> Result<(), WorkerError>
    where
        R: 'static,
    {
        let jobs = self
            .jobs
            .as_ref()
            .ok_or_else(|| WorkerError::Ended(self.name.clone()))?;
        jobs.try_send(self.boxed(job, then))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => WorkerError::Busy(self.name.clone()),
                mpsc::error::TrySendError::Closed(_) => WorkerError::Ended(self.name.clone()),
            })
    }

    /// Runs a job and waits for its result, and before that for room in the queue.
    pub async fn run<R>(
        &self,
        job: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Result<R, WorkerError>
    where
        R: Send + 'static,
    {
        let ended = || WorkerError::Ended(self.name.clone());
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        let (reply, result) = oneshot::channel();
        let job = self.boxed(job, move |result| {
            // Nobody waits any more: fine.
            let _ = reply.send(result);
        });
        jobs.send(job).await.map_err(|_closed| ended())?;
        result.await.map_err(|_discarded| ended())?
    }

    /// Finishes all queued jobs and waits until the thread has ended.
    pub async fn finish(mut self) {
        self.jobs = None;
        if let Some(ended) = self.ended.take() {
            let _ = ended.await;
        }
    }

    fn boxed<R: 'static>(
        &self,
        job: impl FnOnce(&mut S) -> R + Send + 'static,
        then: impl FnOnce(Result<R, WorkerError>) + Send + 'static,
    ) -> Job<S> {
        let worker = self.name.clone();
        Box::new(move |state| {
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    then(Err(error));
                    return Trust::Lost;
                }
            };
            match catch_unwind(AssertUnwindSafe(|| job(state))) {
                Ok(result) => {
                    then(Ok(result));
                    Trust::Kept
                }
                Err(panic) => {
                    let message = panic_text(panic.as_ref());
                    then(Err(WorkerError::Panicked { worker, message }));
                    Trust::Lost
                }
            }
        })
    }
}

impl<S> Drop for Worker<S> {
    fn drop(&mut self) {
        // `finish` has taken the sender: then what is queued is still wanted.
        if self.jobs.is_some() {
            self.discard.store(true, Ordering::Release);
        }
    }
}

fn serve<S, E: std::fmt::Display>(
    name: &Arc<str>,
    mut queue: mpsc::Receiver<Job<S>>,
    discard: &AtomicBool,
    mut init: impl FnMut() -> Result<S, E>,
) {
    let mut state: Option<S> = None;
    while let Some(job) = queue.blocking_recv() {
        if discard.load(Ordering::Acquire) {
            return;
        }
        if state.is_none() {
            match build(name, &mut init) {
                Ok(built) => state = Some(built),
                Err(error) => {
                    settle(name, || job(Err(error)));
                    continue;
                }
            }
        }
        let Some(present) = state.as_mut() else {
            continue;
        };
        if settle(name, || job(Ok(present))) == Trust::Lost {
            state = None;
        }
    }
}

fn build<S, E: std::fmt::Display>(
    name: &Arc<str>,
    init: &mut impl FnMut() -> Result<S, E>,
) -> Result<S, WorkerError> {
    let failed = |message| WorkerError::Init {
        worker: name.clone(),
        message,
    };
    match catch_unwind(AssertUnwindSafe(init)) {
        Ok(Ok(state)) => Ok(state),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(panic) => Err(failed(panic_text(panic.as_ref()))),
    }
}

/// The continuation is the caller's code too: its panic must not end the thread.
fn settle(name: &str, job: impl FnOnce() -> Trust) -> Trust {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|panic| {
        let message = panic_text(panic.as_ref());
        tracing::error!(worker = name, message, "continuation of a job panicked");
        Trust::Lost
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panic without a text").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn counter(inits: &Arc<AtomicU32>) -> Worker<u32> {
        let inits = inits.clone();
        let init = move || {
            inits.fetch_add(1, Ordering::SeqCst);
            Ok::<_, String>(0)
        };
        Worker::spawn("counter", 1, init).expect("a thread")
    }

    fn add(state: &mut u32) -> u32 {
        *state += 1;
        *state
    }

    #[tokio::test]
    async fn jobs_run_in_order_on_one_state() {
        let worker = counter(&Arc::default());
        assert_eq!(worker.run(add).await, Ok(1));
        assert_eq!(worker.run(add).await, Ok(2));
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error_and_the_state_is_built_anew() {
        let inits = Arc::new(AtomicU32::new(0));
        let worker = counter(&inits);
        assert_eq!(worker.run(add).await, Ok(1));
        let panicked = worker.run(|_| -> u32 { panic!("told to panic") }).await;
        let message = "told to panic".to_owned();
        assert_eq!(
            panicked,
            Err(WorkerError::Panicked {
                worker: "counter".into(),
                message
            })
        );
        assert_eq!(worker.run(add).await, Ok(1));
        assert_eq!(inits.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_panicking_continuation_does_not_end_the_thread() {
        let worker = counter(&Arc::default());
        worker
            .start(add, |_| panic!("told to panic"))
            .expect("room");
        assert_eq!(worker.run(add).await, Ok(1), "the state was built anew");
    }

    #[tokio::test]
    async fn a_state_that_cannot_be_built_fails_each_job_and_is_tried_again() {
        let mut tries = 0;
        let worker = Worker::spawn("late", 1, move || {
            tries += 1;
            if tries < 3 {
                Err(format!("try {tries}"))
            } else {
                Ok(0)
            }
        });
        let worker = worker.expect("a thread");
        for tries in 1..3 {
            let message = format!("try {tries}");
            let expected = WorkerError::Init {
                worker: "late".into(),
                message,
            };
            assert_eq!(worker.run(add).await, Err(expected));
        }
        assert_eq!(worker.run(add).await, Ok(1));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_dropped_worker_discards_what_has_not_begun() {
        let worker = counter(&Arc::default());
        let (begun, has_begun) = oneshot::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let hold = move |_: &mut u32| {
            let _ = begun.send(());
            let _ = wait.recv();
        };
        worker.start(hold, |_| ()).expect("room");
        has_begun.await.expect("the job begins");
        let (reply, answer) = oneshot::channel::<u32>();
        worker
            .start(add, move |sum| {
                let _ = reply.send(sum.unwrap_or(99));
            })
            .expect("room for one");
        assert_eq!(
            worker.start(add, |_| ()),
            Err(WorkerError::Busy("counter".into()))
        );
        drop(worker);
        drop(go);
        assert!(answer.await.is_err(), "the continuation is dropped unused");
    }

    #[tokio::test]
    async fn finish_runs_what_is_queued() {
        let worker = counter(&Arc::default());
        let (reply, answer) = oneshot::channel();
        worker
            .start(add, move |sum| drop(reply.send(sum)))
            .expect("room");
        worker.finish().await;
        assert_eq!(answer.await, Ok(Ok(1)));
    }
}
