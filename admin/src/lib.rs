//! millrace-admin
