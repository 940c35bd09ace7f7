//! `Interpreter`: an object that executes programs.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use restate_sdk::context::{DurableFuture, DurableFuturesUnordered, Request, RequestTarget};
use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::steps::Attempts;

type Program = Vec<Command>;

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Command {
    Set { name: String, value: i64 },
    Add { name: String, value: i64 },
    Get { name: String },
    Clear { name: String },
    Keys {},
    Sleep { ms: u64 },
    Step { value: i64 },
    Flaky { times: u32, value: i64 },
    Crash { times: u32 },
    Fail { code: u16, message: String },
    Try { body: Program },
    Call { key: String, program: Program },
    Send { key: String, program: Program, ms: Option<u64> },
    Attach { key: String, program: Program },
    Idempotent { key: String, idempotency_key: String, program: Program },
    Cancel { key: String },
    Awakeable { key: String, value: i64 },
    Rejected { key: String },
    Resolve { id: String, value: i64 },
    Reject { id: String },
    Parallel { branches: Program },
    Race { branches: Program },
}

const HOUR_MS: u64 = 3_600_000;

static FAILURES: Attempts = Attempts::new();

type Pending<'a> = Pin<Box<dyn DurableFuture<Output = Result<i64, TerminalError>> + Send + 'a>>;
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A branch: what it adds, or will add.
enum Branch<'a> {
    Done(i64),
    Pending(Pending<'a>),
}

/// Why a program ends early. Only a terminal error is caught by `try`.
enum Stop {
    Terminal(TerminalError),
    Retryable(HandlerError),
}

impl From<TerminalError> for Stop {
    fn from(error: TerminalError) -> Self {
        Self::Terminal(error)
    }
}

impl From<Stop> for HandlerError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Terminal(error) => error.into(),
            Stop::Retryable(error) => error,
        }
    }
}

struct Execution<'a> {
    ctx: &'a ObjectContext<'a>,
    acc: i64,
}

impl<'a> Execution<'a> {
    fn program<'b>(&'b mut self, commands: &'a [Command], around: String) -> BoxFuture<'b, Result<(), Stop>>
    where
        'a: 'b,
    {
        Box::pin(async move {
            for (i, command) in commands.iter().enumerate() {
                self.command(command, format!("{around}{i}")).await?;
            }
            Ok(())
        })
    }

    async fn command(&mut self, command: &'a Command, at: String) -> Result<(), Stop> {
        let ctx = self.ctx;
        match command {
            Command::Set { name, value } => ctx.set(name, *value),
            Command::Add { name, value } => ctx.set(name, self.state(name).await? + value),
            Command::Get { name } => self.acc += self.state(name).await?,
            Command::Clear { name } => ctx.clear(name),
            Command::Keys {} => drop(ctx.get_keys().await?),
            Command::Flaky { times, value } => {
                let (counter, times, value) = (self.counter(&at), *times, *value);
                let step = async move || match FAILURES.count(&counter) {
                    attempt if attempt <= times => Err(Attempts::failed(attempt, &counter)),
                    _ => Ok(value),
                };
                let policy = RunRetryPolicy::new().initial_delay(Duration::from_millis(10)).exponentiation_factor(1.0);
                self.acc += ctx.run(step).name(format!("flaky-{at}")).retry_policy(policy).await?;
            }
            Command::Crash { times } => {
                let attempt = FAILURES.count(&self.counter(&at));
                if attempt <= *times {
                    return Err(Stop::Retryable(Attempts::failed(attempt, &at)));
                }
            }
            Command::Fail { code, message } => {
                return Err(TerminalError::new_with_code(*code, message.clone()).into());
            }
            Command::Try { body } => match self.program(body, format!("{at}.")).await {
                Err(Stop::Terminal(_)) => self.acc += 1000,
                other => other?,
            },
            Command::Send { key, program, ms: Some(ms) } => {
                drop(self.request(key, program.clone()).send_after(Duration::from_millis(*ms)));
            }
            Command::Send { key, program, ms: None } => drop(self.request(key, program.clone()).send()),
            Command::Idempotent { key, idempotency_key, program } => {
                for _ in 0..2 {
                    let request = self.request(key, program.clone()).idempotency_key(idempotency_key);
                    self.acc += request.call().await?;
                }
            }
            Command::Cancel { key } => {
                let invocation = self.request(key, vec![Command::Sleep { ms: HOUR_MS }]).send().await?;
                invocation.cancel();
                self.acc += i64::from(invocation.attach::<i64>().await.is_err());
            }
            Command::Rejected { key } => {
                let (id, promise) = ctx.awakeable::<i64>();
                drop(self.request(key, vec![Command::Reject { id }]).send());
                self.acc += i64::from(promise.await.is_err());
            }
            Command::Resolve { id, value } => ctx.resolve_awakeable(id, *value),
            Command::Reject { id } => ctx.reject_awakeable(id, TerminalError::new("rejected")),
            Command::Parallel { branches } => {
                for branch in self.start(branches, &at).await? {
                    self.finish(branch).await?;
                }
            }
            Command::Race { branches } => {
                let mut pending = DurableFuturesUnordered::new();
                for branch in self.start(branches, &at).await? {
                    match branch {
                        Branch::Done(value) => self.acc += value,
                        Branch::Pending(future) => drop(pending.push(future)),
                    }
                }
                while let Some((_, result)) = pending.next().await? {
                    self.acc += result?;
                }
            }
            Command::Sleep { .. }
            | Command::Step { .. }
            | Command::Call { .. }
            | Command::Attach { .. }
            | Command::Awakeable { .. } => {
                let branch = self.branch(command, &at).await?;
                self.finish(branch).await?;
            }
        }
        Ok(())
    }

    async fn finish(&mut self, branch: Branch<'a>) -> Result<(), TerminalError> {
        self.acc += match branch {
            Branch::Done(value) => value,
            Branch::Pending(future) => future.await?,
        };
        Ok(())
    }

    async fn start(&self, branches: &'a [Command], at: &str) -> Result<Vec<Branch<'a>>, TerminalError> {
        let mut started = Vec::new();
        for (i, branch) in branches.iter().enumerate() {
            started.push(self.branch(branch, &format!("{at}.{i}")).await?);
        }
        Ok(started)
    }

    async fn branch(&self, branch: &'a Command, at: &str) -> Result<Branch<'a>, TerminalError> {
        let ctx = self.ctx;
        Ok(match branch {
            Command::Sleep { ms } => Branch::Pending(Box::pin(ctx.sleep(Duration::from_millis(*ms)).map_ok(|()| 0))),
            Command::Step { value } => {
                let value = *value;
                // A step is no durable future: it is done here.
                Branch::Done(ctx.run(async move || Ok(value)).name(format!("step-{at}")).await?)
            }
            Command::Call { key, program } => Branch::Pending(Box::pin(self.request(key, program.clone()).call())),
            Command::Attach { key, program } => {
                let invocation = self.request(key, program.clone()).send().await?;
                Branch::Pending(Box::pin(invocation.attach::<i64>()))
            }
            Command::Awakeable { key, value } => {
                let (id, promise) = ctx.awakeable::<i64>();
                drop(self.request(key, vec![Command::Resolve { id, value: *value }]).send());
                Branch::Pending(Box::pin(promise))
            }
            _ => return Err(TerminalError::new("this cannot be a branch")),
        })
    }

    async fn state(&self, name: &'a str) -> Result<i64, TerminalError> {
        Ok(self.ctx.get(name).await?.unwrap_or(0))
    }

    fn request(&self, key: &str, program: Program) -> Request<'a, Json<Program>, i64> {
        self.ctx.request(RequestTarget::object("Interpreter", key, "run"), Json(program))
    }

    fn counter(&self, at: &str) -> String {
        format!("{} {at}", self.ctx.invocation_id())
    }
}

async fn state<'a>(ctx: &'a SharedObjectContext<'a>, name: &'a str) -> Result<Option<i64>, TerminalError> {
    ctx.get(name).await
}

async fn names<'a>(ctx: &'a SharedObjectContext<'a>) -> Result<Vec<String>, TerminalError> {
    ctx.get_keys().await
}

pub struct Interpreter;

#[object]
impl Interpreter {
    #[handler]
    async fn run(&self, ctx: ObjectContext<'_>, program: Json<Program>) -> Result<i64, HandlerError> {
        let program = program.into_inner();
        execute(&ctx, &program).await
    }

    #[handler]
    async fn state(&self, ctx: SharedObjectContext<'_>) -> Result<Json<BTreeMap<String, Option<i64>>>, TerminalError> {
        let mut entries = BTreeMap::new();
        for name in names(&ctx).await? {
            let value = state(&ctx, &name).await?;
            entries.insert(name, value);
        }
        Ok(Json(entries))
    }
}

async fn execute<'a>(ctx: &'a ObjectContext<'a>, program: &'a [Command]) -> Result<i64, HandlerError> {
    let mut execution = Execution { ctx, acc: 0 };
    execution.program(program, String::new()).await?;
    Ok(execution.acc)
}
