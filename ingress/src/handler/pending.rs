//! Rooms that are still empty: the checks are there, the effect is not.

use http::{Method, request::Parts};
use millrace_model::AwakeableId;

use super::require;
use crate::{error::Error, reply::Answer};

/// Ids as protocol versions before 4 gave them out, which this server does not speak.
const LEGACY_PREFIX: &str = "prom_1";

pub fn awakeable(parts: &Parts, id: &str) -> Result<Answer, Error> {
    require(parts, &Method::POST)?;
    if !id.starts_with(LEGACY_PREFIX) {
        id.parse::<AwakeableId>().map_err(|error| Error::AwakeableId { text: id.to_owned(), error })?;
    }
    Err(Error::NotImplemented("completing awakeables"))
}
