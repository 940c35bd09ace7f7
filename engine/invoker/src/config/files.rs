//! Files that settings name are looked at before anything starts.

use super::ClientConfig;
use crate::{connect::Connector, identity::Identity, transport::TransportError};

impl ClientConfig {
    /// Every file that cannot be used: its setting, and why. They are read again when they are needed.
    pub fn file_faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Some(path) = &self.request_identity_private_key_pem_file
            && let Err(error) = Identity::load(path)
        {
            faults.push(("request-identity-private-key-pem-file", error.to_string()));
        }
        if self.extra_ca_file.is_some()
            && let Err(TransportError::Tls(message)) = Connector::new(self)
        {
            faults.push(("extra-ca-file", message));
        }
        faults
    }
}
