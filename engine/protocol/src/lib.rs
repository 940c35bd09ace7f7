//! millrace-protocol
