//! Whom we are to AWS: the credentials chain of its own libraries, roles, and where the Lambda API is.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_types::service_config::ServiceConfigKey;
use millrace_protocol::lambda::FunctionArn;
use tokio::sync::{Mutex, OnceCell};

use super::{client::LambdaFunction, failure::LambdaError, smithy::PoolClient};

/// Credentials that end before this are got anew.
const FRESH: Duration = Duration::from_secs(120);
/// Longest time that getting credentials may take.
const CREDENTIALS_MAX: Duration = Duration::from_secs(30);
/// How sessions of roles are called in AWS's own logs.
const SESSION_NAME: &str = "millrace";

/// What an operator can set.
#[derive(Clone, Debug, Default)]
pub(super) struct AwsOptions {
    /// Instead of the default profile.
    pub(super) profile: Option<String>,
    /// For roles that demand one.
    pub(super) external_id: Option<String>,
}

/// A role in a region, or nobody in particular.
type Who = Option<(String, String)>;

/// Credentials by role. One entry for each role and region of a deployment that was called.
pub(super) struct Access {
    options: AwsOptions,
    http: PoolClient,
    base: OnceCell<SdkConfig>,
    sessions: Mutex<HashMap<Who, Arc<Session>>>,
}

struct Session {
    provider: SharedCredentialsProvider,
    /// Locked while they are got, so that one asks for all who wait.
    current: Mutex<Option<Credentials>>,
}

impl Access {
    pub(super) fn new(options: AwsOptions, http: PoolClient) -> Self {
        Self { options, http, base: OnceCell::new(), sessions: Mutex::default() }
    }

    /// Environment and profile, read once.
    async fn base(&self, region: &str) -> &SdkConfig {
        let load = async || {
            // With a region nobody asks the network for one; every call names its own.
            let mut loader = aws_config::defaults(BehaviorVersion::latest())
                .http_client(self.http.clone())
                .region(Region::new(region.to_owned()));
            if let Some(profile) = &self.options.profile {
                loader = loader.profile_name(profile);
            }
            loader.load().await
        };
        self.base.get_or_init(load).await
    }

    /// The API's address, without a slash at the end: that of the function's region, or what environment or profile
    /// say instead.
    pub(super) async fn endpoint(&self, arn: &FunctionArn) -> String {
        let base = self.base(arn.region()).await;
        let key = ServiceConfigKey::builder().service_id("Lambda").env("AWS_ENDPOINT_URL").profile("endpoint_url");
        let own = key.build().ok().and_then(|key| base.service_config()?.load_config(key));
        let set = own.or_else(|| base.endpoint_url().map(str::to_owned));
        let endpoint = set.unwrap_or_else(|| format!("https://{}", arn.host()));
        endpoint.trim_end_matches('/').to_owned()
    }

    pub(super) async fn credentials(&self, function: &LambdaFunction) -> Result<Credentials, LambdaError> {
        let got = tokio::time::timeout(CREDENTIALS_MAX, async {
            let session = self.session(function).await?;
            session.credentials().await
        });
        got.await.unwrap_or_else(|_| Err(LambdaError::Credentials(format!("none came within {CREDENTIALS_MAX:?}"))))
    }

    async fn session(&self, function: &LambdaFunction) -> Result<Arc<Session>, LambdaError> {
        let region = function.arn.region();
        let who: Who = function.assume_role_arn.clone().map(|role| (role, region.to_owned()));
        let mut sessions = self.sessions.lock().await;
        if let Some(session) = sessions.get(&who) {
            return Ok(Arc::clone(session));
        }
        let base = self.base(region).await;
        let own = base.credentials_provider().ok_or_else(|| LambdaError::Credentials("none are set".to_owned()))?;
        let provider = match &who {
            None => own,
            Some((role, region)) => {
                let mut role = AssumeRoleProvider::builder(role)
                    .configure(base)
                    .region(Region::new(region.clone()))
                    .session_name(SESSION_NAME);
                if let Some(id) = &self.options.external_id {
                    role = role.external_id(id);
                }
                SharedCredentialsProvider::new(role.build_from_provider(own).await)
            }
        };
        let session = Arc::new(Session { provider, current: Mutex::default() });
        sessions.insert(who, Arc::clone(&session));
        Ok(session)
    }
}

impl Session {
    async fn credentials(&self) -> Result<Credentials, LambdaError> {
        let mut current = self.current.lock().await;
        let good = |known: &Credentials| known.expiry().is_none_or(|expiry| SystemTime::now() + FRESH < expiry);
        if let Some(known) = current.as_ref().filter(|known| good(known)) {
            return Ok(known.clone());
        }
        let got = self.provider.provide_credentials().await;
        let got = got.map_err(|error| LambdaError::Credentials(crate::trouble::chain(&error)))?;
        *current = Some(got.clone());
        Ok(got)
    }
}
