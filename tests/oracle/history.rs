//! What is written down of a run, as it was seen from outside of the process. The judge reads nothing else.

use std::time::Duration;

use super::webhooks::COUNT;

/// A time of the run, counted from its beginning.
pub(super) type Moment = Duration;

/// All that was seen.
#[derive(Default)]
pub(super) struct History {
    pub(super) seed: u64,
    /// In the order of their ends.
    pub(super) posts: Vec<Post>,
    /// In the order of their arrival.
    pub(super) requests: Vec<Request>,
    pub(super) lives: Vec<Life>,
    /// The states of the configuration, oldest first; each holds until the next one.
    pub(super) states: Vec<State>,
    pub(super) outages: Vec<Outage>,
    pub(super) cuts: Vec<Cut>,
    pub(super) burials: Vec<Burial>,
    /// Dead letters that were replayed, and when that was asked for.
    pub(super) replays: Vec<(String, Moment)>,
    /// By the processes' own logs.
    pub(super) attempts: Vec<Attempt>,
    /// What was done to whom, for people.
    pub(super) acts: Vec<(Moment, String)>,
    /// Lines of the log that tell of an error or a panic, each with the number of its process.
    pub(super) complaints: Vec<(usize, String)>,
}

/// One request to the ingest listener.
#[derive(Clone, Debug)]
pub(super) struct Post {
    /// The numbers of its events.
    pub(super) events: Vec<u64>,
    /// The one webhook that it names.
    pub(super) invoked: Option<usize>,
    pub(super) key: Option<String>,
    pub(super) begun: Moment,
    pub(super) ended: Moment,
    pub(super) result: Posted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Posted {
    /// 202, or 200 after a wait: a receipt for each event.
    Taken(Vec<Receipt>),
    /// Any other answer.
    Refused { status: u16, retry_after: bool },
    /// No answer came.
    Lost(String),
}

/// What was said of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) event: String,
    /// The webhooks that owe it, and what became of it where that was waited for.
    pub(super) owed: Vec<(String, Option<Told>)>,
}

/// What a waiting sender was told of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Delivered,
    Dead(String),
}

/// One request that a receiver got.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) webhook: usize,
    /// Its `webhook-id`.
    pub(super) id: String,
    /// The number of the event that it carries and the version of the template, or why it is not what it should be.
    pub(super) payload: Result<(u64, u32), String>,
    /// Which process sent it.
    pub(super) life: usize,
    pub(super) at: Moment,
    pub(super) reply: Reply,
}

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// 200, and every validator is content.
    Accept,
    /// The same after this many milliseconds.
    AcceptAfter(u16),
    Status(u16),
    /// A status with `Retry-After`, in seconds.
    RetryAfter(u16, u16),
    /// 200 with a body that a validator does not pass.
    Invalid,
    /// The connection or stream ends without an answer.
    Close,
    /// 200, and the connection ends in the middle of the body.
    BreakOff,
    /// Nothing comes.
    Hang,
    /// What comes is no HTTP.
    Garbage,
}

impl Request {
    pub(super) fn accepted(&self) -> bool {
        matches!(self.reply, Reply::Accept | Reply::AcceptAfter(_))
    }

    /// When its answer was sent.
    pub(super) fn answered(&self) -> Moment {
        match self.reply {
            Reply::AcceptAfter(ms) => self.at + Duration::from_millis(ms.into()),
            _ => self.at,
        }
    }
}

/// One process.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) begun: Moment,
    /// When its end was asked for, and when it had ended.
    pub(super) asked: Moment,
    pub(super) ended: Moment,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Killed,
    Drained,
    /// By itself, or not as it was asked to.
    Wrong,
}

/// The configuration from a moment on.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) at: Moment,
    /// A faulty one never comes into force.
    pub(super) good: bool,
    pub(super) webhooks: [Defined; COUNT],
}

/// One webhook's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Defined {
    pub(super) status: Status,
    /// What its template prints.
    pub(super) version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Active,
    Inactive,
    Absent,
}

/// A time in which every answer to a webhook said that its target does not work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    pub(super) webhook: usize,
    pub(super) from: Moment,
    pub(super) to: Moment,
}

/// A time in which connections to a receiver were cut: answers on their way may have been lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) receiver: usize,
    pub(super) from: Moment,
    pub(super) to: Moment,
}

/// A dead letter.
#[derive(Clone, Debug)]
pub(super) struct Burial {
    pub(super) id: String,
    /// The number of the event that is kept with it.
    pub(super) number: Option<u64>,
    pub(super) reason: String,
    pub(super) attempts: u32,
    pub(super) at: Moment,
}

/// An attempt as the process that made it tells of it: when it began nobody else can know.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) id: String,
    pub(super) begun: Moment,
    pub(super) ended: Moment,
    pub(super) failed: bool,
    /// No answer came in time.
    pub(super) timed_out: bool,
}
