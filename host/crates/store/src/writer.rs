//! One task writes: while it commits, requests queue, and the next transaction takes all that wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;
use crate::accept::{Answers, accept};
use crate::database::Database;
use crate::numbers::Numbers;
use crate::request::{Accepted, Request};

/// The most that one transaction takes. A larger request has one of its own.
const MOST_ALERTS: usize = 1_000;
const MOST_BYTES: usize = 4 << 20;
/// How many requests wait at most; those after them wait to be queued.
const QUEUE: usize = 4_096;
/// How often a transaction is made again that met another one, and the first pause before it, which doubles.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(2);

/// A request that waits.
struct Waiting {
    request: Request,
    answer: oneshot::Sender<Result<Accepted, StoreError>>,
}

/// Hands requests to the task that writes.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Waiting>,
}

impl Writer {
    /// Starts the task, which ends with its last handle.
    pub(crate) async fn start(database: Arc<Database>) -> Result<Self, StoreError> {
        let numbers = Numbers::of(&mut *database.writer.acquire().await?).await?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(Writing { database, numbers, waiting, next: None }.run());
        Ok(Self { queue })
    }

    /// Accepts a request. When this returns, it is committed and synced.
    pub(crate) async fn accept(&self, request: Request) -> Result<Accepted, StoreError> {
        let stopped = || StoreError::Unavailable("its writer has stopped".to_owned());
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { request, answer }).await.map_err(|_| stopped())?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }
}

struct Writing {
    database: Arc<Database>,
    numbers: Numbers,
    waiting: mpsc::Receiver<Waiting>,
    /// The first of the next transaction, which had no room in the last one.
    next: Option<Waiting>,
}

impl Writing {
    async fn run(mut self) {
        loop {
            let first = match self.next.take() {
                Some(next) => next,
                None => match self.waiting.recv().await {
                    Some(first) => first,
                    None => return,
                },
            };
            let batch = self.fill(first);
            self.write(batch).await;
        }
    }

    /// All that wait and have room in one transaction.
    fn fill(&mut self, first: Waiting) -> Vec<Waiting> {
        let (mut alerts, mut bytes) = (first.request.alerts.len(), first.request.size());
        let mut batch = vec![first];
        while let Ok(next) = self.waiting.try_recv() {
            alerts += next.request.alerts.len();
            bytes += next.request.size();
            if alerts > MOST_ALERTS || bytes > MOST_BYTES {
                self.next = Some(next);
                break;
            }
            batch.push(next);
        }
        batch
    }

    /// Writes a batch and answers each of its requests. One that fails is split, until the request at fault is alone.
    async fn write(&mut self, batch: Vec<Waiting>) {
        let mut batches = VecDeque::from([batch]);
        while let Some(mut batch) = batches.pop_front() {
            let requests: Vec<_> = batch.iter().map(|one| &one.request).collect();
            match self.commit(&requests).await {
                Ok(answers) => {
                    for (one, answer) in batch.into_iter().zip(answers) {
                        // A sender that has hung up needs no answer.
                        _ = one.answer.send(answer);
                    }
                }
                Err(StoreError::Refused(_)) if batch.len() > 1 => {
                    let second = batch.split_off(batch.len() / 2);
                    batches.push_front(second);
                    batches.push_front(batch);
                }
                Err(error) => {
                    for one in batch {
                        _ = one.answer.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Commits the requests, again if the transaction met another one.
    async fn commit(&mut self, requests: &[&Request]) -> Result<Answers, StoreError> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.attempt(requests).await {
                Err(error) if error.is_conflict() => tracing::debug!(%error, "a transaction is made again"),
                done => return done,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.attempt(requests).await
    }

    async fn attempt(&mut self, requests: &[&Request]) -> Result<Answers, StoreError> {
        let mut connection = self.database.writer.acquire().await?;
        let mut transaction = connection.begin_with(self.database.kind.begin()).await?;
        let answers = accept(&self.database, &mut transaction, &mut self.numbers, requests).await?;
        transaction.commit().await?;
        Ok(answers)
    }
}
