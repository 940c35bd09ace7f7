//! Headers of every request (`additional-request-headers`).

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, de};

/// Names and values that fit into HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeaders(pub HeaderMap);

impl<'de> Deserialize<'de> for RequestHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in BTreeMap::<String, String>::deserialize(deserializer)? {
            let bad = |what: &str| de::Error::custom(format!("{name:?} {what}"));
            let header = HeaderName::try_from(name.as_str()).map_err(|_| bad("is not the name of a header"))?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| bad("has a value that does not fit"))?;
            // It may be a token: nobody prints it.
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        Ok(Self(headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_checked() {
        let headers = toml::from_str::<RequestHeaders>("x-a = 'b'\nAuthorization = 'c'").unwrap().0;
        assert_eq!((headers.len(), &headers["authorization"]), (2, &HeaderValue::from_static("c")));
        assert!(!format!("{headers:?}").contains("\"c\""));
        for text in ["'x a' = 'b'", "x = \"\\n\"", "x = 1"] {
            assert!(toml::from_str::<RequestHeaders>(text).is_err(), "{text}");
        }
    }
}
