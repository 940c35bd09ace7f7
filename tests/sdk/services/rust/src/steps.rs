//! `Steps` and `Sleeper`: durable steps, retries, sleeping.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::calls::Failure;
use crate::objects::Event;
use crate::{error_text, log_step};

/// Counts attempts by key. In memory on purpose: a restarted process counts anew.
pub struct Attempts(Mutex<BTreeMap<String, u32>>);

impl Attempts {
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    pub fn count(&self, key: &str) -> u32 {
        let mut attempts = self.0.lock().expect("nobody panics while holding it");
        let count = attempts.entry(key.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// Attempts so far.
    fn counted(&self, key: &str) -> u32 {
        self.0.lock().expect("nobody panics while holding it").get(key).copied().unwrap_or(0)
    }

    /// The retryable error of a handler that is asked to fail.
    pub fn failed(attempt: u32, key: &str) -> HandlerError {
        format!("attempt {attempt} of {key} fails as asked").into()
    }
}

// Each handler counts its own attempts.
static FAIL_TIMES: Attempts = Attempts::new();
static FAILING_STEP: Attempts = Attempts::new();
static FAILING: Attempts = Attempts::new();
static LOGGED: Attempts = Attempts::new();
static SAME_RANDOM: Attempts = Attempts::new();

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

#[derive(Serialize, Deserialize)]
pub struct Limited {
    key: String,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    ms: u64,
}

#[derive(Serialize, Deserialize)]
pub struct Key {
    key: String,
}

/// How often a step ran that always fails, once its retries are used up.
async fn failing(ctx: &Context<'_>, key: String, policy: RunRetryPolicy) -> u32 {
    let counter = key.clone();
    let work = async move || Err::<(), _>(Attempts::failed(FAILING.count(&counter), &counter));
    let _ = ctx.run(work).name("failing").retry_policy(policy).await;
    FAILING.counted(&key)
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
        let attempt = FAIL_TIMES.count(&key);
        if attempt <= times { Err(Attempts::failed(attempt, &key)) } else { Ok(attempt) }
    }

    #[handler(name = "failingStep")]
    async fn failing_step(&self, ctx: Context<'_>, fail: Json<FailTimes>) -> Result<u32, HandlerError> {
        let FailTimes { key, times } = fail.into_inner();
        let work = async move || match FAILING_STEP.count(&key) {
            attempt if attempt <= times => Err(Attempts::failed(attempt, &key)),
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

    #[handler]
    async fn exhausted(&self, ctx: Context<'_>, limited: Json<Limited>) -> Result<u32, HandlerError> {
        let Limited { key, attempts, .. } = limited.into_inner();
        let policy = RunRetryPolicy::new().initial_delay(Duration::from_millis(10)).exponentiation_factor(1.0);
        Ok(failing(&ctx, key, policy.max_attempts(attempts)).await)
    }

    #[handler(name = "outOfTime")]
    async fn out_of_time(&self, ctx: Context<'_>, limited: Json<Limited>) -> Result<u32, HandlerError> {
        let Limited { key, ms, .. } = limited.into_inner();
        let policy = RunRetryPolicy::new().initial_delay(Duration::from_millis(50)).exponentiation_factor(1.0);
        Ok(failing(&ctx, key, policy.max_duration(Duration::from_millis(ms))).await)
    }

    #[handler(name = "terminalStep")]
    async fn terminal_step(&self, ctx: Context<'_>, with: Json<Failure>) -> Result<String, HandlerError> {
        let Failure { code, message } = with.into_inner();
        let work = async move || Err::<(), HandlerError>(TerminalError::new_with_code(code, message).into());
        Ok(ctx.run(work).name("terminal").await.map_or_else(|error| error_text(&error), |()| "no error".to_owned()))
    }

    #[handler]
    async fn logged(&self, ctx: Context<'_>, key: Json<Key>) -> Result<(), HandlerError> {
        let key = key.into_inner().key;
        tracing::warn!("logged {key}");
        ctx.run(async || Ok(())).name("behind").await?;
        if LOGGED.count(&key) == 1 { Err(Attempts::failed(1, &key)) } else { Ok(()) }
    }

    #[handler(name = "sameRandom")]
    async fn same_random(&self, ctx: Context<'_>, key: Json<Key>) -> Result<bool, HandlerError> {
        let key = key.into_inner().key;
        let random = ctx.random_seed();
        let stored = ctx.run(async move || Ok(random)).name("random").await?;
        if SAME_RANDOM.count(&key) == 1 { Err(Attempts::failed(1, &key)) } else { Ok(random == stored) }
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
