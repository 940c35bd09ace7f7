//! The name of one version of a function.

use std::fmt;

/// `arn:partition:lambda:region:account:function:name:qualifier`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionArn {
    text: Box<str>,
    partition: Box<str>,
    region: Box<str>,
}

/// A text does not name one version of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    #[error("not the ARN of a Lambda function: arn:aws:lambda:<region>:<account>:function:<name>:<version>")]
    NotAFunction,
    #[error(
        "A qualified ARN needs a version or alias suffix. If you want to use the unpublished version, provide $LATEST and make sure your shell doesn't treat it as a variable"
    )]
    Unqualified,
}

/// AWS's own limit for the longest form of a function's name.
const ARN_BYTES_MAX: usize = 170;

/// Parts between the colons: they become parts of host names and paths.
fn is_part(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'$'))
}

impl FunctionArn {
    /// Code without a version changes under running invocations, so only qualified names are taken.
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let mut parts = [""; 8];
        let mut count = 0;
        for part in text.split(':') {
            *parts.get_mut(count).ok_or(ArnError::NotAFunction)? = part;
            count += 1;
        }
        let ["arn", partition, "lambda", region, account, "function", name, qualifier] = parts else {
            return Err(ArnError::NotAFunction);
        };
        let named = [partition, region, account, name].into_iter().all(is_part);
        if !named || text.len() > ARN_BYTES_MAX {
            return Err(ArnError::NotAFunction);
        }
        match count {
            7 => Err(ArnError::Unqualified),
            _ if qualifier.is_empty() => Err(ArnError::Unqualified),
            _ if !is_part(qualifier) => Err(ArnError::NotAFunction),
            _ => Ok(Self { text: text.into(), partition: partition.into(), region: region.into() }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Such as `eu-central-1`.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Host name of the Lambda API that has the function.
    pub fn host(&self) -> String {
        let suffix = match &*self.partition {
            "aws-cn" => "amazonaws.com.cn",
            "aws-iso" => "c2s.ic.gov",
            "aws-iso-b" => "sc2s.sgov.gov",
            "aws-eusc" => "amazonaws.eu",
            _ => "amazonaws.com",
        };
        format!("lambda.{}.{suffix}", self.region)
    }
}

impl fmt::Display for FunctionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_aliases_are_qualifiers() {
        for (qualifier, region, host) in [
            ("1", "eu-central-1", "lambda.eu-central-1.amazonaws.com"),
            ("live", "cn-north-1", "lambda.cn-north-1.amazonaws.com.cn"),
            ("$LATEST", "us-gov-west-1", "lambda.us-gov-west-1.amazonaws.com"),
        ] {
            let partition = if region.starts_with("cn") { "aws-cn" } else { "aws" };
            let text = format!("arn:{partition}:lambda:{region}:123456789012:function:my-fn_1:{qualifier}");
            let arn = FunctionArn::parse(&text).unwrap();
            assert_eq!((arn.as_str(), arn.region(), &*arn.host()), (&*text, region, host));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let unqualified = "arn:aws:lambda:eu-central-1:123456789012:function:f";
        assert_eq!(FunctionArn::parse(unqualified), Err(ArnError::Unqualified));
        assert_eq!(FunctionArn::parse(&format!("{unqualified}:")), Err(ArnError::Unqualified));
        for text in [
            "",
            "arn",
            "http://a",
            "arn:aws:s3:::bucket",
            "arn:aws:lambda:eu-central-1:1:function::1",
            "arn:aws:lambda::1:function:f:1",
            "arn:aws:lambda:evil.example.com/:1:function:f:1",
            "arn:aws:lambda:eu-central-1:1:function:f:1:2",
            "arn:aws:lambda:eu-central-1:1:function:f:a b",
            "arn:aws:lambda:eu-central-1:1:layer:f:1",
        ] {
            assert_eq!(FunctionArn::parse(text), Err(ArnError::NotAFunction), "{text}");
        }
        let long = format!("{unqualified}{}:1", "f".repeat(ARN_BYTES_MAX));
        assert_eq!(FunctionArn::parse(&long), Err(ArnError::NotAFunction));
    }
}
