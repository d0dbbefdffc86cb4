//! Where the collector is and what it is told of us: `[traces]`, and what it leaves open the variables of OpenTelemetry.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use crate::config::{Traces, check_endpoint};

/// What spans are posted to.
const PATH: &str = "/v1/traces";
/// The name of the service where nothing is said.
const SERVICE_NAME: &str = "outrigger";
/// Attributes and headers that are taken out of a variable.
const PAIRS_MAX: usize = 64;

/// A collector, and who we are to it.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Where spans are posted.
    pub(super) uri: Uri,
    /// What goes with each request.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The attributes of this process.
    pub(super) resource: Vec<(String, String)>,
}

impl Endpoint {
    /// Reads all of it. `None` where no collector is named; the error is what is wrong with a variable.
    pub(super) fn read(traces: &Traces, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let named = |name: &'static str, more: &str| {
            variable(name).map(|url| (name, format!("{}{more}", url.trim().trim_end_matches('/'))))
        };
        let url = traces.endpoint.as_ref().map(|url| ("traces.endpoint", format!("{url}{PATH}")));
        let url = url.or_else(|| named("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""));
        let Some((from, url)) = url.or_else(|| named("OTEL_EXPORTER_OTLP_ENDPOINT", PATH)) else { return Ok(None) };
        check_endpoint(&url).map_err(|problem| format!("{from}: {problem}"))?;
        let uri: Uri = url.parse().map_err(|_| format!("{from}: this is no URL of a collector"))?;

        let mut headers = Vec::new();
        for (name, value) in &traces.headers {
            headers.extend(header(name.as_str(), value.expose()));
        }
        if headers.is_empty() {
            let name = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
            let text = variable(name).or_else(|| variable("OTEL_EXPORTER_OTLP_HEADERS")).unwrap_or_default();
            headers = pairs(&text).iter().filter_map(|(name, value)| header(name, value)).collect();
        }

        let mut resource: BTreeMap<String, String> =
            pairs(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default()).into_iter().collect();
        let service = traces.service_name.clone().or_else(|| variable("OTEL_SERVICE_NAME"));
        let service = service.or_else(|| resource.remove("service.name"));
        resource.insert("service.name".to_owned(), service.unwrap_or_else(|| SERVICE_NAME.to_owned()));
        resource.entry("service.version".to_owned()).or_insert_with(|| env!("CARGO_PKG_VERSION").to_owned());
        Ok(Some(Self { uri, headers, resource: resource.into_iter().collect() }))
    }
}

/// A header, its value a secret; `None` for what is none.
fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::try_from(name).ok()?, value))
}

/// `key=value,key=value`, percent-encoded; what is no pair is left out.
fn pairs(text: &str) -> Vec<(String, String)> {
    let decoded = |part: &str| percent_decode_str(part.trim()).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    let pairs = text.split(',').filter_map(|pair| pair.split_once('=')).take(PAIRS_MAX);
    pairs.filter_map(|(key, value)| Some((decoded(key)?, decoded(value)?))).filter(|(key, _)| !key.is_empty()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn read(traces: &Traces, variables: &[(&str, &str)]) -> Result<Option<Endpoint>, String> {
        let of = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Endpoint::read(traces, of)
    }

    fn service(endpoint: &Endpoint) -> &str {
        &endpoint.resource.iter().find(|(key, _)| key == "service.name").unwrap().1
    }

    #[test]
    fn variables_say_what_the_file_leaves_open() {
        let none = Traces::default();
        assert!(read(&none, &[]).unwrap().is_none());
        assert!(read(&none, &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().is_none());
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        let endpoint = read(&none, &[base]).unwrap().unwrap();
        assert_eq!(
            (endpoint.uri.to_string().as_str(), service(&endpoint)),
            ("http://collector:4318/v1/traces", "outrigger")
        );
        assert!(read(&none, &[base, ("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/otlp");
        assert_eq!(read(&none, &[base, own]).unwrap().unwrap().uri, "https://traces/otlp");

        let resource = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a, k8s.pod.name = p%2C1 ,,x,=y");
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t,x y=z");
        let endpoint = read(&none, &[base, resource, headers]).unwrap().unwrap();
        assert_eq!(service(&endpoint), "a");
        assert!(endpoint.resource.contains(&("k8s.pod.name".to_owned(), "p,1".to_owned())), "{:?}", endpoint.resource);
        assert_eq!((endpoint.headers.len(), &endpoint.headers[0].1), (1, &HeaderValue::from_static("Bearer t")));
        assert!(!format!("{endpoint:?}").contains("Bearer"));
        let named = read(&none, &[base, resource, ("OTEL_SERVICE_NAME", "b")]).unwrap().unwrap();
        assert_eq!(service(&named), "b");
        assert!(
            read(&none, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]).unwrap_err().contains("OTEL_EXPORTER")
        );
    }

    #[test]
    fn the_file_counts_over_them() {
        let traces = Traces {
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            service_name: Some("c".to_owned()),
            headers: vec![(HeaderName::from_static("x-key"), Secret::new("s".to_owned()))],
            ..Traces::default()
        };
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
            ("OTEL_SERVICE_NAME", "b"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=t"),
        ];
        let endpoint = read(&traces, &variables).unwrap().unwrap();
        assert_eq!((endpoint.uri.to_string().as_str(), service(&endpoint)), ("http://127.0.0.1:1/v1/traces", "c"));
        assert_eq!(endpoint.headers[0].0, "x-key");
    }
}
