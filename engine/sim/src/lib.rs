//! millrace-sim
