//! What was accepted happens, once (invariant 1).

use serde_json::json;

use crate::{
    support::{PATIENCE, eventually, tier},
    world::{World, add},
};

/// Sends without an idempotency key: every accepted one counts once; one whose answer was lost counts at most once.
#[tokio::test]
async fn accepted_sends_survive() {
    let mut world = World::start("rust").await;
    let client = world.client();
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut accepted = 0;
                for n in 0u64.. {
                    if client.stopped() {
                        break;
                    }
                    // Half of them go on to another partition.
                    let key = format!("sends-{sender}");
                    let sent = match n % 2 {
                        0 => client.try_send(&format!("Counter/{key}/add"), &json!(1)).await,
                        _ => client.try_send("Caller/sendCounter", &add(&key, 1)).await,
                    };
                    accepted += i64::from(sent);
                    if !sent {
                        crate::support::pause(std::time::Duration::from_millis(30)).await;
                    }
                }
                accepted
            })
        })
        .collect();
    world.kills(4, 20).await;
    client.stop();
    let mut accepted = Vec::new();
    for sender in senders {
        accepted.push(sender.await.unwrap());
    }
    assert!(accepted.iter().sum::<i64>() > tier(50, 500), "{accepted:?}");
    let unknown = client.unknown() as i64;
    let mut surplus = 0;
    for (sender, accepted) in accepted.into_iter().enumerate() {
        let path = format!("Counter/sends-{sender}/get");
        surplus += eventually(PATIENCE, "every accepted send is counted", async || {
            let count = world.server.query(&path).await?.as_i64().expect("a number");
            anyhow::ensure!(count >= accepted, "{path}: {count} of {accepted}");
            Ok(count - accepted)
        })
        .await;
    }
    assert!(surplus <= unknown, "{surplus} counted beyond those accepted, {unknown} answers were lost");
}

/// A call that hangs when its server dies is answered by the next one with the result of the same invocation.
#[tokio::test]
async fn a_call_is_answered_by_the_next_server() {
    let mut world = World::start("rust").await;
    let client = world.client();
    let file = world.service.file("gate");
    let held = {
        let (client, file) = (client.clone(), file.clone());
        tokio::spawn(async move { client.call("Gate/k/hold", "held", &json!({"file": file})).await })
    };
    eventually(PATIENCE, "the handler hangs", async || {
        let look = world.server.admin.get("/services/Gate/keys/k").await?.json()?;
        anyhow::ensure!(look["holder"]["status"] == "running", "{look:#}");
        Ok(())
    })
    .await;
    world.server.crash().await;
    world.server.crash().await;
    std::fs::write(file, "").unwrap();
    assert_eq!(held.await.unwrap(), "released");
}
