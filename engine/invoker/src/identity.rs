//! Requests that prove who sends them (`spec/service-protocol.md` section 8).
//!
//! With a key, every request carries a token over its path, its key and the time, signed with Ed25519. Services that
//! know the public key refuse everything else. The token says nothing about the body: that is TLS's affair.

mod base58;

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};
use millrace_model::{
    TimestampMs,
    codes::{self, Code, Coded},
};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde::Serialize;

const SCHEME: HeaderName = HeaderName::from_static("x-restate-signature-scheme");
const TOKEN: HeaderName = HeaderName::from_static("x-restate-jwt-v1");
/// What public keys begin with where people read them.
const KEY_PREFIX: &str = "publickeyv1_";
/// A token is good so long before and after it is made: clocks differ.
const LEEWAY_SECONDS: u64 = 60;
/// A key file with some words around the key.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A key file cannot be used. No node starts with it: services would refuse what it sends.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the request identity key {path} {what}")]
pub struct IdentityError {
    path: PathBuf,
    what: What,
}

#[derive(Clone, Debug, thiserror::Error)]
enum What {
    #[error("cannot be read: {0}")]
    Unreadable(Arc<std::io::Error>),
    #[error("is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("has {0} private keys in PEM, where exactly one is needed")]
    NotOne(usize),
    #[error("is no PEM file: {0}")]
    Pem(String),
    #[error("is not an Ed25519 key in PKCS#8, as `openssl genpkey -algorithm ed25519` makes one")]
    NotEd25519,
}

impl Coded for IdentityError {
    fn code(&self) -> Code {
        codes::RT0002
    }
}

/// A private key and the name of its public half.
pub struct Identity {
    pair: Ed25519KeyPair,
    id: String,
    /// The same in all tokens, encoded.
    token_header: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    exp: u64,
    iat: u64,
    nbf: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
}

impl Identity {
    /// Reads a PEM file with exactly one Ed25519 private key.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let error = |what| IdentityError { path: path.to_owned(), what };
        let mut pem = Vec::new();
        let file = std::fs::File::open(path).map(|file| file.take(FILE_BYTES_MAX + 1));
        let read = file.and_then(|mut file| file.read_to_end(&mut pem));
        read.map_err(|source| error(What::Unreadable(Arc::new(source))))?;
        Self::from_pem(&pem).map_err(error)
    }

    fn from_pem(pem: &[u8]) -> Result<Self, What> {
        if pem.len() as u64 > FILE_BYTES_MAX {
            return Err(What::TooLarge);
        }
        let keys = PrivateKeyDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(|error| What::Pem(error.to_string()))?;
        let [key] = &keys[..] else { return Err(What::NotOne(keys.len())) };
        let PrivateKeyDer::Pkcs8(key) = key else { return Err(What::NotEd25519) };
        // Files of openssl have no public key in them that it could be checked against.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der());
        let pair = pair.map_err(|_| What::NotEd25519)?;
        let id = format!("{KEY_PREFIX}{}", base58::encode(pair.public_key().as_ref()));
        let header = format!(r#"{{"typ":"JWT","alg":"EdDSA","kid":"{id}"}}"#);
        Ok(Self { pair, id, token_header: URL_SAFE_NO_PAD.encode(header) })
    }

    /// The public key as services are given it: `publickeyv1_…`.
    pub fn key_id(&self) -> &str {
        &self.id
    }

    /// Adds what proves that a request is ours.
    ///
    /// * `path`: as the endpoint knows it, without the deployment's prefix and query.
    /// * `key`: of keyed targets, raw.
    pub(crate) fn sign(&self, headers: &mut HeaderMap, path: &str, key: Option<&str>, now: TimestampMs) {
        let mut token = HeaderValue::from_maybe_shared(bytes::Bytes::from(self.token(path, key, now.0 / 1000)))
            .expect("base64 and dots");
        // Never the same twice: it has no place in a connection's table of headers.
        token.set_sensitive(true);
        headers.insert(SCHEME, HeaderValue::from_static("v1"));
        headers.insert(TOKEN, token);
    }

    fn token(&self, path: &str, key: Option<&str>, now: u64) -> String {
        let (exp, nbf) = (now + LEEWAY_SECONDS, now.saturating_sub(LEEWAY_SECONDS));
        let claims = Claims { aud: path, exp, iat: now, nbf, sub: key };
        let claims = serde_json::to_vec(&claims).expect("texts and numbers can be written");
        let mut token = String::with_capacity(self.token_header.len() + claims.len() * 4 / 3 + 96);
        token.push_str(&self.token_header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.pair.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

#[cfg(test)]
mod tests;
