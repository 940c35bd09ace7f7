//! What a handler takes and gives over HTTP (`spec/service-protocol.md` section 1.3, `spec/ingress-api.md` 2.2).

use serde::{Deserialize, Serialize};

/// A media type, or `type/*`, or `*/*`, without parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MediaPattern(String);

/// Longest media type taken; twice what RFC 6838 allows for both names.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;

impl MediaPattern {
    /// `*/*`.
    pub fn any() -> Self {
        Self("*/*".to_owned())
    }

    /// The pattern as declared.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Ignores case, and parameters of `content_type`.
    pub fn matches(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let (Some((ty, subtype)), Some((pattern_ty, pattern_subtype))) =
            (essence.split_once('/'), self.0.split_once('/'))
        else {
            return false;
        };
        let part = |pattern: &str, part: &str| pattern == "*" || pattern.eq_ignore_ascii_case(part);
        part(pattern_ty, ty) && part(pattern_subtype, subtype)
    }
}

impl TryFrom<String> for MediaPattern {
    type Error = BadMediaType;

    fn try_from(text: String) -> Result<Self, BadMediaType> {
        let token = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        };
        // Parameters of a declared type, such as a charset, do not restrict what is accepted.
        let essence = text.split(';').next().unwrap_or_default().trim();
        match essence.split_once('/') {
            Some((ty, subtype)) if essence.len() <= MEDIA_TYPE_BYTES_MAX && token(ty) && token(subtype) => {
                // `*/json` means nothing.
                if ty == "*" && subtype != "*" { Err(BadMediaType) } else { Ok(Self(essence.to_owned())) }
            }
            _ => Err(BadMediaType),
        }
    }
}

impl From<MediaPattern> for String {
    fn from(pattern: MediaPattern) -> Self {
        pattern.0
    }
}

/// Not a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a media type")]
pub struct BadMediaType;

/// Which requests a handler takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRule {
    /// A body has to be there, or at least its content type.
    pub required: bool,
    /// `None`: no body and no content type is expected.
    pub content_type: Option<MediaPattern>,
}

impl Default for InputRule {
    /// Of a handler that does not say.
    fn default() -> Self {
        Self { required: false, content_type: Some(MediaPattern::any()) }
    }
}

impl InputRule {
    /// Whether a request with this content type, and a body or not, is taken. The error's text is the whole message of
    /// the ingress's 400.
    pub fn accepts(&self, content_type: Option<&str>, body_empty: bool) -> Result<(), InputError> {
        let Some(pattern) = &self.content_type else {
            return match (content_type, body_empty) {
                (None, true) if !self.required => Ok(()),
                // A body of unknown type is wanted: the declaration contradicts itself, so anything goes.
                _ if self.required => Ok(()),
                _ => Err(InputError::NotEmpty { content_type: content_type.map(str::to_owned) }),
            };
        };
        if body_empty && !self.required {
            return Ok(());
        }
        match content_type {
            None => Err(InputError::NoContentType),
            Some(content_type) if pattern.matches(content_type) => Ok(()),
            Some(content_type) => Err(InputError::Mismatch {
                content_type: content_type.to_owned(),
                expected: pattern.as_str().to_owned(),
            }),
        }
    }

    /// A call without body and content type, as a GET mostly is, is taken.
    pub fn accepts_nothing(&self) -> bool {
        self.accepts(None, true).is_ok()
    }

    /// As the admin API shows it: `none` or the media type.
    pub fn description(&self) -> &str {
        self.content_type.as_ref().map_or("none", MediaPattern::as_str)
    }
}

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The handler takes no input.
    #[error(
        "input validation error: Expected body and content-type to be empty, but wasn't with content-type '{content_type:?}'"
    )]
    NotEmpty { content_type: Option<String> },
    /// A body of which nothing is known.
    #[error("input validation error: Empty content-type")]
    NoContentType,
    /// Another type.
    #[error("input validation error: Content-type '{content_type}' does not match '{expected}'")]
    Mismatch { content_type: String, expected: String },
}

/// What a handler's answers are labelled with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRule {
    /// `None`: never labelled.
    pub content_type: Option<String>,
    /// Also when there are no bytes.
    pub set_content_type_if_empty: bool,
}

impl Default for OutputRule {
    /// Of a handler that does not say.
    fn default() -> Self {
        Self { content_type: Some("application/json".to_owned()), set_content_type_if_empty: false }
    }
}

impl OutputRule {
    /// The `content-type` of an answer.
    pub fn content_type(&self, body_empty: bool) -> Option<&str> {
        if body_empty && !self.set_content_type_if_empty { None } else { self.content_type.as_deref() }
    }

    /// As the admin API shows it: `none` or the media type.
    pub fn description(&self) -> &str {
        self.content_type.as_deref().unwrap_or("none")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(required: bool, content_type: Option<&str>) -> InputRule {
        let content_type = content_type.map(|text| MediaPattern::try_from(text.to_owned()).unwrap());
        InputRule { required, content_type }
    }

    fn check(rule: &InputRule, content_type: Option<&str>, body_empty: bool, expected: Result<(), &str>) {
        let result = rule.accepts(content_type, body_empty).map_err(|error| error.to_string());
        let expected = expected.map_err(|message| format!("input validation error: {message}"));
        assert_eq!(result, expected, "{rule:?} {content_type:?} empty={body_empty}");
    }

    #[test]
    fn requests_are_judged_as_the_spec_says() {
        let none = rule(false, None);
        check(&none, None, true, Ok(()));
        let text =
            "Expected body and content-type to be empty, but wasn't with content-type 'Some(\"application/json\")'";
        check(&none, Some("application/json"), false, Err(text));
        check(&none, Some("application/json"), true, Err(text));
        let text = "Expected body and content-type to be empty, but wasn't with content-type 'None'";
        check(&none, None, false, Err(text));

        let json = rule(false, Some("application/json"));
        check(&json, None, true, Ok(()));
        check(&json, Some("text/plain"), true, Ok(()));
        check(&json, Some("application/json"), false, Ok(()));
        check(&json, Some("application/json; charset=utf-8"), false, Ok(()));
        check(&json, Some("APPLICATION/JSON"), false, Ok(()));
        check(&json, None, false, Err("Empty content-type"));
        check(&json, Some("text/plain"), false, Err("Content-type 'text/plain' does not match 'application/json'"));
        let text = "Content-type 'application/vnd.x+json' does not match 'application/json'";
        check(&json, Some("application/vnd.x+json"), false, Err(text));
        check(&json, Some("nonsense"), false, Err("Content-type 'nonsense' does not match 'application/json'"));

        check(&rule(false, Some("text/*")), Some("text/csv"), false, Ok(()));
        check(&rule(false, Some("text/*")), Some("a/b"), false, Err("Content-type 'a/b' does not match 'text/*'"));
        check(&InputRule::default(), Some("a/b"), false, Ok(()));
        check(&InputRule::default(), None, false, Err("Empty content-type"));

        check(&rule(true, Some("a/b")), None, true, Err("Empty content-type"));
        check(&rule(true, Some("a/b")), Some("a/b"), true, Ok(()));
        check(&rule(true, None), Some("a/b"), false, Ok(()));
    }

    #[test]
    fn patterns_are_media_types() {
        for (text, ok) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("*/*", true),
            ("text/*", true),
            ("*/json", false),
            ("json", false),
            ("", false),
            ("a/", false),
            ("/b", false),
            ("a/b/c", false),
            ("a b/c", false),
            ("a\r\n/c", false),
            ("ä/c", false),
        ] {
            assert_eq!(MediaPattern::try_from(text.to_owned()).is_ok(), ok, "{text:?}");
        }
        assert!(MediaPattern::try_from(format!("a/{}", "b".repeat(MEDIA_TYPE_BYTES_MAX))).is_err());
    }

    #[test]
    fn answers_are_labelled_as_declared() {
        let json = OutputRule::default();
        assert_eq!((json.content_type(false), json.content_type(true)), (Some("application/json"), None));
        let always = OutputRule { set_content_type_if_empty: true, ..OutputRule::default() };
        assert_eq!(always.content_type(true), Some("application/json"));
        let never = OutputRule { content_type: None, set_content_type_if_empty: true };
        assert_eq!((never.content_type(false), never.description()), (None, "none"));
    }
}
