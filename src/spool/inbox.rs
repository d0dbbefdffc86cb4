//! What waits for the writer: appends, settlements and orders to bury, each with a bound.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use crate::delivery::Reason;
use crate::event::{Event, EventId};

use super::ledger::{Aged, Sort};
use super::queue::{Key as RowKey, Queue};
use super::record::Record;
use super::records::Noted;
use super::{Appended, Claim, Key, Settlement, SpoolError};

/// A settlement waits this long for an append whose commit it can share.
const SETTLE_WAIT: Duration = Duration::from_millis(20);
/// Appends that waited this long for settlements were late.
const LATE_MIN: Duration = Duration::from_millis(50);
/// Settlements that are queued or kept because they could not be written.
const SETTLEMENTS_MAX: usize = 4096;
/// What appends may wait in the inbox, in units of [`APPEND_UNIT_BYTES`]: 2 MiB. It is what one group has at most.
const APPEND_UNITS_MAX: u32 = 2048;
/// What records may wait for their commit, in units of [`RECORD_UNIT_BYTES`]: 8 MiB.
const RECORD_UNITS_MAX: usize = 8192;
/// Records are metered in KiB.
const RECORD_UNIT_BYTES: usize = 1024;
/// Appends are metered in KiB.
const APPEND_UNIT_BYTES: u64 = 1024;

/// An event with the queues that it goes to, and its lane in each.
pub(super) type Appending = (Arc<Event>, Vec<(Arc<Queue>, i64)>);

/// A batch that waits for its commit.
pub(super) struct Append {
    /// Each event with its queues and its lane in each, at least one and none twice.
    pub(super) events: Vec<Appending>,
    /// What a repeat is known by.
    pub(super) key: Option<Key>,
    /// What it will take of the disk, roughly.
    pub(super) bytes: u64,
    /// What it takes of the inbox.
    units: u32,
    /// Whom to tell.
    reply: oneshot::Sender<Answer>,
}

/// A settlement that waits for its commit.
pub(super) struct Order {
    pub(super) queue: Arc<Queue>,
    pub(super) claim: Claim,
    pub(super) settlement: Settlement,
    /// What is to be kept with it.
    pub(super) noted: Option<Noted>,
    /// It took a place in the inbox that its commit gives back.
    pub(super) metered: bool,
}

/// A webhook's deliveries that become dead letters, a step at a time.
pub(super) struct Burial {
    pub(super) queue: Arc<Queue>,
    pub(super) reason: Reason,
    /// Which of them.
    pub(super) doomed: Doomed,
    /// Events behind this number came after it; the writer sets it.
    pub(super) seq_max: i64,
    /// No rows are left to look at.
    pub(super) drained: bool,
    /// How many were buried.
    pub(super) count: u64,
    /// How many rows were taken since they are gone through from the start.
    pub(super) claimed: u64,
    /// Whom to tell.
    pub(super) reply: oneshot::Sender<Result<u64, SpoolError>>,
}

/// Which deliveries become dead letters, and up to where they were looked at.
#[derive(Clone, Copy)]
pub(super) enum Doomed {
    /// All.
    All { cursor: RowKey },
    /// Those whose age counts from before a time.
    Older { older_than_ms: i64, sort: Sort, cursor: Aged },
}

/// Dead letters that are to be something else.
pub(super) struct Repair {
    pub(super) numbers: Vec<i64>,
    /// Pending deliveries, or else nothing at all.
    pub(super) replay: bool,
    /// Whom to tell.
    pub(super) reply: oneshot::Sender<Result<u64, SpoolError>>,
}

/// What the writer is given at once.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) appends: Vec<Append>,
    pub(super) orders: Vec<Order>,
    pub(super) burials: Vec<Burial>,
    pub(super) repairs: Vec<Repair>,
    /// Who waits for the database to have all that is in the journal.
    pub(super) readers: Vec<mpsc::Sender<bool>>,
    /// Queues that have room for what is unread, and who waits to hear whether there was something for them in memory.
    pub(super) refills: Vec<(Arc<Queue>, mpsc::Sender<bool>)>,
    /// Nothing comes after this.
    pub(super) closing: bool,
    /// The writer is gone.
    ended: bool,
    /// The appends waited for settlements that did not come in time.
    pub(super) late: Option<Late>,
    appends_since: Option<Instant>,
    orders_since: Option<Instant>,
    /// Somebody waits for a settlement among the orders.
    urgent: bool,
    /// The writer sleeps until so many appends wait,
    wanted: usize,
    /// or so many settlements.
    wanted_orders: usize,
    /// It wakes by itself at this time.
    wakes_at: Option<Instant>,
}

/// That settlements did not come in time.
pub(super) struct Late;

/// What the next group waits for.
#[derive(Clone, Copy)]
pub(super) struct Gather {
    /// So many appends,
    pub(super) appends: usize,
    /// so many settlements, where producers are paced,
    pub(super) orders: Option<usize>,
    /// or this time.
    pub(super) until: Instant,
}

/// What the writer says of a batch.
type Answer = Result<Appended, SpoolError>;

/// What one caller is to tell the others of its group: to wake one task from another thread costs a system call, and all others none.
#[derive(Default)]
struct News {
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    ready: Vec<Arc<Queue>>,
}

impl News {
    fn tell(self) {
        for queue in self.ready {
            queue.wake();
        }
        for (reply, answer) in self.answers {
            // Nobody listens any more when the caller's future was dropped.
            let _ = reply.send(answer);
        }
    }
}

/// Tells the news when it goes, which is when its caller was answered or goes away.
struct Herald<'i>(&'i Inbox);

impl Drop for Herald<'_> {
    fn drop(&mut self) {
        self.0.take_news().tell();
    }
}

/// The way to the writer.
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    news: Mutex<News>,
    arrived: Condvar,
    append_room: Semaphore,
    settle_room: Semaphore,
    record_room: Arc<Semaphore>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting::default()),
            news: Mutex::default(),
            arrived: Condvar::new(),
            append_room: Semaphore::new(APPEND_UNITS_MAX as usize),
            settle_room: Semaphore::new(SETTLEMENTS_MAX),
            record_room: Arc::new(Semaphore::new(RECORD_UNITS_MAX)),
        }
    }

    /// Queues a batch when there is room for it and waits for what the writer says.
    pub(super) async fn append(
        &self,
        events: Vec<Appending>,
        key: Option<Key>,
        bytes: u64,
    ) -> Result<Appended, SpoolError> {
        let units = u32::try_from(bytes / APPEND_UNIT_BYTES).unwrap_or(u32::MAX).clamp(1, APPEND_UNITS_MAX);
        // The writer gives the room back: a caller that goes away leaves its batch in the inbox.
        self.append_room.acquire_many(units).await.map_err(|_| SpoolError::Closed)?.forget();
        // It goes after the answer's end of the channel: what was sent there before that was closed, it tells of.
        let _herald = Herald(self);
        let (reply, answer) = oneshot::channel();
        let enough = {
            let mut waiting = self.lock();
            if waiting.closing {
                return Err(SpoolError::Closed);
            }
            waiting.appends_since.get_or_insert_with(Instant::now);
            waiting.appends.push(Append { events, key, bytes, units, reply });
            waiting.wakes_at.is_some() && waiting.appends.len() >= waiting.wanted
        };
        // Every wake-up of the writer costs a switch: while it gathers, only the last of a group wakes it. One that works looks
        // before it sleeps.
        if enough {
            self.arrived.notify_one();
        }
        answer.await.unwrap_or(Err(SpoolError::Closed))
    }

    /// Waits for room for one settlement. False when the spool is closed.
    pub(super) async fn settle_room(&self) -> bool {
        let Ok(permit) = self.settle_room.acquire().await else { return false };
        permit.forget();
        true
    }

    /// A record on its way, while there is room in memory for it.
    pub(super) fn note(&self, event: EventId, record: Box<Record>) -> Option<Noted> {
        let units = u32::try_from(record.text.len().div_ceil(RECORD_UNIT_BYTES).max(1)).ok()?;
        let room = Arc::clone(&self.record_room).try_acquire_many_owned(units).ok()?;
        Some(Noted { event, record, _room: room })
    }

    /// Queues a settlement; an urgent one waits for no append. False when the spool is closed.
    pub(super) fn settle(&self, order: Order, urgent: bool) -> bool {
        let mut waiting = self.lock();
        if waiting.closing {
            return false;
        }
        let now = Instant::now();
        // A writer that works, or wakes by itself soon enough, sees it then.
        let sleeps_on = waiting.wakes_at.is_some_and(|at| at > now + SETTLE_WAIT);
        let first = waiting.orders.is_empty() && sleeps_on;
        if waiting.orders.is_empty() {
            waiting.orders_since = Some(now);
        }
        let hurried = urgent && !mem::replace(&mut waiting.urgent, true);
        waiting.orders.push(order);
        let enough = waiting.wakes_at.is_some() && waiting.orders.len() == waiting.wanted_orders;
        drop(waiting);
        if first || hurried || enough {
            self.arrived.notify_one();
        }
        true
    }

    /// Queues the burial of a webhook's deliveries and waits for its end.
    pub(super) async fn bury(
        &self,
        queue: Arc<Queue>,
        reason: Reason,
        older_than_ms: Option<i64>,
    ) -> Result<u64, SpoolError> {
        let (reply, answer) = oneshot::channel();
        let burial = Burial {
            queue,
            reason,
            doomed: older_than_ms.map_or(Doomed::All { cursor: (0, 0) }, |older_than_ms| Doomed::Older {
                older_than_ms,
                sort: Sort::Fresh,
                cursor: Aged::default(),
            }),
            seq_max: 0,
            drained: false,
            count: 0,
            claimed: 0,
            reply,
        };
        self.ask(|waiting| waiting.burials.push(burial))?;
        answer.await.unwrap_or(Err(SpoolError::Closed))
    }

    /// Queues what becomes of dead letters and waits until it is written.
    pub(super) async fn repair(&self, numbers: Vec<i64>, replay: bool) -> Result<u64, SpoolError> {
        let (sender, answer) = oneshot::channel();
        self.ask(|waiting| waiting.repairs.push(Repair { numbers, replay, reply: sender }))?;
        answer.await.unwrap_or(Err(SpoolError::Closed))
    }

    fn ask(&self, queue: impl FnOnce(&mut Waiting)) -> Result<(), SpoolError> {
        let mut waiting = self.lock();
        if waiting.closing {
            return Err(SpoolError::Closed);
        }
        queue(&mut waiting);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits until the database has all that was in the journal. False when that could not be written; `None` when the writer has ended and
    /// has written what it could.
    pub(super) fn flush(&self) -> Option<bool> {
        let (reply, answer) = mpsc::channel();
        {
            let mut waiting = self.lock();
            if waiting.ended {
                return None;
            }
            waiting.readers.push(reply);
        }
        self.arrived.notify_one();
        answer.recv().ok()
    }

    /// Has the writer refill a queue from memory. False where it has to be read from the database.
    pub(super) fn serve(&self, queue: &Arc<Queue>) -> bool {
        let (reply, answer) = mpsc::channel();
        {
            let mut waiting = self.lock();
            if waiting.ended {
                return false;
            }
            waiting.refills.push((Arc::clone(queue), reply));
        }
        self.arrived.notify_one();
        answer.recv().unwrap_or(false)
    }

    /// Answers a batch and gives its room back.
    pub(super) fn answer(&self, append: Append, result: Result<Appended, SpoolError>) {
        self.append_room.add_permits(append.units as usize);
        // Nobody listens any more when the caller's future was dropped.
        let _ = append.reply.send(result);
    }

    /// Answers the batches of a group, and wakes who waits for what is ready now.
    pub(super) fn tell(&self, answers: Vec<(Append, Answer)>, ready: Vec<Arc<Queue>>) {
        let units = answers.iter().map(|(append, _)| append.units as usize).sum();
        let mut answers = answers.into_iter().map(|(append, answer)| (append.reply, answer));
        // Who is answered first tells the others: the news are there before he is.
        let mut first = answers.next();
        {
            let mut news = self.news();
            news.answers.extend(answers);
            news.ready.extend(ready);
        }
        if first.is_none() {
            self.take_news().tell();
        }
        while let Some((reply, answer)) = first {
            if reply.send(answer).is_ok() {
                break;
            }
            first = self.news().answers.pop();
            if first.is_none() {
                self.take_news().tell();
            }
        }
        self.append_room.add_permits(units);
    }

    /// Gives the places of written settlements back.
    pub(super) fn settled(&self, count: usize) {
        self.settle_room.add_permits(count);
    }

    /// Refuses everything from now on; what is queued is still given to the writer.
    pub(super) fn close(&self) {
        self.append_room.close();
        self.settle_room.close();
        self.lock().closing = true;
        self.arrived.notify_one();
    }

    /// Lets everybody go who waits for the writer, which is gone.
    pub(super) fn end(&self) {
        self.close();
        let left = mem::replace(&mut *self.lock(), Waiting { closing: true, ended: true, ..Waiting::default() });
        drop(left);
    }

    /// For the writer: waits until something ought to be written or `idle` is over, and takes all there is. Appends alone
    /// are no reason before they or the settlements are as many as `gather` says, or its time is over.
    pub(super) fn take(&self, idle: Duration, gather: Option<Gather>) -> Waiting {
        let end = Instant::now() + idle;
        // What was appended is settled soon: the writer wakes for that by itself, once, and is not woken.
        let mut settled_by = gather.map(|_| Instant::now() + SETTLE_WAIT);
        let asked = gather;
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            let settled = waiting.orders.len();
            let gather = gather
                .filter(|gather| gather.until > now && waiting.appends.len() < gather.appends)
                .filter(|gather| gather.orders.is_none_or(|wanted| settled < wanted));
            let append_at = gather.filter(|_| !waiting.appends.is_empty()).map(|gather| gather.until);
            let paced_until =
                append_at.filter(|_| !waiting.urgent && gather.is_some_and(|gather| gather.orders.is_some()));
            let settle_wait = if waiting.urgent { Duration::ZERO } else { SETTLE_WAIT };
            // Settlements that appends wait for are not taken before these are.
            let settle_at = waiting.orders_since.map(|since| (since + settle_wait).max(paced_until.unwrap_or(since)));
            let ready = waiting.closing
                || (!waiting.appends.is_empty() && append_at.is_none())
                || !waiting.burials.is_empty()
                || !waiting.repairs.is_empty()
                || !waiting.readers.is_empty()
                || settle_at.is_some_and(|at| at <= now)
                || end <= now;
            if ready {
                let closing = waiting.closing;
                let waited_long = waiting.appends_since.is_some_and(|since| now.duration_since(since) >= LATE_MIN);
                let paced = asked.filter(|gather| gather.until <= now).and_then(|gather| gather.orders);
                waiting.late = paced.filter(|wanted| waited_long && settled < *wanted).map(|_| Late);
                return Waiting { closing, ..mem::replace(&mut *waiting, Waiting { closing, ..Waiting::default() }) };
            }
            if !waiting.refills.is_empty() {
                // What gathers is left where it is.
                return Waiting { refills: mem::take(&mut waiting.refills), ..Waiting::default() };
            }
            // The first append wakes the writer, so that it sleeps no longer than `gather` says from then on.
            let gathering = gather.filter(|_| !waiting.appends.is_empty());
            waiting.wanted = gathering.map_or(1, |gather| gather.appends);
            waiting.wanted_orders = gathering.and_then(|gather| gather.orders).unwrap_or(usize::MAX);
            let until = [settle_at, append_at, settled_by].into_iter().flatten().fold(end, Instant::min);
            settled_by = None;
            waiting.wakes_at = Some(until);
            let (guard, _) = self
                .arrived
                .wait_timeout(waiting, until.saturating_duration_since(now))
                .unwrap_or_else(PoisonError::into_inner);
            waiting = guard;
            waiting.wakes_at = None;
        }
    }

    fn take_news(&self) -> News {
        mem::take(&mut *self.news())
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
