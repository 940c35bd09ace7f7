//! Query parameters.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// First value of a parameter; its name is compared without case. A value that is not UTF-8 is read lossily.
pub fn param<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        key.eq_ignore_ascii_case(name).then(|| decode(value))
    })
}

fn decode(value: &str) -> Cow<'_, str> {
    if value.contains('+') {
        let spaced = value.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(value).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_value_without_case() {
        for (query, expected) in [
            (None, None),
            (Some(""), None),
            (Some("delay"), Some("")),
            (Some("delay=10s"), Some("10s")),
            (Some("a=b&DeLaY=1+day&delay=5s"), Some("1 day")),
            (Some("delay=1%20day"), Some("1 day")),
            (Some("delayed=1s&xdelay=2s"), None),
        ] {
            assert_eq!(param(query, "delay").as_deref(), expected, "{query:?}");
        }
    }
}
