use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use super::*;

const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIGpOscQf4l7igdfZjINP6g6PVe06a+koKSu90HImy2mq\n\
    -----END PRIVATE KEY-----\n";
/// Of an RSA key: what counts is its label.
const PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----\nMAMCAQA=\n-----END RSA PRIVATE KEY-----\n";

fn identity() -> Identity {
    Identity::from_pem(PEM.as_bytes()).unwrap()
}

fn parts(token: &str) -> [Vec<u8>; 3] {
    let parts: Vec<_> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    parts.try_into().unwrap()
}

#[test]
fn the_public_key_is_named_as_services_expect() {
    assert_eq!(identity().key_id(), "publickeyv1_6J6TbDuiDuGdF83KWKinDxXeeDriZcAizNR38EURq93P");
}

#[test]
fn a_token_says_what_it_is_for() {
    let identity = identity();
    let token = identity.token("/invoke/H1/ok", Some("my key/é\""), 1_795_365_703);
    let [header, claims, signature] = parts(&token);
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header, json!({"typ": "JWT", "alg": "EdDSA", "kid": identity.key_id()}));
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let expected = json!({
        "aud": "/invoke/H1/ok", "exp": 1_795_365_763, "iat": 1_795_365_703, "nbf": 1_795_365_643, "sub": "my key/é\"",
    });
    assert_eq!(claims, expected);
    let signed = &token[..token.rfind('.').unwrap()];
    let public = UnparsedPublicKey::new(&ED25519, identity.pair.public_key().as_ref());
    public.verify(signed.as_bytes(), &signature).unwrap();
    let [_, claims, _] = parts(&identity.token("/discover", None, 0));
    assert_eq!(claims, br#"{"aud":"/discover","exp":60,"iat":0,"nbf":0}"#);
}

#[test]
fn both_headers_are_set_over_what_was_there() {
    let mut headers = HeaderMap::new();
    headers.insert(TOKEN, HeaderValue::from_static("forged"));
    identity().sign(&mut headers, "/discover", None, TimestampMs(1000));
    assert_eq!(headers[SCHEME], "v1");
    assert!(headers[TOKEN].is_sensitive() && headers[TOKEN] != "forged");
    assert_eq!(headers.len(), 2);
}

#[test]
fn other_files_are_refused_with_the_reason() {
    let long = "x".repeat(100_000);
    let twice = format!("{PEM}{PEM}");
    let cut = PEM.replace("2mq\n", "\n");
    for (pem, what) in [
        ("", "has 0 private keys"),
        ("hello", "has 0 private keys"),
        (&*twice, "has 2 private keys"),
        (&long, "larger than 65536 bytes"),
        (PKCS1, "is not an Ed25519 key"),
        (&cut, ""),
        ("-----BEGIN PRIVATE KEY-----\n%%%\n-----END PRIVATE KEY-----\n", "is no PEM file"),
    ] {
        let error = Identity::from_pem(pem.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(what), "{pem:.60}: {error}");
    }
    let words = format!("a key\n{PEM}its end\n");
    assert!(Identity::from_pem(words.as_bytes()).is_ok());
    let error = Identity::load(Path::new("/does/not/exist.pem")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/does/not/exist.pem") && text.contains("cannot be read"), "{text}");
    assert_eq!(error.code().id, "RT0002");
}
