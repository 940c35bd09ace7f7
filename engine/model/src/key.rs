//! Partition keys: how bytes choose an engine partition (DESIGN.md section 2).

use sha2::{Digest, Sha256};

use crate::{
    command::Known,
    env::Env,
    ids::{InvocationId, PartitionId, SubscriptionId},
    invocation::{HandlerKind, Target},
};

/// Upper half: `toPositive(murmur2(routing bytes))`; lower half: a hash of the service. Decides the partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey(pub u64);

impl PartitionKey {
    /// For a keyed target: the object key or workflow id. Records written with Kafka's default partitioner to a topic
    /// with a multiple of N partitions are already where this points.
    pub fn new(service: &str, routing: &[u8]) -> Self {
        Self((u64::from(to_positive(murmur2(routing))) << 32) | u64::from(murmur2(service.as_bytes())))
    }

    /// For an unkeyed idempotent call: `service 0x00 idempotency-key`.
    pub fn idempotent(service: &str, idempotency_key: &str) -> Self {
        let mut routing = Vec::with_capacity(service.len() + 1 + idempotency_key.len());
        routing.extend_from_slice(service.as_bytes());
        routing.push(0);
        routing.extend_from_slice(idempotency_key.as_bytes());
        Self::new(service, &routing)
    }

    /// A key without routing bytes that stays in `partition`; `random` spreads the ids.
    pub fn within(service: &str, partition: PartitionId, partitions: u16, random: u32) -> Self {
        let (n, p) = (u32::from(partitions), u32::from(partition.0));
        // The largest multiple of n that keeps the sum positive as Kafka's 31-bit hash is.
        let multiple = (random & 0x7fff_ffff) / n;
        let upper = multiple.saturating_mul(n).saturating_add(p);
        let upper = if upper > 0x7fff_ffff { upper - n } else { upper };
        Self((u64::from(upper) << 32) | u64::from(murmur2(service.as_bytes())))
    }

    /// The partition that owns this key in a cluster of `partitions` (at least 1).
    pub fn partition(self, partitions: u16) -> PartitionId {
        PartitionId(((self.0 >> 32) % u64::from(partitions)) as u16)
    }
}

/// Kafka's `Utils.toPositive`.
fn to_positive(hash: u32) -> u32 {
    hash & 0x7fff_ffff
}

/// Kafka's `Utils.murmur2` (seed 0x9747b28c), the hash of its default partitioner.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().expect("chunks of four")).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

/// Where a record came from, for ever: a topic that was deleted and created again has another `topic_id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId {
    /// Whose source it is.
    pub subscription: SubscriptionId,
    /// Name of the Kafka cluster in the configuration.
    pub cluster: String,
    /// Kafka's 16 bytes.
    pub topic_id: u128,
    /// Kafka's partition number.
    pub source_partition: u32,
}

fn unique(hasher: Sha256) -> u128 {
    let hash: [u8; 32] = hasher.finalize().into();
    let (first, _) = hash.split_first_chunk::<16>().expect("32 bytes hold 16");
    // 0 is not an id. No input is known that hashes to it.
    u128::from_be_bytes(*first).max(1)
}

/// The invocation of one record: the same whenever it is read again in the same generation of its source.
pub fn record_invocation(key: PartitionKey, source: &SourceId, generation: u32, offset: i64) -> InvocationId {
    let mut hasher = Sha256::new();
    hasher.update(b"record");
    hasher.update(source.subscription.0.to_be_bytes());
    hasher.update(source.topic_id.to_be_bytes());
    hasher.update(source.source_partition.to_be_bytes());
    hasher.update(generation.to_be_bytes());
    hasher.update(offset.to_be_bytes());
    InvocationId { key, unique: unique(hasher) }
}

/// Length-prefixed parts, so that no two targets share their input.
fn hash_parts(kind: &[u8], parts: &[&str]) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update(kind);
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    unique(hasher)
}

/// The one run of a workflow key.
pub fn workflow_invocation(service: &str, workflow_key: &str, scope: &str) -> InvocationId {
    let key = PartitionKey::new(service, workflow_key.as_bytes());
    InvocationId { key, unique: hash_parts(b"workflow", &[scope, service, workflow_key]) }
}

/// The invocation of an idempotent call; `object_key` is `None` for a plain service.
pub fn idempotent_invocation(
    service: &str,
    object_key: Option<&str>,
    handler: &str,
    idempotency_key: &str,
    scope: &str,
) -> InvocationId {
    let key = match object_key {
        Some(object_key) => PartitionKey::new(service, object_key.as_bytes()),
        None => PartitionKey::idempotent(service, idempotency_key),
    };
    let keyed = if object_key.is_some() { "k" } else { "" };
    let parts = [scope, service, keyed, object_key.unwrap_or_default(), handler, idempotency_key];
    InvocationId { key, unique: hash_parts(b"idempotent", &parts) }
}

/// The id of a call, fixed by its proposer for ever: that of the workflow's run, that of the idempotency key, or a new
/// one. The others are answered by what is there already.
pub fn call_invocation(target: &Target, idempotency_key: Option<&str>, env: &dyn Env) -> (InvocationId, Known) {
    let Target { service, handler, key, kind } = target;
    let object_key = kind.is_keyed().then_some(key);
    match (idempotency_key, object_key) {
        // Its key names the one run; nothing is left for another key to tell apart.
        _ if *kind == HandlerKind::Workflow => (workflow_invocation(service, key, ""), Known::Maybe),
        (Some(idempotency_key), object_key) => {
            let object_key = object_key.map(|key| key.as_str());
            (idempotent_invocation(service, object_key, handler, idempotency_key, ""), Known::Maybe)
        }
        (None, object_key) => {
            let key = match object_key {
                Some(key) => PartitionKey::new(service, key.bytes()),
                None => PartitionKey::new(service, &env.random().to_be_bytes()),
            };
            (InvocationId { key, unique: env.random_unique() }, Known::Fresh)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_kafkas() {
        // Vectors of org.apache.kafka.common.utils.UtilsTest.
        for (input, hash) in [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ] {
            assert_eq!(murmur2(input.as_bytes()) as i32, hash, "{input}");
        }
    }

    #[test]
    fn a_multiple_of_n_partitions_is_co_partitioned() {
        let n = 8;
        for k in 1..6u32 {
            for i in 0..1000 {
                let key = format!("key-{i}");
                let source_partition = to_positive(murmur2(key.as_bytes())) % (k * u32::from(n));
                let owner = PartitionKey::new("Counter", key.as_bytes()).partition(n);
                assert_eq!(u32::from(owner.0), source_partition % u32::from(n));
            }
        }
    }

    #[test]
    fn within_stays_in_its_partition() {
        for n in [1, 2, 3, 8, 24, 65535] {
            for random in [0, 1, 7, 0x7fff_ffff, 0x8000_0000, u32::MAX, 123_456_789] {
                for p in [0, n / 2, n - 1] {
                    assert_eq!(PartitionKey::within("S", PartitionId(p), n, random).partition(n), PartitionId(p));
                }
            }
        }
    }

    #[test]
    fn calls_get_the_ids_by_which_they_are_found_again() {
        struct Seven;
        impl Env for Seven {
            fn now(&self) -> crate::TimestampMs {
                crate::TimestampMs(0)
            }
            fn random(&self) -> u64 {
                7
            }
        }
        let of = |kind, key: &str, idempotency_key| {
            let target = Target { service: "S".into(), handler: "h".into(), key: key.into(), kind };
            call_invocation(&target, idempotency_key, &Seven)
        };
        let run = (workflow_invocation("S", "k", ""), Known::Maybe);
        assert_eq!(of(HandlerKind::Workflow, "k", None), run);
        assert_eq!(of(HandlerKind::Workflow, "k", Some("i")), run);
        let idempotent = |key| (idempotent_invocation("S", key, "h", "i", ""), Known::Maybe);
        assert_eq!(of(HandlerKind::Exclusive, "", Some("i")), idempotent(Some("")));
        assert_eq!(of(HandlerKind::Shared, "k", Some("i")), idempotent(Some("k")));
        assert_eq!(of(HandlerKind::Plain, "", Some("i")), idempotent(None));
        let unique = (7 << 64) | 7;
        let fresh = |key| (InvocationId { key, unique }, Known::Fresh);
        assert_eq!(of(HandlerKind::Exclusive, "k", None), fresh(PartitionKey::new("S", b"k")));
        assert_eq!(of(HandlerKind::Plain, "", None), fresh(PartitionKey::new("S", &7u64.to_be_bytes())));
    }

    #[test]
    fn targets_do_not_share_ids() {
        let ids = [
            idempotent_invocation("S", None, "h", "k", ""),
            idempotent_invocation("S", Some(""), "h", "k", ""),
            idempotent_invocation("S", Some("h"), "k", "", ""),
            idempotent_invocation("S", None, "h", "k", "x"),
            workflow_invocation("S", "k", ""),
            workflow_invocation("S", "k", "x"),
        ];
        for (i, a) in ids.iter().enumerate() {
            assert!(ids[i + 1..].iter().all(|b| a.unique != b.unique), "{i}");
        }
        assert_eq!(ids[0], idempotent_invocation("S", None, "h", "k", ""));
    }
}
