//! One client for each way to speak TLS, and the way of every webhook to its target. Made with each publication; what is the same as
//! before is kept, with its connections and tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Egress;
use crate::delivery::Failure;
use crate::webhook::grant::Grant;
use crate::webhook::tls::{Identity, Tls};
use crate::webhook::{Auth, Webhook};

use super::consent::Consent;
use super::tokens::{Fetched, Issued, Tokens};
use super::{Client, ClientError, Routes};

/// The clients of one publication.
pub struct Clients {
    egress: Egress,
    routes: Routes,
    by_identity: BTreeMap<Identity, Arc<Client>>,
    tokens: BTreeMap<[u8; 32], Arc<Tokens>>,
    ways: BTreeMap<Arc<str>, Arc<Way>>,
}

/// A webhook's way to its target.
pub struct Way {
    line: Line,
    tokens: Option<(Arc<Grant>, Line, Arc<Tokens>)>,
    /// Where the target's consent is asked for.
    consent: Option<Consent>,
}

/// A client with the settings that it speaks TLS by.
struct Line {
    client: Arc<Client>,
    tls: Arc<Tls>,
    identity: Identity,
}

impl Clients {
    /// The clients that these webhooks need, for what `egress` allows, and its `routes` without asking. Needs no runtime yet.
    pub fn new<'w>(
        egress: &Egress,
        routes: Routes,
        webhooks: impl IntoIterator<Item = &'w Arc<Webhook>>,
    ) -> Result<Self, ClientError> {
        Self::empty(egress, routes).next(egress, webhooks)
    }

    fn empty(egress: &Egress, routes: Routes) -> Self {
        let egress = egress.clone();
        Self { egress, routes, by_identity: BTreeMap::new(), tokens: BTreeMap::new(), ways: BTreeMap::new() }
    }

    /// The same for the next publication. What it needs of these is in it, and all else goes with these.
    pub fn next<'w>(
        &self,
        egress: &Egress,
        webhooks: impl IntoIterator<Item = &'w Arc<Webhook>>,
    ) -> Result<Self, ClientError> {
        let mut next = Self::empty(egress, self.routes.clone());
        let before = (self.egress == *egress).then_some(self);
        for webhook in webhooks {
            let known = before.and_then(|before| before.ways.get(&webhook.name)).filter(|way| way.is_of(webhook));
            let way = match known {
                Some(way) => Arc::clone(way),
                None => Arc::new(next.lead(self, before, webhook)?),
            };
            next.keep(&way);
            next.ways.insert(Arc::clone(&webhook.name), way);
        }
        Ok(next)
    }

    /// The way of a webhook of this publication.
    #[must_use]
    pub fn way(&self, webhook: &str) -> Option<&Arc<Way>> {
        self.ways.get(webhook)
    }

    /// The way of a webhook that went none before, or another. Tokens outlive a change of `[egress]`, connections do not.
    fn lead(&mut self, all: &Self, before: Option<&Self>, webhook: &Webhook) -> Result<Way, ClientError> {
        let line = self.line(before, &webhook.tls)?;
        let consent = asks(webhook).map(Consent::new);
        let Some(grant) = webhook.auth.as_ref().and_then(Auth::grant) else {
            return Ok(Way { line, tokens: None, consent });
        };
        let known = self.tokens.get(&grant.identity).or_else(|| all.tokens.get(&grant.identity));
        let tokens = known.cloned().unwrap_or_default();
        Ok(Way { line, tokens: Some((Arc::clone(grant), self.line(before, &grant.tls)?, tokens)), consent })
    }

    fn line(&self, before: Option<&Self>, tls: &Arc<Tls>) -> Result<Line, ClientError> {
        let identity = tls.identity();
        let known = self.by_identity.get(&identity).or_else(|| before?.by_identity.get(&identity));
        let client = match known {
            Some(known) => Arc::clone(known),
            None => Arc::new(Client::new(&self.egress, tls, self.routes.clone())?),
        };
        Ok(Line { client, tls: Arc::clone(tls), identity })
    }

    /// Remembers what a way is made of, for those that share it.
    fn keep(&mut self, way: &Way) {
        let mut keep = |line: &Line| {
            self.by_identity.entry(line.identity).or_insert_with(|| Arc::clone(&line.client));
        };
        keep(&way.line);
        if let Some((grant, line, tokens)) = &way.tokens {
            keep(line);
            self.tokens.insert(grant.identity, Arc::clone(tokens));
        }
    }
}

impl Way {
    /// What sends the webhook's requests.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.line.client
    }

    /// Whether the webhook's target wants a token.
    #[must_use]
    pub const fn needs_token(&self) -> bool {
        self.tokens.is_some()
    }

    /// A token for the webhook's target; `None` where it needs none. `refused` is one that the target did not accept.
    pub async fn token(&self, refused: Option<&Arc<Issued>>) -> Option<Fetched> {
        let (grant, line, tokens) = self.tokens.as_ref()?;
        Some(tokens.get(&line.client, grant, refused).await)
    }

    /// Sees to it that the target has consented, by `ask` where it has not been asked yet. One asks for all that wait.
    pub async fn consent(&self, ask: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        match &self.consent {
            Some(consent) => consent.get(ask).await,
            None => Ok(()),
        }
    }

    /// Whether a webhook goes this way.
    fn is_of(&self, webhook: &Webhook) -> bool {
        let grant = webhook.auth.as_ref().and_then(Auth::grant);
        let same_grant = match (&self.tokens, grant) {
            (Some((known, ..)), Some(grant)) => Arc::ptr_eq(known, grant) || known.identity == grant.identity,
            (known, grant) => known.is_none() && grant.is_none(),
        };
        // What was compiled again may mean the same.
        let same_tls = Arc::ptr_eq(&self.line.tls, &webhook.tls) || self.line.identity == webhook.tls.identity();
        let same_consent = self.consent.as_ref().map(|consent| consent.definition) == asks(webhook);
        same_tls && same_grant && same_consent
    }
}

/// What a webhook's definition is known by, where its target is asked for consent: another definition asks again.
fn asks(webhook: &Webhook) -> Option<u64> {
    webhook.envelope.as_ref().and_then(|envelope| envelope.origin.as_ref()).map(|_| webhook.fingerprint)
}
