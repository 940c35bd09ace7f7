//! What a deployment is behind its name.

use std::{fmt, sync::Arc};

use http::Uri;

use crate::{address::Address, exchange::LambdaFunction};

/// Where requests of a deployment go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A server.
    Http(Address),
    /// A function, which answers one request a call.
    Lambda(Arc<LambdaFunction>),
}

impl Endpoint {
    /// The address under which `service/handler` is invoked; of a function it is only a path. Names are URL safe by
    /// their patterns.
    pub(crate) fn invoke(&self, service: &str, handler: &str) -> Result<Uri, http::Error> {
        match self {
            Self::Http(address) => address.invoke(service, handler),
            Self::Lambda(_) => Ok(Uri::from_maybe_shared(bytes::Bytes::from(format!("/invoke/{service}/{handler}")))?),
        }
    }
}

impl From<Address> for Endpoint {
    fn from(address: Address) -> Self {
        Self::Http(address)
    }
}

impl From<LambdaFunction> for Endpoint {
    fn from(function: LambdaFunction) -> Self {
        Self::Lambda(Arc::new(function))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) => address.fmt(f),
            Self::Lambda(function) => f.write_str(function.name()),
        }
    }
}
