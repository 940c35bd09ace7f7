//! Configuration of the store (`[store]`).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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

/// A number of bytes; as text with a unit: `512KiB`, `64MiB`, `2GiB`, `1TiB`, or `MB` and so on for powers of 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Largest first, so that printing finds the shortest exact form.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// This many times 1024 * 1024 bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// As a length in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().ok()?;
        let unit = match text[digits..].trim_start() {
            "" => 1,
            unit => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
        };
        number.checked_mul(unit).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) =
            UNITS.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 64MiB")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                ByteSize::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed() {
        for (text, bytes, printed) in [
            ("64MiB", 64 << 20, "64MiB"),
            ("64 mib", 64 << 20, "64MiB"),
            ("1536KiB", 1536 << 10, "1536KiB"),
            ("2GB", 2_000_000_000, "2GB"),
            ("17", 17, "17B"),
            ("0", 0, "0B"),
        ] {
            assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), printed);
        }
        for text in ["", "MiB", "1.5MiB", "-1", "1XiB", "99999999TiB"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
    }

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
