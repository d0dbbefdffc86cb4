//! Tokens of OAuth 2.0: fetched when one is needed, kept until shortly before they expire, and shared by all who need the same one.
//!
//! However many deliveries wait, one fetch runs for all of them, and what it comes to, token or failure, is theirs. A fetch that is
//! dropped in the middle is begun anew by the next who waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use jiff::Timestamp;
use uuid::Uuid;

use crate::delivery::{Failure, Reason};
use crate::secret::Secret;
use crate::webhook::grant::{Grant, Token};

use super::{Client, Limits};

/// How long a token endpoint may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of its answer is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A token is fetched anew so long before it expires, but not before three quarters of its life are over.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);
/// A token that could not be renewed is used on for so long before the next try, while it lives.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);
/// Targets that refuse every token cause a fetch no more often than this.
const REPLACEMENT_INTERVAL: Duration = Duration::from_secs(10);

/// A token that was given out.
pub struct Issued {
    /// `Bearer` and the token, as a header has it.
    pub header: HeaderValue,
    /// The token alone, to be masked.
    pub secret: Secret,
    renew_at: Instant,
    expires_at: Instant,
    /// Which fetch it came from.
    number: u64,
}

impl Issued {
    /// Whether it is the same token: asking for another one gave none.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

/// What asking for a token came to.
pub struct Fetched {
    /// The token, or why there is none.
    pub token: Result<Arc<Issued>, Failure>,
    /// Whether the server gave one out, if it was asked.
    pub issued: Option<bool>,
}

/// The token of one grant, with what outlives reloads.
#[derive(Default)]
pub(super) struct Tokens {
    kept: Mutex<Option<Arc<Issued>>>,
    /// How many fetches have ended.
    ended: AtomicU64,
    /// Held while a fetch runs.
    fetch: tokio::sync::Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// What the last fetch came to.
    token: Option<Result<Arc<Issued>, Failure>>,
    /// When a token was last replaced that a target had refused.
    replaced: Option<Instant>,
}

impl Tokens {
    /// A token that is good for a while. `refused` is one that the target did not accept: another one is wanted, and the same one is
    /// the answer where one was replaced just before.
    pub(super) async fn get(&self, client: &Client, grant: &Grant, refused: Option<&Arc<Issued>>) -> Fetched {
        let kept = |token| Fetched { token: Ok(token), issued: None };
        if let Some(token) = self.good(refused) {
            return kept(token);
        }
        let seen = self.ended.load(Ordering::Acquire);
        let mut last = self.fetch.lock().await;
        if let Some(token) = self.good(refused) {
            return kept(token);
        }
        // What ended while this one waited is as fresh as what it would fetch itself.
        let shared = last.token.as_ref().filter(|_| self.ended.load(Ordering::Acquire) > seen);
        if let Some(token) = shared {
            return Fetched { token: token.clone(), issued: None };
        }
        if let Some(refused) = refused
            && last.replaced.is_some_and(|replaced| replaced.elapsed() < REPLACEMENT_INTERVAL)
        {
            return kept(Arc::clone(refused));
        }
        let number = seen + 1;
        let mut token = fetch(client, grant, number).await;
        let issued = Some(token.is_ok());
        match &token {
            Ok(token) => {
                *self.kept() = Some(Arc::clone(token));
                last.replaced = refused.map(|_| Instant::now()).or(last.replaced);
            }
            // A server that is away for a moment takes nothing from those whose token still lives.
            Err(_) if refused.is_none() => token = self.postponed().map_or(token, Ok),
            Err(_) => {}
        }
        last.token = Some(token.clone());
        self.ended.store(number, Ordering::Release);
        Fetched { token, issued }
    }

    /// The token that is kept, where it is good and not the one that was refused.
    fn good(&self, refused: Option<&Arc<Issued>>) -> Option<Arc<Issued>> {
        let kept = self.kept().clone()?;
        let other = refused.is_none_or(|refused| !refused.is_same(&kept));
        (other && Instant::now() < kept.renew_at).then_some(kept)
    }

    /// The token that is kept, where it lives: its renewal is tried again in a while.
    fn postponed(&self) -> Option<Arc<Issued>> {
        let mut kept = self.kept();
        let now = Instant::now();
        let Issued { header, secret, expires_at, number, .. } = kept.as_deref().filter(|kept| now < kept.expires_at)?;
        let renew_at = (now + RENEWAL_PAUSE).min(*expires_at);
        let (header, secret, expires_at, number) = (header.clone(), secret.clone(), *expires_at, *number);
        *kept = Some(Arc::new(Issued { header, secret, renew_at, expires_at, number }));
        kept.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Option<Arc<Issued>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(client: &Client, grant: &Grant, number: u64) -> Result<Arc<Issued>, Failure> {
    let begun = Instant::now();
    let (headers, body) = grant.request(Timestamp::now(), &Uuid::now_v7().to_string())?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = grant.uri.clone();
    *request.headers_mut() = headers;
    let limits = Limits { timeout: FETCH_TIMEOUT, response_bytes_max: ANSWER_BYTES_MAX };
    let answer = client.send(request, limits).await.map_err(|failure| match failure.reason {
        // The guard's answer names the key to set, and nothing but an edit helps.
        Reason::BlockedAddress => failure,
        _ => Failure::new(Reason::TokenUnavailable, format!("no token: {}", failure.detail)),
    })?;
    let Token { header, secret, lifetime } =
        grant.read(answer.status, &answer.headers, &answer.body, answer.truncated, Timestamp::now())?;
    let good_for = lifetime.saturating_sub(EXPIRY_MARGIN.min(lifetime / 4));
    // It was given out after the request was sent: counted from there it is never thought to live too long.
    Ok(Arc::new(Issued { header, secret, renew_at: begun + good_for, expires_at: begun + lifetime, number }))
}
