//! millrace-subscriptions
