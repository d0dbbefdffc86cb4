use std::collections::BTreeMap;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation};

use super::*;

fn grant(proof: Proof) -> Grant {
    Grant {
        uri: Uri::from_static("https://id.example.com/oauth2/v1/token"),
        client_id: Secret::new("0oa client".to_owned()),
        proof,
        scopes: vec!["okta.workflows.invoke.manage".to_owned(), "two".to_owned()],
        audience: Some("https://api.example.com/".to_owned()),
        parameters: vec![("resource".to_owned(), Secret::new("a&b".to_owned()))],
        tls: Arc::default(),
        identity: [0; 32],
    }
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let pairs = std::str::from_utf8(body).unwrap().split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

fn now() -> Timestamp {
    "2026-11-27T12:00:00Z".parse().unwrap()
}

#[test]
fn a_secret_goes_into_the_header_or_into_the_form() {
    let (headers, body) = grant(Proof::Basic(Secret::new("s:3cret".to_owned()))).request(now(), "x").unwrap();
    let expected = format!("Basic {}", STANDARD.encode("0oa%20client:s%3A3cret"));
    assert_eq!(headers[AUTHORIZATION], expected);
    assert!(headers[AUTHORIZATION].is_sensitive());
    let sent = form(&body);
    assert_eq!(sent["grant_type"], "client_credentials");
    assert_eq!(sent["scope"], "okta.workflows.invoke.manage two");
    assert_eq!((&*sent["audience"], &*sent["resource"]), ("https://api.example.com/", "a&b"));
    assert!(!sent.contains_key("client_id") && !sent.contains_key("client_secret"));

    let (headers, body) = grant(Proof::Post(Secret::new("s:3cret".to_owned()))).request(now(), "x").unwrap();
    assert!(!headers.contains_key(AUTHORIZATION));
    let sent = form(&body);
    assert_eq!((&*sent["client_id"], &*sent["client_secret"]), ("0oa client", "s:3cret"));
}

/// Private and public key, as PEM.
fn keys(algorithm: &'static rcgen::SignatureAlgorithm) -> (Secret, String) {
    let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
    (Secret::new(pair.serialize_pem()), pair.public_key_pem())
}

#[test]
fn an_assertion_says_who_asks_whom_and_until_when_and_is_signed() {
    for (made, algorithm) in
        [(&rcgen::PKCS_RSA_SHA256, Algorithm::RS256), (&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256)]
    {
        let (private, public) = keys(made);
        let key = AssertionKey::parse(&private).unwrap();
        let proof = Proof::PrivateKey { key: Some(Arc::new(key)), key_id: Some("key-1".to_owned()), audience: None };
        let (headers, body) = grant(proof).request(now(), "unique").unwrap();
        assert!(!headers.contains_key(AUTHORIZATION));
        let sent = form(&body);
        assert_eq!(sent["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let public = match algorithm {
            Algorithm::RS256 => DecodingKey::from_rsa_pem(public.as_bytes()),
            _ => DecodingKey::from_ec_pem(public.as_bytes()),
        };
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.set_audience(&["https://id.example.com/oauth2/v1/token"]);
        let decoded = jsonwebtoken::decode::<Value>(&sent["client_assertion"], &public.unwrap(), &validation).unwrap();
        assert_eq!((decoded.header.alg, decoded.header.kid.as_deref()), (algorithm, Some("key-1")));
        let claims = decoded.claims;
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["jti"]),
            (&json!("0oa client"), &json!("0oa client"), &json!("unique"))
        );
        assert_eq!(claims["iat"], json!(now().as_second()));
        assert_eq!(claims["exp"], json!(now().as_second() + 300));
    }
}

#[test]
fn the_audience_of_an_assertion_can_be_another_than_its_endpoint() {
    let key = AssertionKey::parse(&keys(&rcgen::PKCS_ECDSA_P256_SHA256).0).unwrap();
    let proof = Proof::PrivateKey {
        key: Some(Arc::new(key)),
        key_id: None,
        audience: Some("https://id.example.com".to_owned()),
    };
    let (_, body) = grant(proof).request(now(), "x").unwrap();
    let claims = form(&body)["client_assertion"].split('.').nth(1).map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
    assert_eq!(claims["aud"], "https://id.example.com");
}

#[test]
fn what_is_no_key_to_sign_with_is_refused_when_it_is_read() {
    let (p384, _) = keys(&rcgen::PKCS_ECDSA_P384_SHA384);
    let (ed25519, _) = keys(&rcgen::PKCS_ED25519);
    let (_, public) = keys(&rcgen::PKCS_ECDSA_P256_SHA256);
    for text in [p384.expose(), ed25519.expose(), &public, "", "PLACEHOLDER"] {
        assert!(AssertionKey::parse(&Secret::new(text.to_owned())).is_err(), "{text}");
    }
}

#[test]
fn an_answer_is_a_token_or_says_whose_fault_it_is() {
    let grant = grant(Proof::Post(Secret::new("secret".to_owned())));
    let read = |status: u16, body: &str| {
        grant.read(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes(), false, now())
    };
    let token = read(200, r#"{"access_token":"abc.def","token_type":"bearer","expires_in":60}"#).unwrap();
    assert_eq!((token.header.to_str().unwrap(), token.secret.expose()), ("Bearer abc.def", "abc.def"));
    assert!(token.header.is_sensitive());
    for (expires, seconds) in
        [("60", 60), ("\"60\"", 60), ("null", 300), ("-1", 0), ("1e300", 0), ("999999999", 86_400), ("0", 0)]
    {
        let body = format!(r#"{{"access_token":"abc","expires_in":{expires}}}"#);
        assert_eq!(read(200, &body).unwrap().lifetime, Duration::from_secs(seconds), "{expires}");
    }
    for (status, body, reason, says) in [
        (200, "{}", Reason::TokenRefused, "holds no access_token"),
        (200, "no json", Reason::TokenRefused, "holds no access_token"),
        (200, r#"{"access_token":"a b"}"#, Reason::TokenRefused, "cannot stand in a header"),
        (200, r#"{"access_token":"a\r\nx: y"}"#, Reason::TokenRefused, "cannot stand in a header"),
        (200, r#"{"access_token":"a","token_type":"mac"}"#, Reason::TokenRefused, "no bearer token"),
        (400, r#"{"error":"invalid_scope"}"#, Reason::TokenRefused, "answered 400 invalid_scope"),
        (
            401,
            r#"{"error":"invalid_client","error_description":"secret!"}"#,
            Reason::TokenRefused,
            "401 invalid_client",
        ),
        (401, r#"{"error":"<b>secret</b>"}"#, Reason::TokenRefused, "answered 401"),
        (302, "", Reason::TokenRefused, "answered 302"),
        (429, "", Reason::TokenUnavailable, "answered 429"),
        (503, "{}", Reason::TokenUnavailable, "answered 503"),
    ] {
        let failure = read(status, body).err().unwrap();
        assert_eq!((failure.reason, failure.status), (reason, None), "{status} {body}");
        assert!(failure.detail.ends_with(says), "{}", failure.detail);
        assert!(failure.detail.contains("id.example.com") && !failure.detail.contains("secret"));
    }
    let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static("7"))]);
    let failure = grant.read(StatusCode::SERVICE_UNAVAILABLE, &headers, b"", false, now()).err().unwrap();
    assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
    let cut = br#"{"access_token":"abc"}"#;
    assert!(grant.read(StatusCode::OK, &HeaderMap::new(), cut, true, now()).is_err());
}

#[test]
fn nothing_of_a_grant_is_in_its_debug_output() {
    let shown = format!("{:?}", grant(Proof::Post(Secret::new("hunter2".to_owned()))));
    assert_eq!(shown, "Grant { host: \"id.example.com\", scopes: [\"okta.workflows.invoke.manage\", \"two\"], .. }");
}
