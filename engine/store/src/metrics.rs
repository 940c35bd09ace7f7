//! Metrics of the store.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use millrace_model::PartitionId;
use rocksdb::properties::{
    ACTUAL_DELAYED_WRITE_RATE, BACKGROUND_ERRORS, ESTIMATE_LIVE_DATA_SIZE, ESTIMATE_PENDING_COMPACTION_BYTES,
    IS_WRITE_STOPPED, SIZE_ALL_MEM_TABLES, TOTAL_SST_FILES_SIZE,
};

use crate::{db::Database, partition::ReadStats};

const LIVE_DATA: &str = "millrace_store_live_data_bytes";
const FILES: &str = "millrace_store_files_bytes";
const MEMTABLES: &str = "millrace_store_memtable_bytes";
const PENDING_COMPACTION: &str = "millrace_store_pending_compaction_bytes";
const STALLED: &str = "millrace_store_stalled";
const BACKGROUND_ERRORS_TOTAL: &str = "millrace_store_background_errors_total";
const CACHES: &str = "millrace_store_cache_bytes";
const CACHE_HITS: &str = "millrace_store_cache_hits_total";
const GETS: &str = "millrace_store_rocksdb_gets_total";
const SEEKS: &str = "millrace_store_rocksdb_seeks_total";
const COMMITS: &str = "millrace_store_commits_total";
const BLOCK_CACHE: &str = "millrace_store_block_cache_bytes";
const WRITE_BUFFERS: &str = "millrace_store_write_buffers_bytes";

/// Names, units and help of this crate's metrics.
pub fn describe() {
    describe_gauge!(LIVE_DATA, Unit::Bytes, "estimated size of a partition's rows in files");
    describe_gauge!(FILES, Unit::Bytes, "size of a partition's table files");
    describe_gauge!(MEMTABLES, Unit::Bytes, "write buffers of a partition, those being flushed included");
    describe_gauge!(PENDING_COMPACTION, Unit::Bytes, "estimated bytes that compaction has to rewrite");
    describe_gauge!(STALLED, Unit::Count, "1 while RocksDB slows down writes of a partition, 2 while it stops them");
    describe_counter!(BACKGROUND_ERRORS_TOTAL, Unit::Count, "failed flushes and compactions");
    describe_gauge!(CACHES, Unit::Bytes, "rows, journals and object state of a partition kept in memory");
    describe_counter!(CACHE_HITS, Unit::Count, "reads of the state machine answered from memory");
    describe_counter!(GETS, Unit::Count, "rows read from RocksDB for the state machine");
    describe_counter!(SEEKS, Unit::Count, "journals and object states read from RocksDB for the state machine");
    describe_counter!(COMMITS, Unit::Count, "log batches committed to the store");
    describe_gauge!(BLOCK_CACHE, Unit::Bytes, "RocksDB's block cache of the node, write buffers included");
    describe_gauge!(WRITE_BUFFERS, Unit::Bytes, "RocksDB's write buffers of the node");
}

pub(crate) struct NodeGauges {
    blocks: Gauge,
    write_buffers: Gauge,
}

impl NodeGauges {
    pub(crate) fn new() -> Self {
        Self { blocks: gauge!(BLOCK_CACHE), write_buffers: gauge!(WRITE_BUFFERS) }
    }

    pub(crate) fn set(&self, blocks: usize, write_buffers: usize) {
        self.blocks.set(blocks as f64);
        self.write_buffers.set(write_buffers as f64);
    }
}

pub(crate) struct PartitionMetrics {
    live_data: Gauge,
    files: Gauge,
    memtables: Gauge,
    pending_compaction: Gauge,
    stalled: Gauge,
    background_errors: Counter,
    caches: Gauge,
    hits: Counter,
    gets: Counter,
    seeks: Counter,
    commits: Counter,
}

impl PartitionMetrics {
    pub(crate) fn new(partition: PartitionId) -> Self {
        let label = partition.to_string();
        let gauge = |name: &'static str| gauge!(name, "partition" => label.clone());
        let counter = |name: &'static str| counter!(name, "partition" => label.clone());
        Self {
            live_data: gauge(LIVE_DATA),
            files: gauge(FILES),
            memtables: gauge(MEMTABLES),
            pending_compaction: gauge(PENDING_COMPACTION),
            stalled: gauge(STALLED),
            background_errors: counter(BACKGROUND_ERRORS_TOTAL),
            caches: gauge(CACHES),
            hits: counter(CACHE_HITS),
            gets: counter(GETS),
            seeks: counter(SEEKS),
            commits: counter(COMMITS),
        }
    }

    pub(crate) fn set(&self, db: &Database, reads: ReadStats, commits: u64, cached: usize) {
        self.live_data.set(db.property(ESTIMATE_LIVE_DATA_SIZE) as f64);
        self.files.set(db.property(TOTAL_SST_FILES_SIZE) as f64);
        self.memtables.set(db.property(SIZE_ALL_MEM_TABLES) as f64);
        self.pending_compaction.set(db.property(ESTIMATE_PENDING_COMPACTION_BYTES) as f64);
        let stalled = match (db.property(IS_WRITE_STOPPED), db.property(ACTUAL_DELAYED_WRITE_RATE)) {
            (0, 0) => 0.0,
            (0, _) => 1.0,
            _ => 2.0,
        };
        self.stalled.set(stalled);
        self.background_errors.absolute(db.property(BACKGROUND_ERRORS));
        self.caches.set(cached as f64);
        self.hits.absolute(reads.hits);
        self.gets.absolute(reads.gets);
        self.seeks.absolute(reads.seeks);
        self.commits.absolute(commits);
    }
}
