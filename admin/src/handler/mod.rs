//! One file for each kind of resource: wire types, and what a request does.

pub(crate) mod deployments;
pub(crate) mod invocations;
pub(crate) mod kafka_clusters;
pub(crate) mod keys;
mod lambda;
pub(crate) mod node;
pub(crate) mod services;
pub(crate) mod state;
pub(crate) mod subscriptions;

use std::{
    fmt::{self, Display},
    marker::PhantomData,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, de::Visitor};

use crate::error::ApiError;

pub(crate) type Answer<T> = Result<T, ApiError>;

/// An id in a path, by its text form.
pub(crate) struct Id<T>(pub T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);

        // The error must come out of the visitor: only then does the path's deserializer name parameter and value.
        impl<T: FromStr<Err: Display>> Visitor<'_> for Text<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
                // Every way of being malformed has one message in this API.
                text.parse().map_err(|_| E::custom("bad format"))
            }
        }

        from.deserialize_str(Text(PhantomData)).map(Id)
    }
}
