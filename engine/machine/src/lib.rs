//! millrace-machine
