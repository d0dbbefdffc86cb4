//! `webhooks/NAME.toml`.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use http::{HeaderName, Method};

use super::body::Judged;
use super::oauth2::Beside;
use super::{Around, auth, body, conditions, envelope, headers, ordering, parse, policy, signing, testcases, tls, url};
use crate::config::definition;
use crate::config::document::{At, Document, Report};
use crate::config::inputs::Inputs;
use crate::config::lint;
use crate::config::reference::WEBHOOK;
use crate::config::references::Resolver;
use crate::config::table::{Table, list};
use crate::config::tests::TestCase;
use crate::diagnostic::nearest;
use crate::kind::Kind;
use crate::secret::{Mask, Secret};
use crate::template::Format;
use crate::webhook::definition::Definition;
use crate::webhook::{Auth, Status, Triggers, Webhook, reads};

/// The kind of a file that names none.
const KIND_DEFAULT: &str = "request";

/// The longest title, in characters.
const TITLE_CHARS_MAX: usize = 200;

/// Compiles one webhook's file. `None` when it is faulty; the report says how.
pub(in crate::config) fn webhook(
    around: &Around<'_>,
    stem: &str,
    document: &Document,
    inputs: &mut Inputs<'_>,
    report: &mut Report,
    test_report: &mut Report,
    tests: &mut Vec<Arc<TestCase>>,
) -> Option<Webhook> {
    let parsed = parse(document, report)?;
    let root = Table::new(document, String::new(), At::new(document, 0..0), &parsed);
    root.refuse_unknown(report, WEBHOOK, "");

    let shared = &*around.compiled.shared;
    let name: Arc<str> = Arc::from(stem);
    let words = [("active", Status::Active), ("inactive", Status::Inactive), ("shadow", Status::Shadow)];
    let status = root.choice(report, "status", &words).unwrap_or(Status::Active);
    let mut resolver = Resolver::new(inputs, status == Status::Inactive);
    let title = title(report, &root);
    let kind = kind(report, &root, around);
    let triggers = triggers(report, &root, kind.as_deref());
    let method = method(report, &root);
    let url = match root.text(report, "url") {
        Some(text) => url::url(report, &text, &mut resolver, shared.egress.as_ref()),
        None if root.get("url").is_none() => {
            report.error(root.at, "the webhook has no `url`", "add url = \"https://…\"");
            None
        }
        None => None,
    };
    let tls = tls::tls(report, &root, &mut resolver, &shared.defaults.tls, shared.ca_named);
    let mut secrets = url.as_ref().map(url::secrets).unwrap_or_default();
    let beside = Beside { egress: shared.egress.as_ref(), tls: &tls };
    let auth = auth::auth(report, &root, &mut resolver, &beside, &mut secrets);
    let signing = signing::signing(report, &root, &mut resolver, &mut secrets);
    let headers = headers::headers(report, &root, auth.as_ref().map(Auth::header).as_ref(), &mut resolver);
    let content_type = body::content_type(report, &root);
    let strict = root.boolean(report, "strict").unwrap_or(false);
    let defaults = &shared.defaults;
    let body_bytes_max = usize::try_from(defaults.body_bytes_max).unwrap_or(usize::MAX);
    let judged = kind.as_deref().zip(triggers.as_ref());
    let judged = judged.map(|(kind, triggers)| Judged { kind, triggers, bytes_max: body_bytes_max });
    let format = content_type.as_ref().map_or(Format::Text, |(_, format)| *format);
    let mut from = body::From::default();
    let body = body::body(report, &root, (format, &method), judged.as_ref(), &mut resolver, &mut from);
    let auth_header = auth.as_ref().map(Auth::header);
    let names: Vec<&HeaderName> = headers.iter().map(|(name, _)| name).chain(&auth_header).collect();
    let templated = url.as_ref().is_some_and(|url| url.templated);
    let envelope = envelope::envelope(report, &root, (&method, templated, format), &names, &mut resolver);
    let filters = conditions::filters(report, &root, kind.as_deref());
    let validators = conditions::validators(report, &root);
    let timeout = root.duration(report, "timeout", policy::TIMEOUT).unwrap_or(defaults.timeout);
    let retry = policy::retry(report, &root, &defaults.retry);
    let limits = policy::limits(report, &root, defaults.limits);
    let breaker = policy::breaker(report, &root, defaults.breaker);
    let ordering = ordering::ordering(report, &root, kind.as_deref(), shared.ordered);
    tests.extend(testcases::tests(test_report, &root, &name, around.dir, &validators).into_iter().map(Arc::new));
    lint::allowed(report, &root);
    resolver.report_unset(report, root.at);

    (&document.text, format!("{defaults:?}"), shared.ordered, kind.as_ref().map(|kind| kind.fingerprint))
        .hash(&mut resolver.hasher);
    let ca_pem = shared.egress.as_ref().and_then(|egress| egress.ca_pem.as_ref());
    ca_pem.hash(&mut resolver.hasher);
    tls.identity().hash(&mut resolver.hasher);
    let fingerprint = resolver.hasher.finish();
    secrets.extend(definition::typed(document, &root, from.text.as_deref().map(Secret::expose)));
    let mask = Mask::new(secrets.iter().chain(&resolver.seen));
    let definition =
        Definition { file: document.name.clone(), text: Secret::new(document.text.clone()), body_file: from.file };

    let (url, body) = (url?, body?);
    let reads = reads(&url, &headers, &body, envelope.as_ref());

    Some(Webhook {
        name,
        title,
        status,
        kind: kind?,
        triggers: triggers?,
        method,
        url,
        headers,
        auth,
        signing,
        tls,
        mask,
        body,
        content_type: content_type?.0,
        envelope,
        reads,
        strict,
        body_bytes_max,
        timeout,
        filters,
        validators,
        ordering: ordering?,
        retry,
        breaker,
        rate: policy::rate(limits),
        concurrency: usize::try_from(limits.concurrency).unwrap_or(usize::MAX),
        response_bytes_max: usize::try_from(limits.response_bytes_max).unwrap_or(usize::MAX),
        definition,
        fingerprint,
    })
}

fn title(report: &mut Report, root: &Table<'_>) -> Option<String> {
    let text = root.text(report, "title")?;
    if text.value.chars().count() > TITLE_CHARS_MAX || text.value.chars().any(char::is_control) {
        let problem = format!("a title has {TITLE_CHARS_MAX} characters at most, on one line");
        report.error(text.at, problem, "make it shorter");
    }
    Some(text.value.to_owned())
}

fn kind(report: &mut Report, root: &Table<'_>, around: &Around<'_>) -> Option<Arc<Kind>> {
    let kinds = &around.compiled.kinds;
    let text = root.text(report, "kind");
    if text.is_none() && root.get("kind").is_some() {
        return None;
    }
    let name = text.as_ref().map_or(KIND_DEFAULT, |text| text.value);
    let kind = kinds.get(name).cloned();
    if let (None, Some(text), true) = (&kind, text, around.compiled.kinds_complete) {
        let names: Vec<&str> = kinds.keys().map(|name| &**name).collect();
        let fix = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("the kinds are {}; others are defined in outrigger.toml as [kinds.NAME]", list(&names)),
        };
        report.error(text.at, "there is no such kind", fix);
    }
    kind
}

fn triggers(report: &mut Report, root: &Table<'_>, kind: Option<&Kind>) -> Option<Triggers> {
    if root.get("triggers").is_none() {
        return Some(Triggers::All);
    }
    let texts = root.texts(report, "triggers")?;
    if texts.is_empty() {
        let at = root.get("triggers").map_or(root.at, |entry| entry.node.at);
        report.error(
            at,
            "`triggers` is empty: nothing would start the webhook",
            "remove it for every type, or list some",
        );
        return None;
    }
    let kind = kind?;
    let mut only = BTreeSet::new();
    for text in texts {
        if let Some(canonical) = kind.canonical(text.value) {
            only.insert(canonical);
            continue;
        }
        let known = kind.triggers();
        let fix = match nearest(text.value, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"? The triggers are {}", list(&known)),
            None => format!("the triggers are {}", list(&known)),
        };
        report.error(text.at, format!("the kind `{}` has no trigger \"{}\"", kind.name, text.value), fix);
    }
    Some(Triggers::Only(only))
}

fn method(report: &mut Report, root: &Table<'_>) -> Method {
    let words = ["POST", "PUT", "DELETE", "PATCH", "GET"];
    let methods = [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::GET];
    let numbered: Vec<(&str, usize)> = words.into_iter().zip(0..).collect();
    let chosen = root.choice(report, "method", &numbered).unwrap_or(0);
    methods.get(chosen).cloned().unwrap_or(Method::POST)
}
