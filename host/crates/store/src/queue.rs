//! Group commit: while one transaction commits, what is to be written next queues, and the next transaction takes all that waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::AnyConnection;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::StoreError;
use crate::database::Database;

/// The most that one transaction takes. A larger item has one of its own.
const MOST_ROWS: usize = 1_000;
const MOST_BYTES: usize = 4 << 20;
/// How many items wait at most; those after them wait to be queued.
const QUEUE: usize = 4_096;
/// How long a transaction may take: a database that is gone may say nothing at all.
const TIME: Duration = Duration::from_secs(15);
/// How often a transaction is made again that met another one, and the first pause before it, which doubles.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(2);

/// What is written in groups.
pub(crate) trait Work: Send + 'static {
    /// What is to be written.
    type Item: Send + Sync + 'static;
    /// What became of it.
    type Answer: Send + 'static;

    /// The rows and the bytes of an item, about.
    fn size(item: &Self::Item) -> (usize, usize);

    /// Writes items in a transaction. One that is refused by itself fails no other.
    fn write(
        &mut self,
        database: &Database,
        connection: &mut AnyConnection,
        items: &[&Self::Item],
    ) -> impl Future<Output = Result<Vec<Result<Self::Answer, StoreError>>, StoreError>> + Send;
}

/// Hands items to the task that writes them.
pub(crate) struct Queue<W: Work> {
    /// Until it is closed.
    open: Mutex<Option<mpsc::Sender<Waiting<W>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Waiting<W: Work> {
    item: W::Item,
    answer: oneshot::Sender<Result<W::Answer, StoreError>>,
}

impl<W: Work> Queue<W> {
    /// Starts the task.
    pub(crate) fn start(database: Arc<Database>, work: W) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let task = tokio::spawn(Writing { database, work, waiting, next: None }.run());
        Self { open: Mutex::new(Some(queue)), task: Mutex::new(Some(task)) }
    }

    /// Writes an item. When this returns, it is committed and synced.
    pub(crate) async fn write(&self, item: W::Item) -> Result<W::Answer, StoreError> {
        let stopped = || StoreError::Unavailable("it is closed".to_owned());
        let (answer, answered) = oneshot::channel();
        let queue = self.open.lock().clone().ok_or_else(stopped)?;
        queue.send(Waiting { item, answer }).await.map_err(|_| stopped())?;
        drop(queue);
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Takes nothing more, and returns once all that waits is written.
    pub(crate) async fn close(&self) {
        self.open.lock().take();
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "what writes the store has failed");
        }
    }
}

struct Writing<W: Work> {
    database: Arc<Database>,
    work: W,
    waiting: mpsc::Receiver<Waiting<W>>,
    /// The first of the next transaction, which had no room in the last one.
    next: Option<Waiting<W>>,
}

impl<W: Work> Writing<W> {
    async fn run(mut self) {
        loop {
            let first = match self.next.take() {
                Some(next) => Some(next),
                None => self.waiting.recv().await,
            };
            let Some(first) = first else { return };
            let group = self.group(first);
            self.write(group).await;
        }
    }

    /// All that wait and have room in one transaction.
    fn group(&mut self, first: Waiting<W>) -> Vec<Waiting<W>> {
        let (mut rows, mut bytes) = W::size(&first.item);
        let mut group = vec![first];
        while let Ok(next) = self.waiting.try_recv() {
            let (more_rows, more_bytes) = W::size(&next.item);
            (rows, bytes) = (rows + more_rows, bytes + more_bytes);
            if rows > MOST_ROWS || bytes > MOST_BYTES {
                self.next = Some(next);
                break;
            }
            group.push(next);
        }
        group
    }

    /// Writes a group and answers each of its items. One that fails is split, until the item at fault is alone.
    async fn write(&mut self, group: Vec<Waiting<W>>) {
        let mut groups = VecDeque::from([group]);
        while let Some(mut group) = groups.pop_front() {
            let items: Vec<_> = group.iter().map(|one| &one.item).collect();
            match self.commit(&items).await {
                Ok(answers) => {
                    for (one, answer) in group.into_iter().zip(answers) {
                        // A sender that has hung up needs no answer.
                        _ = one.answer.send(answer);
                    }
                }
                Err(StoreError::Refused(_) | StoreError::Conflict(_)) if group.len() > 1 => {
                    let second = group.split_off(group.len() / 2);
                    groups.push_front(second);
                    groups.push_front(group);
                }
                Err(error) => {
                    // What has come meanwhile would wait as long for a database that is gone, and get the same answer.
                    let is_gone = matches!(error, StoreError::Unavailable(_) | StoreError::NotWritable(_));
                    let others = std::iter::from_fn(|| self.waiting.try_recv().ok());
                    let others: Vec<_> = if is_gone { others.collect() } else { Vec::new() };
                    for one in group.into_iter().chain(others) {
                        _ = one.answer.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Commits the items, again if the transaction met another one.
    async fn commit(&mut self, items: &[&W::Item]) -> Result<Vec<Result<W::Answer, StoreError>>, StoreError> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.attempt(items).await {
                Err(StoreError::Conflict(cause)) => tracing::debug!(cause, "a transaction is made again"),
                done => return done,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.attempt(items).await
    }

    async fn attempt(
        &mut self,
        items: &[&W::Item],
    ) -> Result<Vec<Result<W::Answer, StoreError>>, StoreError> {
        let written = async {
            let mut transaction = self.database.begin().await?;
            let answers = self.work.write(&self.database, &mut transaction, items).await?;
            transaction.commit().await?;
            Ok(answers)
        };
        let late = |_| StoreError::Unavailable(format!("a transaction took longer than {TIME:?}"));
        tokio::time::timeout(TIME, written).await.map_err(late)?
    }
}
