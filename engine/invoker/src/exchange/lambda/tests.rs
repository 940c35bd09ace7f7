use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use http::HeaderMap;
use millrace_model::codes;
use millrace_protocol::lambda::FunctionArn;

use super::*;
use crate::trouble::{Trouble, Wish};

fn arn() -> FunctionArn {
    FunctionArn::parse("arn:aws:lambda:eu-central-1:123456789012:function:f:$LATEST").unwrap()
}

/// The signature was computed apart from the library, by the published description of the algorithm.
#[test]
fn a_call_is_signed_over_its_whole_address() {
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let credentials = Credentials::new("AKIDEXAMPLE", secret, Some("token/+=".to_owned()), None, "test");
    let now = UNIX_EPOCH + Duration::from_secs(1_795_348_800);
    let endpoint = format!("https://{}", arn().host());
    let request = client::signed(&endpoint, &arn(), credentials, br#"{"a":1}"#.to_vec(), now).unwrap();
    let name = "arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Afunction%3Af%3A%24LATEST";
    assert_eq!(request.uri().path(), format!("/2015-03-31/functions/{name}/invocations"));
    assert_eq!(request.uri().host(), Some("lambda.eu-central-1.amazonaws.com"));
    assert_eq!(
        request.headers()["authorization"],
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/eu-central-1/lambda/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, \
         Signature=abe27ace6add81ab0cf563487f3ea9eaba47f5a04e14122f46194e463659d206"
    );
    assert_eq!(request.headers()["x-amz-security-token"], "token/+=");
}

fn api(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Trouble {
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    LambdaError::api(status, &headers.collect::<HeaderMap>(), body.as_bytes()).into()
}

#[test]
fn answers_of_the_api_have_codes() {
    let throttled = [("x-amzn-errortype", "TooManyRequestsException:http://a/"), ("retry-after", "3")];
    let trouble = api(429, &throttled, r#"{"Type":"User","message":"Rate exceeded"}"#);
    assert_eq!((trouble.code, trouble.counts, trouble.status), (codes::RT0023, false, 429));
    assert_eq!(trouble.wish, Wish::SlowDown(Duration::from_secs(3)));
    assert_eq!(trouble.details.message, "the Lambda API answered 429 TooManyRequestsException: Rate exceeded");
    for (status, code, counts) in [
        (403, codes::RT0010, false),
        (404, codes::RT0010, false),
        (413, codes::RT0019, false),
        (500, codes::RT0010, true),
        (502, codes::RT0010, false),
        (503, codes::RT0010, true),
    ] {
        let trouble = api(status, &[], "<html>");
        assert_eq!((trouble.code, trouble.counts, trouble.wish), (code, counts, Wish::None), "{status}");
        assert!(trouble.details.message.ends_with("an error: <html>"), "{}", trouble.details.message);
    }
    let missing = api(404, &[("x-amzn-errortype", "ResourceNotFoundException")], r#"{"Message":"Function not found"}"#);
    assert!(missing.details.message.ends_with("404 ResourceNotFoundException: Function not found"));
}

#[test]
fn a_function_that_cannot_be_called_is_away() {
    let api = |status| LambdaError::api(status, &HeaderMap::new(), b"");
    for (error, expected) in [
        (api(403), true),
        (api(404), true),
        (api(503), true),
        (api(429), false),
        (api(413), false),
        (LambdaError::Credentials("none".to_owned()), true),
        (LambdaError::function("Unhandled", b""), false),
    ] {
        assert_eq!(TransportError::from(error.clone()).is_absence(), expected, "{error}");
    }
}

#[test]
fn a_function_that_fails_tells_how() {
    let body = br#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: 1 Error: exit status 1"}"#;
    let trouble = Trouble::from(LambdaError::function("Unhandled", body));
    assert_eq!((trouble.code, trouble.counts), (codes::RT0010, true));
    assert_eq!(
        trouble.details.message,
        "the function failed with Runtime.ExitError: RequestId: 1 Error: exit status 1"
    );
    let trouble = Trouble::from(LambdaError::function("Unhandled", b"Task timed out after 3.00 seconds"));
    assert_eq!(trouble.details.message, "the function failed with Unhandled: Task timed out after 3.00 seconds");
}
