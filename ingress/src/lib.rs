//! millrace-ingress
