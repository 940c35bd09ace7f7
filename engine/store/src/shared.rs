//! What all partitions of a node share: block cache, write buffers, threads, and the bounds of the caches.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rocksdb::{Cache, Env, LruCacheOptions, Options, WriteBufferManager};

use crate::{config::StoreConfig, metrics::NodeGauges, options};

/// The block cache in 2^2 parts: few threads read.
const CACHE_SHARD_BITS: i32 = 2;

/// Shared by all stores of a node; cheap to clone. RocksDB keeps what it needs of it as long as a store is open.
#[derive(Clone)]
pub struct SharedResources {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: Options,
    blocks: Cache,
    write_buffers: WriteBufferManager,
    config: StoreConfig,
    /// Partitions that are open.
    open: AtomicUsize,
    gauges: NodeGauges,
}

impl SharedResources {
    /// Reserves nothing yet: memory is taken as it is used, threads start with the first flush.
    ///
    /// Fails only if RocksDB cannot make its environment.
    pub fn new(config: &StoreConfig) -> Result<Self, rocksdb::Error> {
        let total = config.rocksdb_total_memory_size.as_usize();
        let mut cache = LruCacheOptions::default();
        cache.set_capacity(total);
        cache.set_num_shard_bits(CACHE_SHARD_BITS);
        let blocks = Cache::new_lru_cache_opts(&cache);
        // Charged to the block cache, so that both together stay within the total. Never stalls: a flush that lags
        // behind costs memory for a moment, a stall would stop every partition that shares the thread.
        let for_writes = (total as f64 * config.rocksdb_total_memtables_ratio) as usize;
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(for_writes, false, blocks.clone());
        let mut env = Env::new()?;
        env.set_high_priority_background_threads(1);
        env.set_background_threads(i32::try_from(config.rocksdb_bg_threads.saturating_sub(1).max(1)).unwrap_or(1));
        let options = options::options(config, &env, &blocks, &write_buffers);
        let (config, open, gauges) = (config.clone(), AtomicUsize::new(0), NodeGauges::new());
        Ok(Self { inner: Arc::new(Inner { options, blocks, write_buffers, config, open, gauges }) })
    }
}

/// Counts an open partition, and tells how much memory its caches may take: an equal share.
pub(crate) struct Share {
    inner: Arc<Inner>,
}

impl Share {
    pub(crate) fn new(shared: &SharedResources) -> Self {
        shared.inner.open.fetch_add(1, Ordering::Relaxed);
        Self { inner: shared.inner.clone() }
    }

    fn of(&self, total: millrace_model::ByteSize) -> usize {
        total.as_usize() / self.inner.open.load(Ordering::Relaxed).max(1)
    }

    /// Sets the gauges that belong to no single partition.
    pub(crate) fn observe(&self) {
        self.inner.gauges.set(self.inner.blocks.get_usage(), self.inner.write_buffers.get_usage());
    }

    pub(crate) fn rows(&self) -> usize {
        self.of(self.inner.config.row_cache_size)
    }

    pub(crate) fn journals(&self) -> usize {
        self.of(self.inner.config.journal_cache_size)
    }

    pub(crate) fn objects(&self) -> usize {
        self.of(self.inner.config.state_cache_size)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.inner.open.fetch_sub(1, Ordering::Relaxed);
    }
}
