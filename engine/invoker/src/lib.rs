//! millrace-invoker
