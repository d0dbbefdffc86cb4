//! An authorization server: takes requests for client credentials, verifies who asks, and gives out tokens that it knows again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::receiver::Recorded;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::support::receiver;
use crate::support::receiver::Target;

/// The scope that is given out.
pub(super) const SCOPE: &str = "okta.workflows.invoke.manage";
/// Who may ask.
pub(super) const CLIENT_ID: &str = "0oa1client";
/// What proves it, where no key does.
pub(super) const CLIENT_SECRET: &str = "s3cret/+&of the client";

/// How the server wants to be asked.
pub(super) enum Method {
    Basic,
    Post,
    /// `private_key_jwt`: the public key and the name of the key.
    PrivateKey(Algorithm, DecodingKey, &'static str),
}

/// A running server and the receiver that takes its tokens. Both are one, by path.
pub(super) struct Authorization {
    pub(super) target: Target,
    state: Arc<Mutex<State>>,
}

struct State {
    method: Method,
    lifetime: Duration,
    /// Answered in place of what is right.
    failing: Option<Answer>,
    /// When each token was given out.
    tokens: BTreeMap<String, Instant>,
    revoked: BTreeSet<String>,
    assertions: BTreeSet<String>,
    /// Why requests for tokens were refused.
    refusals: Vec<String>,
    /// Requests of deliveries: which token, and whether it was good.
    uses: Vec<(String, bool)>,
}

impl Authorization {
    /// A server whose tokens live for so long. The path `/token` gives them out, all others take them.
    pub(super) fn start(method: Method, lifetime: Duration) -> Self {
        let state = State {
            method,
            lifetime,
            failing: None,
            tokens: BTreeMap::new(),
            revoked: BTreeSet::new(),
            assertions: BTreeSet::new(),
            refusals: Vec::new(),
            uses: Vec::new(),
        };
        let (target, state) = (receiver().start(), Arc::new(Mutex::new(state)));
        let (answering, url) = (Arc::clone(&state), target.url("/token"));
        target.respond_with(move |seen| {
            let mut state = answering.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.target.starts_with("/token") { state.give(seen, &url) } else { state.take(seen) }
        });
        Self { target, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers every request for a token so, until it is told otherwise.
    pub(super) fn fail(&self, answer: Option<Answer>) {
        self.state().failing = answer;
    }

    /// Takes back all tokens that were given out.
    pub(super) fn revoke(&self) {
        let mut state = self.state();
        let tokens: Vec<String> = state.tokens.keys().cloned().collect();
        state.revoked.extend(tokens);
    }

    /// How many tokens were given out.
    pub(super) fn given(&self) -> usize {
        self.state().tokens.len()
    }

    /// When tokens were given out, in order.
    pub(super) fn times(&self) -> Vec<Instant> {
        let mut times: Vec<Instant> = self.state().tokens.values().copied().collect();
        times.sort();
        times
    }

    /// Why requests for tokens were refused.
    pub(super) fn refusals(&self) -> Vec<String> {
        self.state().refusals.clone()
    }

    /// Deliveries' requests: how many came with a good token, and how many with another or none.
    pub(super) fn uses(&self) -> (usize, usize) {
        let state = self.state();
        let good = state.uses.iter().filter(|(_, good)| *good).count();
        (good, state.uses.len() - good)
    }
}

impl State {
    fn give(&mut self, seen: &Recorded, endpoint: &str) -> Answer {
        if let Some(answer) = &self.failing {
            return answer.clone();
        }
        if let Some((status, code, why)) = self.refusal(seen, endpoint) {
            self.refusals.push(why);
            let body = json!({ "error": code, "error_description": CLIENT_SECRET });
            return Answer::status(status).header("content-type", "application/json").body(body.to_string());
        }
        let token = format!("token-{}", self.tokens.len() + 1);
        self.tokens.insert(token.clone(), Instant::now());
        let seconds = self.lifetime.as_secs();
        let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": seconds, "scope": SCOPE });
        Answer::json(body.to_string())
    }

    /// Why a request for a token is refused, if it is.
    fn refusal(&mut self, seen: &Recorded, endpoint: &str) -> Option<(u16, &'static str, String)> {
        let form = form(&seen.body);
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        if seen.header("content-type") != "application/x-www-form-urlencoded" || seen.method != "POST" {
            return Some((400, "invalid_request", "it is no form".to_owned()));
        }
        if field("grant_type") != "client_credentials" {
            return Some((400, "unsupported_grant_type", format!("the grant is {}", field("grant_type"))));
        }
        if field("scope") != SCOPE {
            return Some((400, "invalid_scope", format!("the scope is {}", field("scope"))));
        }
        let wrong = match &self.method {
            Method::Basic => {
                let encode = |text: &str| {
                    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
                };
                let pair = format!("{}:{}", encode(CLIENT_ID), encode(CLIENT_SECRET));
                let expected = format!("Basic {}", STANDARD.encode(pair));
                (seen.header("authorization") != expected).then(|| seen.header("authorization").to_owned())
            }
            Method::Post => {
                let good = field("client_id") == CLIENT_ID && field("client_secret") == CLIENT_SECRET;
                (!good || !seen.header("authorization").is_empty()).then(|| format!("{form:?}"))
            }
            Method::PrivateKey(algorithm, key, key_id) => match assertion(*algorithm, key, key_id, &form, endpoint) {
                Ok(id) => (!self.assertions.insert(id)).then(|| "an assertion came twice".to_owned()),
                Err(why) => Some(why),
            },
        };
        wrong.map(|why| (401, "invalid_client", why))
    }

    /// A delivery's request.
    fn take(&mut self, seen: &Recorded) -> Answer {
        let token = seen.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        let given = self.tokens.get(token).filter(|_| !self.revoked.contains(token));
        let good = given.is_some_and(|given| given.elapsed() < self.lifetime);
        self.uses.push((token.to_owned(), good));
        if good { Answer::json("{\"ok\":true}") } else { Answer::status(401).body(format!("{{\"bad\":\"{token}\"}}")) }
    }
}

/// The id of a signed assertion, or what is wrong with it.
fn assertion(
    algorithm: Algorithm,
    key: &DecodingKey,
    key_id: &str,
    form: &BTreeMap<String, String>,
    endpoint: &str,
) -> Result<String, String> {
    let kind = form.get("client_assertion_type").map_or("", String::as_str);
    if kind != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || form.contains_key("client_secret") {
        return Err(format!("{form:?}"));
    }
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[endpoint]);
    validation.set_issuer(&[CLIENT_ID]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    let assertion = form.get("client_assertion").map_or("", String::as_str);
    let decoded = jsonwebtoken::decode::<Value>(assertion, key, &validation).map_err(|error| error.to_string())?;
    if decoded.header.kid.as_deref() != Some(key_id) || decoded.claims["sub"] != CLIENT_ID {
        return Err(format!("{:?} {:?}", decoded.header, decoded.claims));
    }
    let life = decoded.claims["exp"].as_i64().zip(decoded.claims["iat"].as_i64()).map(|(exp, iat)| exp - iat);
    if !life.is_some_and(|life| (1..=3600).contains(&life)) {
        return Err(format!("it lives for {life:?}"));
    }
    decoded.claims["jti"].as_str().map(str::to_owned).ok_or_else(|| "it has no id".to_owned())
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(a, b)| (decode(a), decode(b))).collect()
}
