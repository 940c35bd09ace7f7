//! `Steps` and `Sleeper`: durable steps, retries, sleeping.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::log_step;
use crate::objects::Event;

/// Attempts by key. In memory on purpose: a restarted process counts anew.
static ATTEMPTS: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);

fn count_attempt(key: &str) -> u32 {
    let mut attempts = ATTEMPTS.lock().expect("nobody panics while holding it");
    let count = attempts.get_or_insert_default().entry(key.to_owned()).or_default();
    *count += 1;
    *count
}

#[derive(Serialize, Deserialize)]
pub struct FailTimes {
    key: String,
    times: u32,
}

#[derive(Serialize, Deserialize)]
pub struct Slow {
    n: u32,
    #[serde(rename = "delayMs")]
    delay_ms: u64,
}

pub struct Steps;

/// `n` steps one after the other; `run` lines when a step's work is done, `ack` lines once its result is durable.
async fn run_steps(ctx: &Context<'_>, n: u32, delay: Duration) -> Result<u32, HandlerError> {
    let id = ctx.invocation_id().to_owned();
    for i in 0..n {
        let line = format!("run {id} {i}");
        let work = async move || {
            tokio::time::sleep(delay).await;
            Ok(log_step(&line)?)
        };
        ctx.run(work).name(format!("step-{i}")).await?;
        log_step(&format!("ack {id} {i}"))?;
    }
    Ok(n)
}

#[service]
impl Steps {
    #[handler]
    async fn run(&self, ctx: Context<'_>, n: u32) -> Result<u32, HandlerError> {
        run_steps(&ctx, n, Duration::ZERO).await
    }

    #[handler(name = "runSlow")]
    async fn run_slow(&self, ctx: Context<'_>, slow: Json<Slow>) -> Result<u32, HandlerError> {
        let Slow { n, delay_ms } = slow.into_inner();
        run_steps(&ctx, n, Duration::from_millis(delay_ms)).await
    }

    #[handler(name = "failTimes")]
    async fn fail_times(&self, _ctx: Context<'_>, fail: Json<FailTimes>) -> Result<u32, HandlerError> {
        let FailTimes { key, times } = fail.into_inner();
        let attempt = count_attempt(&key);
        if attempt <= times {
            return Err(format!("attempt {attempt} of {key} fails as asked").into());
        }
        Ok(attempt)
    }

    #[handler(name = "failingStep")]
    async fn failing_step(&self, ctx: Context<'_>, fail: Json<FailTimes>) -> Result<u32, HandlerError> {
        let FailTimes { key, times } = fail.into_inner();
        let work = async move || match count_attempt(&key) {
            attempt if attempt <= times => Err(format!("step attempt {attempt} of {key} fails as asked").into()),
            attempt => Ok(attempt),
        };
        let policy = RunRetryPolicy::new().initial_delay(Duration::from_millis(10));
        Ok(ctx.run(work).name("failing").retry_policy(policy).await?)
    }

    #[handler(name = "onEvent")]
    async fn on_event(&self, ctx: Context<'_>, event: Json<Event>) -> Result<(), HandlerError> {
        let line = format!("event {}", event.into_inner().seq);
        ctx.run(async move || Ok(log_step(&line)?)).name("event").await?;
        Ok(())
    }
}

pub struct Sleeper;

#[service]
impl Sleeper {
    #[handler]
    async fn sleep(&self, ctx: Context<'_>, ms: u64) -> Result<String, TerminalError> {
        ctx.sleep(Duration::from_millis(ms)).await?;
        Ok("slept".to_owned())
    }

    #[handler(name = "sleepThenStep")]
    async fn sleep_then_step(&self, ctx: Context<'_>, ms: u64) -> Result<String, HandlerError> {
        ctx.sleep(Duration::from_millis(ms)).await?;
        let line = format!("slept {}", ctx.invocation_id());
        Ok(ctx.run(async move || log_step(&line).map(|()| line).map_err(Into::into)).name("after-sleep").await?)
    }
}
