//! millrace-partition
