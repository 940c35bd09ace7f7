//! Object state is exact: many keys, called directly and across partitions, each accepted call counted once.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    support::tier,
    world::{World, add},
};

const KEYS: usize = 24;

async fn counters_equal_the_accepted_calls(language: &str, small: usize, all: usize) {
    let mut world = World::start(language).await;
    let client = world.client();
    let callers: Vec<_> = (0..tier(16, 32))
        .map(|caller| {
            let (client, mut rng) = (client.clone(), StdRng::seed_from_u64(world.rng.random()));
            tokio::spawn(async move {
                let mut added = BTreeMap::<String, i64>::new();
                for n in 0u64.. {
                    if client.stopped() {
                        break;
                    }
                    let (once, key) = (format!("{caller}-{n}"), format!("c{}", rng.random_range(0..KEYS)));
                    match n % 4 {
                        0 => _ = client.call(&format!("Counter/{key}/add"), &once, &json!(1)).await,
                        1 => {
                            let input = json!({"n": 1, "failPercent": 5});
                            client.call(&format!("Counter/{key}/flakyAdd"), &once, &input).await;
                        }
                        2 => _ = client.send("Caller/callCounter", &once, &add(&key, 1)).await,
                        _ => _ = client.call("Caller/callCounter", &once, &add(&key, 1)).await,
                    }
                    *added.entry(key).or_default() += 1;
                }
                added
            })
        })
        .collect();
    world.kills(small, all).await;
    client.stop();
    let mut added = BTreeMap::<String, i64>::new();
    for caller in callers {
        for (key, n) in caller.await.unwrap() {
            *added.entry(key).or_default() += n;
        }
    }
    assert!(added.values().sum::<i64>() > 100, "{added:?}");
    for (key, n) in &added {
        // Behind everything that was sent to the key: the sends that go by way of a caller may still be on their way.
        let path = format!("Counter/{key}/get");
        crate::support::eventually(crate::support::PATIENCE, "all calls are counted", async || {
            let count = world.server.query(&path).await?;
            anyhow::ensure!(count.as_i64() >= Some(*n), "{path}: {count} of {n}");
            assert_eq!(count, Value::from(*n), "{path}");
            Ok(())
        })
        .await;
    }
    // Nothing comes in late.
    for (key, n) in &added {
        assert_eq!(client.query(&format!("Counter/{key}/get")).await, Value::from(*n), "{key}");
    }
}

#[tokio::test]
async fn counters_equal_the_accepted_calls_rust() {
    counters_equal_the_accepted_calls("rust", 6, 40).await;
}

#[tokio::test]
async fn counters_equal_the_accepted_calls_typescript() {
    counters_equal_the_accepted_calls("typescript", 3, 20).await;
}

/// Each idempotent append is in the list exactly once, in some order that never changes.
#[tokio::test]
async fn lists_have_every_append_once() {
    let mut world = World::start("rust").await;
    let client = world.client();
    let appenders: Vec<_> = (0..6)
        .map(|appender| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut seq = appender * 1_000_000;
                while !client.stopped() {
                    client.call("Counter/list/appendSeq", &format!("seq-{seq}"), &json!({"seq": seq})).await;
                    seq += 1;
                }
                appender * 1_000_000..seq
            })
        })
        .collect();
    let mut before: Vec<Value> = Vec::new();
    for _ in 0..tier(4, 20) {
        world.kill(crate::world::Victim::Server, std::time::Duration::from_millis(700)).await;
        let now = client.query("Counter/list/seqs").await;
        let now = now.as_array().expect("a list");
        assert_eq!(before, now[..before.len()], "what was there has changed");
        before = now.clone();
    }
    client.stop();
    let mut expected = Vec::new();
    for appender in appenders {
        // The client's own order is kept: each waited for the answer.
        expected.push(appender.await.unwrap());
    }
    let list = client.query("Counter/list/seqs").await;
    let list: Vec<u64> = list.as_array().expect("a list").iter().map(|seq| seq.as_u64().expect("a number")).collect();
    for range in expected {
        let seen: Vec<u64> = list.iter().copied().filter(|seq| range.contains(seq)).collect();
        assert_eq!(seen, range.collect::<Vec<_>>());
    }
}
