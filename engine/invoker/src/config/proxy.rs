//! Which requests go through a proxy (`http-proxy`, `no-proxy`).

use std::{fmt, str::FromStr};

use http::{Uri, uri::Authority};
use serde::{Deserialize, Deserializer, de};

/// Where requests are sent in place of their endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUri {
    pub(crate) tls: bool,
    pub(crate) authority: Authority,
}

/// A text is not the address of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a proxy is written like http://127.0.0.1:10001, without credentials and path")]
pub struct ProxyUriError;

impl FromStr for ProxyUri {
    type Err = ProxyUriError;

    /// A missing scheme is `http`, as in the environment variables of most programs.
    fn from_str(text: &str) -> Result<Self, ProxyUriError> {
        let text = text.trim();
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|_| ProxyUriError)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(ProxyUriError),
        };
        let authority = uri.authority().filter(|a| !a.host().is_empty() && !a.as_str().contains('@'));
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = authority.filter(|_| bare).ok_or(ProxyUriError)?.clone();
        Ok(Self { tls, authority })
    }
}

impl<'de> Deserialize<'de> for ProxyUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Hosts that are reached without the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<String>);

impl NoProxy {
    fn new<'a>(entries: impl Iterator<Item = &'a str>) -> Self {
        let host = |entry: &'a str| {
            let entry = entry.trim();
            // The port, and the dot that stands for "and all below": neither says anything here.
            let end = match entry.rfind(':') {
                Some(colon) if entry.starts_with('[') || entry.matches(':').count() == 1 => colon,
                _ => entry.len(),
            };
            let end = if entry.ends_with(']') { entry.len() } else { end };
            entry[..end].trim_start_matches("*.").trim_matches(['[', ']', '.']).to_ascii_lowercase()
        };
        Self(entries.map(host).filter(|host| !host.is_empty()).collect())
    }

    /// * `host`: without brackets.
    pub(crate) fn lists(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.0.iter().any(|entry| {
            let below = || host.strip_suffix(entry.as_str()).is_some_and(|rest| rest.ends_with('.'));
            entry == "*" || *entry == host || below()
        })
    }
}

impl<'de> Deserialize<'de> for NoProxy {
    /// A list, or a text with commas, as environment variables have it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = NoProxy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hosts, such as [\"localhost\", \"example.com\"] or \"localhost,example.com\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<NoProxy, E> {
                Ok(NoProxy::new(text.split(',')))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<NoProxy, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element::<String>()? {
                    entries.push(entry);
                }
                Ok(NoProxy::new(entries.iter().map(String::as_str)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read() {
        for (text, tls, authority) in [
            ("http://127.0.0.1:10001", false, "127.0.0.1:10001"),
            ("https://proxy.example/", true, "proxy.example"),
            ("proxy:3128", false, "proxy:3128"),
            (" http://[::1]:1 ", false, "[::1]:1"),
        ] {
            let proxy: ProxyUri = text.parse().unwrap();
            assert_eq!((proxy.tls, proxy.authority.as_str()), (tls, authority), "{text}");
        }
        for text in ["", "socks5://a:1", "http://", "http://u:p@a:1", "http://a/b", "http://a?b", "http://a b"] {
            assert!(text.parse::<ProxyUri>().is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_left_out_with_all_below() {
        let list =
            NoProxy::new(["localhost:80", ".Example.com", "10.0.0.1", "[::1]:80", "fe80::1", "*.k8s", ""].into_iter());
        for host in ["localhost", "example.com", "a.b.EXAMPLE.com", "10.0.0.1", "::1", "fe80::1", "k8s", "a.k8s"] {
            assert!(list.lists(host), "{host}");
        }
        for host in ["example.org", "notexample.com", "10.0.0.11", "::2", "fe80", ""] {
            assert!(!list.lists(host), "{host}");
        }
        assert!(NoProxy::new(["*"].into_iter()).lists("anything"));
        assert!(!NoProxy::default().lists("localhost"));
        #[derive(Deserialize)]
        struct Section {
            no_proxy: NoProxy,
        }
        let read = |text| toml::from_str::<Section>(text).unwrap().no_proxy;
        assert_eq!(read("no_proxy = ['a', 'b']"), read("no_proxy = ' a,b,'"));
        assert_eq!(read("no_proxy = []"), NoProxy::default());
    }
}
