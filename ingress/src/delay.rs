//! `?delay=` (`spec/ingress-api.md` section 2.4): ISO 8601, or a number with a unit, a day having 24 hours.

use jiff::Span;

/// Why a delay is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelayError {
    /// Neither of the two forms.
    #[error("bad delay query parameter, must be a ISO8601 duration: {0}")]
    Malformed(String),
    /// Before now.
    #[error("bad delay query parameter, must be a ISO8601 duration: negative durations are not allowed")]
    Negative,
    /// Months and years have no fixed length.
    #[error(
        "bad delay query parameter, must be a ISO8601 duration: \
         months and years are ambiguous, please use units of days or smaller"
    )]
    Calendar,
    /// Longer than can be counted in milliseconds.
    #[error("bad delay query parameter, must be a ISO8601 duration: the duration is too long")]
    TooLong,
}

/// A delay in whole milliseconds.
pub fn parse(text: &str) -> Result<u64, DelayError> {
    let text = text.trim();
    if text == "0" {
        return Ok(0);
    }
    // The parser also takes clock forms such as `1:30:00`, which the API does not have.
    if text.contains(':') {
        return Err(DelayError::Malformed(format!("a unit is missing in {text:?}")));
    }
    let span: Span = text.parse().map_err(|error: jiff::Error| DelayError::Malformed(error.to_string()))?;
    if span.is_negative() {
        return Err(DelayError::Negative);
    }
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(DelayError::Calendar);
    }
    let hours = (i128::from(span.get_weeks()) * 7 + i128::from(span.get_days())) * 24 + i128::from(span.get_hours());
    let seconds = (hours * 60 + i128::from(span.get_minutes())) * 60 + i128::from(span.get_seconds());
    let micros = (seconds * 1000 + i128::from(span.get_milliseconds())) * 1000 + i128::from(span.get_microseconds());
    let millis = (micros * 1000 + i128::from(span.get_nanoseconds())) / 1_000_000;
    u64::try_from(millis).map_err(|_| DelayError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        const DAY: u64 = 86_400_000;
        for (text, millis) in [
            ("PT10S", 10_000),
            ("P1D", DAY),
            ("P1DT2H", DAY + 7_200_000),
            ("PT0.5S", 500),
            ("P1W", 7 * DAY),
            ("PT1H30M", 5_400_000),
            ("5ns", 0),
            ("1us", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("10 sec", 10_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1h, 30m", 5_400_000),
            ("1 hour", 3_600_000),
            ("2 days 3h", 2 * DAY + 10_800_000),
            ("1week", 7 * DAY),
            ("1.5s", 1500),
            ("400 days", 400 * DAY),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(millis), "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in ["10", "1M", "1e3s", "1_000ms", "abc", "inf", "", "PT", "1:30:00", "99999999999999999999s", "s"] {
            assert!(matches!(parse(text), Err(DelayError::Malformed(_))), "{text}: {:?}", parse(text));
        }
        for text in ["-5s", "-PT5S", "5s ago"] {
            assert_eq!(parse(text), Err(DelayError::Negative), "{text}");
        }
        for text in ["P1M", "P1Y", "1y", "1 month"] {
            assert_eq!(parse(text), Err(DelayError::Calendar), "{text}");
        }
    }
}
