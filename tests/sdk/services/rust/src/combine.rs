//! `Combine`: several things awaited at once. `NonDet`: handlers that do not do twice the same.

use std::pin::Pin;
use std::time::Duration;

use restate_sdk::context::{CallFuture, DurableFuture, DurableFuturesUnordered};
use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::objects::CounterClient;
use crate::steps::{Attempts, SleeperClient};
use crate::waiting::{held, text};

#[derive(Serialize, Deserialize)]
pub struct Held {
    key: String,
    #[serde(default)]
    n: usize,
}

type Text<'a> = Pin<Box<dyn DurableFuture<Output = Result<String, TerminalError>> + Send + 'a>>;

async fn awakeables<'a>(ctx: &'a Context<'a>, held_by: &Held) -> Result<Vec<Text<'a>>, TerminalError> {
    let mut promises = Vec::new();
    for i in 0..held_by.n {
        promises.push(Box::pin(held(ctx, format!("{}-{i}", held_by.key)).await?) as Text<'a>);
    }
    Ok(promises)
}

/// The first of all, with its index.
async fn first<T>(
    futures: &mut DurableFuturesUnordered<impl DurableFuture<Output = T>>,
) -> Result<(usize, T), TerminalError> {
    futures.next().await?.ok_or_else(|| TerminalError::new("there is none"))
}

static WINNERS: Attempts = Attempts::new();

pub struct Combine;

#[service]
impl Combine {
    #[handler]
    async fn all(&self, ctx: Context<'_>, input: Json<Held>) -> Result<Json<Value>, HandlerError> {
        let mut pending: DurableFuturesUnordered<_> =
            awakeables(&ctx, &input.into_inner()).await?.into_iter().collect();
        let mut values = vec![String::new(); pending.len()];
        while let Some((i, result)) = pending.next().await? {
            match result {
                Ok(value) => values[i] = value,
                Err(_) => return Ok(Json(json!(text(result)))),
            }
        }
        Ok(Json(json!(values)))
    }

    #[handler]
    async fn any(&self, ctx: Context<'_>, input: Json<Held>) -> Result<String, HandlerError> {
        let mut pending: DurableFuturesUnordered<_> =
            awakeables(&ctx, &input.into_inner()).await?.into_iter().collect();
        while let Some((_, result)) = pending.next().await? {
            if let Ok(value) = result {
                return Ok(value);
            }
        }
        Ok("all rejected".to_owned())
    }

    #[handler]
    async fn race(&self, ctx: Context<'_>, input: Json<Held>) -> Result<String, HandlerError> {
        let mut pending = awakeables(&ctx, &input.into_inner()).await?.into_iter().collect();
        Ok(text(first(&mut pending).await?.1))
    }

    #[handler(name = "allSettled")]
    async fn all_settled(&self, ctx: Context<'_>, input: Json<Held>) -> Result<Json<Vec<String>>, HandlerError> {
        let mut texts = Vec::new();
        for promise in awakeables(&ctx, &input.into_inner()).await? {
            texts.push(text(promise.await));
        }
        Ok(Json(texts))
    }

    #[handler]
    async fn select(&self, ctx: Context<'_>, input: Json<Held>) -> Result<u64, HandlerError> {
        let mut pending = awakeables(&ctx, &input.into_inner()).await?.into_iter().collect();
        Ok(first(&mut pending).await?.0 as u64)
    }

    #[handler]
    async fn order(&self, ctx: Context<'_>, delays: Json<Vec<u64>>) -> Result<Json<Vec<usize>>, HandlerError> {
        let sleep = |ms| ctx.sleep(Duration::from_millis(ms));
        let mut pending: DurableFuturesUnordered<_> = delays.into_inner().into_iter().map(sleep).collect();
        let mut order = Vec::new();
        while let Some((i, slept)) = pending.next().await? {
            slept?;
            order.push(i);
        }
        Ok(Json(order))
    }

    #[handler]
    async fn timeout(&self, ctx: Context<'_>, ms: u64) -> Result<String, HandlerError> {
        let (_, promise) = ctx.awakeable::<String>();
        restate_sdk::select! {
            value = promise => { Ok(text(value)) },
            slept = ctx.sleep(Duration::from_millis(ms)) => { Ok(slept.map(|()| "timeout".to_owned())?) },
        }
    }

    #[handler(name = "sameWinner")]
    async fn same_winner(&self, ctx: Context<'_>, input: Json<Held>) -> Result<bool, HandlerError> {
        let key = input.into_inner().key;
        let mut pending = awakeables(&ctx, &Held { key: key.clone(), n: 2 }).await?.into_iter().collect();
        let (winner, _) = first(&mut pending).await?;
        let winner = winner as u64;
        let stored = ctx.run(async move || Ok(winner)).name("winner").await?;
        if WINNERS.count(&key) == 1 {
            return Err(Attempts::failed(1, &key));
        }
        Ok(winner == stored)
    }

    #[handler(name = "cancelLoser")]
    async fn cancel_loser(&self, ctx: Context<'_>) -> Result<String, HandlerError> {
        let call = |ms| ctx.service_client::<SleeperClient>().sleep(ms).call();
        let calls = [call(3_600_000), call(1)];
        let [long, short] = [calls[0].invocation_handle().await?, calls[1].invocation_handle().await?];
        let mut pending = calls.into_iter().collect();
        let (winner, _) = first(&mut pending).await?;
        let loser = if winner == 1 { long } else { short };
        loser.cancel();
        Ok(loser.invocation_id().to_owned())
    }
}

static TRIES: Attempts = Attempts::new();

pub struct NonDet;

async fn swap(ctx: &ObjectContext<'_>, kind: &str, is_a: bool) -> Result<(), TerminalError> {
    let count = async |key| ctx.object_client::<CounterClient>(key).get().call().await.map(drop);
    match kind {
        "command" if is_a => ctx.sleep(Duration::from_millis(1)).await,
        "command" => count(ctx.key().to_owned()).await,
        "target" => count(format!("{}-{}", ctx.key(), if is_a { "a" } else { "b" })).await,
        "state" => {
            ctx.set(if is_a { "a" } else { "b" }, 1_i64);
            ctx.sleep(Duration::from_millis(1)).await
        }
        _ => Err(TerminalError::new(format!("there is no kind {kind}"))),
    }
}

#[object]
impl NonDet {
    #[handler]
    async fn run(&self, ctx: ObjectContext<'_>, kind: String) -> Result<u32, HandlerError> {
        let attempt = TRIES.count(&format!("{} {kind}", ctx.key()));
        swap(&ctx, &kind, attempt % 2 == 1).await?;
        if attempt <= 2 {
            return Err(Attempts::failed(attempt, ctx.key()));
        }
        Ok(attempt)
    }
}
