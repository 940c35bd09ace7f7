//! A step whose result was acknowledged is never run again (invariant 5).

use std::{collections::HashSet, time::Duration};

use serde_json::json;

use crate::{
    support::{pause, tier},
    world::{Victim, World},
};

/// After the first `ack` line of a step there is no further `run` line of it, and every step has run.
fn judge(lines: &[String], ids: &[String], steps: usize) {
    let (mut acknowledged, mut run) = (HashSet::new(), HashSet::new());
    for line in lines {
        if let Some(step) = line.strip_prefix("run ") {
            assert!(!acknowledged.contains(step), "step {step} was run again after it was acknowledged");
            run.insert(step);
        } else if let Some(step) = line.strip_prefix("ack ") {
            assert!(run.contains(step), "step {step} was acknowledged and never run");
            acknowledged.insert(step);
        }
    }
    for id in ids {
        for step in 0..steps {
            assert!(acknowledged.contains(format!("{id} {step}").as_str()), "step {step} of {id} is missing");
        }
    }
}

#[test]
#[should_panic(expected = "was run again after it was acknowledged")]
fn the_judge_sees_a_step_that_runs_again() {
    let lines = ["run a 0", "ack a 0", "ack a 0", "run a 0"].map(str::to_owned);
    judge(&lines, &["a".to_owned()], 1);
}

async fn acknowledged_steps_are_not_run_again(language: &str) {
    let mut world = World::start(language).await;
    let client = world.client();
    let (flows, steps) = (tier(16, 100), 25);
    let mut ids = Vec::new();
    for n in 0..flows {
        // The large ones do not fit into a pause between two kills.
        let input = json!({"n": steps, "delayMs": n % 4 * 25});
        ids.push(client.send("Steps/runSlow", &format!("flow-{n}"), &input).await);
    }
    let before = world.service.steps().len();
    world.kills(4, 20).await;
    for id in &ids {
        assert_eq!(client.attach(id).await, steps);
    }
    let lines = world.service.steps();
    assert!(lines.len() > before);
    judge(&lines, &ids, steps);
}

#[tokio::test]
async fn acknowledged_steps_are_not_run_again_rust() {
    acknowledged_steps_are_not_run_again("rust").await;
}

#[tokio::test]
async fn acknowledged_steps_are_not_run_again_typescript() {
    acknowledged_steps_are_not_run_again("typescript").await;
}

#[tokio::test]
async fn acknowledged_steps_are_not_run_again_python() {
    acknowledged_steps_are_not_run_again("python").await;
}

/// Only the handler's process dies: the server replays to the next one, and what waits for a retry is not lost.
#[tokio::test]
async fn a_handler_process_may_be_away_for_a_while() {
    let mut world = World::start("rust").await;
    let client = world.client();
    let mut ids = Vec::new();
    for n in 0..8 {
        ids.push(client.send("Steps/runSlow", &format!("flow-{n}"), &json!({"n": 10, "delayMs": 20})).await);
    }
    world.service.kill();
    // Long enough for refused connections and second attempts.
    pause(Duration::from_millis(1500)).await;
    world.server.crash().await;
    world.service.start_again();
    world.kill(Victim::Service, Duration::from_millis(100)).await;
    for id in &ids {
        assert_eq!(client.attach(id).await, 10);
    }
    judge(&world.service.steps(), &ids, 10);
}
