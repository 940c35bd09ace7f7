//! Configuration of the store (`[store]`).

use millrace_model::ByteSize;
use serde::{Deserialize, Serialize};

/// The store (`[store]`). All sizes are for the node: its partitions share them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct StoreConfig {
    /// Memory for RocksDB: cached blocks and write buffers. 16MiB to 1TiB. Default 128MiB. Restart needed. Since 0.1.
    pub rocksdb_total_memory_size: ByteSize,
    /// Share of it that write buffers may take. 0.1 to 0.9. Default 0.5. Restart needed. Since 0.1.
    pub rocksdb_total_memtables_ratio: f64,
    /// Threads that write files: flushes and compactions. 2 to 64. Default 2. Restart needed. Since 0.1.
    pub rocksdb_bg_threads: u32,
    /// Write buffer of one partition at which it is written to a file. 1MiB to 1GiB. Default 32MiB. Restart needed.
    /// Since 0.1.
    pub write_buffer_size: ByteSize,
    /// Rows of active invocations, locks and inboxes kept decoded from RocksDB. 1MiB to 1TiB. Default 48MiB. Restart
    /// needed. Since 0.1.
    pub row_cache_size: ByteSize,
    /// Journals of active invocations kept in memory. 1MiB to 1TiB. Default 48MiB. Restart needed. Since 0.1.
    pub journal_cache_size: ByteSize,
    /// State of hot keys kept in memory. 1MiB to 1TiB. Default 32MiB. Restart needed. Since 0.1.
    pub state_cache_size: ByteSize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            rocksdb_total_memory_size: ByteSize::mib(128),
            rocksdb_total_memtables_ratio: 0.5,
            rocksdb_bg_threads: 2,
            write_buffer_size: ByteSize::mib(32),
            row_cache_size: ByteSize::mib(48),
            journal_cache_size: ByteSize::mib(48),
            state_cache_size: ByteSize::mib(32),
        }
    }
}

/// A setting out of its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name in this section.
    pub key: &'static str,
    /// What is allowed.
    pub message: String,
}

impl StoreConfig {
    /// Everything that is out of range; empty if it can be used.
    pub fn faults(&self) -> Vec<Fault> {
        let tib = ByteSize(1 << 40);
        let mib = ByteSize::mib;
        let sizes = [
            ("rocksdb-total-memory-size", self.rocksdb_total_memory_size, mib(16), tib),
            ("write-buffer-size", self.write_buffer_size, mib(1), mib(1024)),
            ("row-cache-size", self.row_cache_size, mib(1), tib),
            ("journal-cache-size", self.journal_cache_size, mib(1), tib),
            ("state-cache-size", self.state_cache_size, mib(1), tib),
        ];
        let mut faults: Vec<_> = sizes
            .into_iter()
            .filter(|(_, value, min, max)| value < min || value > max)
            .map(|(key, value, min, max)| Fault { key, message: format!("{value} is not within {min} to {max}") })
            .collect();
        let ratio = self.rocksdb_total_memtables_ratio;
        if !(0.1..=0.9).contains(&ratio) {
            let message = format!("{ratio} is not within 0.1 to 0.9");
            faults.push(Fault { key: "rocksdb-total-memtables-ratio", message });
        }
        let threads = self.rocksdb_bg_threads;
        if !(2..=64).contains(&threads) {
            faults.push(Fault { key: "rocksdb-bg-threads", message: format!("{threads} is not within 2 to 64") });
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_read_checked_and_printed() {
        let config: StoreConfig = toml::from_str("row-cache-size = '2MiB'\nrocksdb-bg-threads = 4").unwrap();
        assert_eq!(config.row_cache_size, ByteSize::mib(2));
        assert!(config.faults().is_empty());
        assert_eq!(toml::from_str::<StoreConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        assert!(toml::from_str::<StoreConfig>("row-cache = '2MiB'").is_err());

        let config: StoreConfig =
            toml::from_str("row-cache-size = '2B'\nrocksdb-total-memtables-ratio = 2.0\nrocksdb-bg-threads = 0")
                .unwrap();
        let keys: Vec<_> = config.faults().into_iter().map(|fault| fault.key).collect();
        assert_eq!(keys, ["row-cache-size", "rocksdb-total-memtables-ratio", "rocksdb-bg-threads"]);
    }
}
