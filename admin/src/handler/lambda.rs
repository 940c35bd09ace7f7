//! Deployments that are functions of AWS Lambda.

use std::collections::BTreeMap;

use millrace_cluster::meta::Function;
use millrace_protocol::lambda::FunctionArn;
use serde::Deserialize;

use super::{
    Answer,
    deployments::{Headers, RegisterHttp},
};
use crate::error::ApiError;

#[derive(Deserialize)]
pub(crate) struct RegisterLambda {
    arn: String,
    #[serde(default)]
    assume_role_arn: Option<String>,
    #[serde(default)]
    additional_headers: Option<Headers>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    force: Option<bool>,
    #[serde(default)]
    breaking: bool,
    #[serde(default)]
    dry_run: bool,
}

impl RegisterLambda {
    /// The same request with the function's name for an address.
    pub(super) fn checked(self) -> Answer<(RegisterHttp, Function)> {
        let Self { arn, assume_role_arn, additional_headers, metadata, force, breaking, dry_run } = self;
        let function = function(&arn, assume_role_arn)?;
        let request = RegisterHttp {
            uri: arn,
            additional_headers,
            metadata,
            use_http_11: false,
            auth: None,
            force,
            breaking,
            dry_run,
        };
        Ok((request, function))
    }
}

/// A function that may be called, as far as its names tell.
pub(super) fn function(arn: &str, assume_role_arn: Option<String>) -> Answer<Function> {
    FunctionArn::parse(arn).map_err(|error| ApiError::field("arn", error))?;
    // arn:aws:iam::123456789012:role/path/name
    let is_role = |arn: &String| match arn.splitn(6, ':').collect::<Vec<_>>()[..] {
        ["arn", _, "iam", "", account, role] => !account.is_empty() && role.starts_with("role/"),
        _ => false,
    };
    if assume_role_arn.as_ref().is_some_and(|arn| !is_role(arn)) {
        return Err(ApiError::field("assume_role_arn", "not the ARN of a role: arn:aws:iam::<account>:role/<name>"));
    }
    Ok(Function { assume_role_arn, zstd: false })
}
