//! Where an endpoint is, and which HTTP it speaks.

use std::fmt;

use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

/// Which HTTP to speak to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by prior knowledge on `http://`, by ALPN on `https://`.
    Http2,
    /// What the endpoint chooses by ALPN; HTTP/2 on `http://`. For discovery, which finds out.
    Negotiate,
}

/// Where connections go: endpoints that differ in their path only share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub(crate) tls: bool,
    pub(crate) authority: Authority,
    pub(crate) wire: Wire,
}

impl Origin {
    /// Without brackets, for name resolution and TLS.
    pub(crate) fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.tls { 443 } else { 80 })
    }

    fn scheme(&self) -> Scheme {
        if self.tls { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority)
    }
}

/// A text is not the address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{uri}' is not the address of an endpoint: {what}")]
pub struct AddressError {
    uri: String,
    what: &'static str,
}

/// An endpoint: origin, path prefix and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(crate) origin: Origin,
    /// Without a slash at the end.
    prefix: Box<str>,
    /// With its question mark; mostly empty.
    query: Box<str>,
}

impl Address {
    /// * `uri`: `http://` or `https://`; a path is put before every path of the protocol, a query is kept.
    pub fn parse(uri: &str, wire: Wire) -> Result<Self, AddressError> {
        let error = |what| AddressError { uri: uri.chars().take(256).collect(), what };
        let parsed: Uri = uri.parse().map_err(|_| error("it does not parse"))?;
        let tls = match parsed.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(error("the scheme must be http or https")),
        };
        let authority = parsed.authority().filter(|a| !a.host().is_empty()).ok_or_else(|| error("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(error("credentials are not supported; use additional headers"));
        }
        let query = parsed.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self {
            origin: Origin { tls, authority: authority.clone(), wire },
            prefix: parsed.path().trim_end_matches('/').into(),
            query: query.into(),
        })
    }

    /// The address under which `service/handler` is invoked. Names are URL safe by their patterns.
    pub(crate) fn invoke(&self, service: &str, handler: &str) -> Result<Uri, http::Error> {
        self.at(&["/invoke/", service, "/", handler])
    }

    /// The address of discovery.
    pub(crate) fn discover(&self) -> Result<Uri, http::Error> {
        self.at(&["/discover"])
    }

    fn at(&self, parts: &[&str]) -> Result<Uri, http::Error> {
        let length = self.prefix.len() + self.query.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        let mut path = String::with_capacity(length);
        path.push_str(&self.prefix);
        parts.iter().for_each(|part| path.push_str(part));
        path.push_str(&self.query);
        let path = PathAndQuery::from_maybe_shared(bytes::Bytes::from(path))?;
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.origin.scheme());
        uri.authority = Some(self.origin.authority.clone());
        uri.path_and_query = Some(path);
        Ok(Uri::from_parts(uri)?)
    }
}

impl fmt::Display for Address {
    /// For people: without the query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_without_a_doubled_slash() {
        for (uri, expected) in [
            ("http://localhost:9080", "http://localhost:9080/invoke/S/h"),
            ("http://localhost:9080/", "http://localhost:9080/invoke/S/h"),
            ("http://localhost:9080/restate/v1/", "http://localhost:9080/restate/v1/invoke/S/h"),
            ("https://example.com/a?token=x", "https://example.com/a/invoke/S/h?token=x"),
            ("http://[::1]:80/a", "http://[::1]:80/a/invoke/S/h"),
        ] {
            let address = Address::parse(uri, Wire::Http2).unwrap();
            assert_eq!(address.invoke("S", "h").unwrap().to_string(), expected);
        }
        let address = Address::parse("http://[::1]/a?b", Wire::Http2).unwrap();
        assert_eq!(address.discover().unwrap().to_string(), "http://[::1]/a/discover?b");
        assert_eq!((address.origin.host(), address.origin.port()), ("::1", 80));
    }

    #[test]
    fn other_texts_are_refused() {
        for uri in ["", "localhost:9080", "/a", "ftp://a", "http://", "http://u:p@a/", "arn:aws:lambda", "http://a b"] {
            assert!(Address::parse(uri, Wire::Http2).is_err(), "{uri}");
        }
    }
}
