//! How RocksDB is set up: one set of options for all partitions.

use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, Env, FlushOptions, LogLevel, Options, ReadOptions, ReadTier,
    WriteBufferManager, WriteOptions,
};

use crate::config::StoreConfig;

/// Memory of a write buffer grows in these steps: small, because most partitions of an idle node hold a few rows.
const ARENA_BLOCK_BYTES: usize = 128 << 10;
/// Write buffers of one partition, the one being filled included; above it writes wait.
const WRITE_BUFFERS_MAX: i32 = 4;
/// Files of one partition that stay open.
const OPEN_FILES_MAX: i32 = 128;
const BLOCK_BYTES: usize = 8 << 10;
/// 1 % of the lookups of rows that are not there read a block in vain.
const BLOOM_BITS: f64 = 10.0;
const FILE_BYTES: u64 = 32 << 20;
/// RocksDB's own log tells next to nothing at this level, and is cut here.
const INFO_LOG_BYTES: usize = 1 << 20;
const INFO_LOG_FILES: usize = 2;
const MANIFEST_BYTES: usize = 8 << 20;
/// A file in which half of this many neighbouring keys are deletions is compacted: tables that are queues leave such
/// stretches, and every scan would walk over them.
const DELETIONS_WINDOW: usize = 4096;
/// Level-0 files at which writes are slowed and stopped. Reads of rows go through bloom filters, so that more files
/// than usual cost little, and a stop would hold up every partition of the thread.
const L0_SLOWDOWN: i32 = 32;
const L0_STOP: i32 = 64;

pub(crate) fn options(config: &StoreConfig, env: &Env, blocks: &Cache, write_buffers: &WriteBufferManager) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_env(env);

    options.set_write_buffer_manager(write_buffers);
    options.set_write_buffer_size(config.write_buffer_size.as_usize());
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX);
    options.set_arena_block_size(ARENA_BLOCK_BYTES);
    // One thread writes to a partition.
    options.set_allow_concurrent_memtable_write(false);
    options.set_enable_write_thread_adaptive_yield(false);
    options.set_max_background_jobs(i32::try_from(config.rocksdb_bg_threads).unwrap_or(2));

    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_max_bytes_for_level_base(4 * FILE_BYTES);
    options.set_target_file_size_base(FILE_BYTES);
    options.set_level_zero_slowdown_writes_trigger(L0_SLOWDOWN);
    options.set_level_zero_stop_writes_trigger(L0_STOP);
    options.set_compression_per_level(&[DBCompressionType::None, DBCompressionType::None, DBCompressionType::Lz4]);
    options.set_bottommost_compression_type(DBCompressionType::Lz4);
    options.add_compact_on_deletion_collector_factory(DELETIONS_WINDOW, DELETIONS_WINDOW / 2, 0.0);

    let mut table = BlockBasedOptions::default();
    table.set_block_cache(blocks);
    table.set_block_size(BLOCK_BYTES);
    table.set_bloom_filter(BLOOM_BITS, false);
    table.set_optimize_filters_for_memory(true);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    options.set_block_based_table_factory(&table);

    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_table_cache_num_shard_bits(2);
    // Else every start of a partition makes 16 threads for a moment.
    options.set_max_file_opening_threads(1);
    options.set_skip_stats_update_on_db_open(true);
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_paranoid_checks(true);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_manifest_file_size(MANIFEST_BYTES);
    options.set_manifest_preallocation_size(64 << 10);

    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_keep_log_file_num(INFO_LOG_FILES);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// The partition's log is the log; RocksDB keeps none.
pub(crate) fn write() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    // A batch comes in key order.
    options.set_memtable_insert_hint_per_batch(true);
    options
}

/// Only what is in files.
pub(crate) fn persisted() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(ReadTier::Persisted);
    options
}

/// For a scan: of a table or a prefix.
pub(crate) fn scan(fill_cache: bool) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(fill_cache);
    options.set_background_purge_on_iterator_cleanup(true);
    options
}

pub(crate) fn flush(wait: bool) -> FlushOptions {
    let mut options = FlushOptions::default();
    options.set_wait(wait);
    options
}
