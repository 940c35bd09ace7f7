//! `Caller`: calls and sends to other handlers.

use std::time::Duration;

use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::objects::CounterClient;

#[derive(Serialize, Deserialize)]
pub struct Failure {
    pub code: u16,
    pub message: String,
}

#[derive(Serialize, Deserialize)]
pub struct Add {
    key: String,
    n: i64,
    #[serde(default, rename = "delayMs")]
    delay_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub struct Chain {
    key: String,
    depth: u32,
}

#[derive(Serialize, Deserialize)]
pub struct FanOut {
    key: String,
    width: u32,
    n: i64,
}

pub struct Caller;

#[service]
impl Caller {
    #[handler(name = "callCounter")]
    async fn call_counter(&self, ctx: Context<'_>, add: Json<Add>) -> Result<i64, TerminalError> {
        let add = add.into_inner();
        ctx.object_client::<CounterClient>(add.key).add(add.n).call().await
    }

    #[handler(name = "sendCounter")]
    async fn send_counter(&self, ctx: Context<'_>, add: Json<Add>) -> Result<String, TerminalError> {
        let add = add.into_inner();
        drop(ctx.object_client::<CounterClient>(add.key).add(add.n).send());
        Ok("sent".to_owned())
    }

    #[handler(name = "sendDelayed")]
    async fn send_delayed(&self, ctx: Context<'_>, add: Json<Add>) -> Result<String, TerminalError> {
        let add = add.into_inner();
        let request = ctx.object_client::<CounterClient>(add.key).add(add.n);
        drop(request.send_after(Duration::from_millis(add.delay_ms)));
        Ok("sent".to_owned())
    }

    #[handler(name = "sendForId")]
    async fn send_for_id(&self, ctx: Context<'_>, add: Json<Add>) -> Result<String, TerminalError> {
        let add = add.into_inner();
        let sent = ctx.object_client::<CounterClient>(add.key).add(add.n).send().await?;
        Ok(sent.invocation_id().to_owned())
    }

    #[handler]
    async fn chain(&self, ctx: Context<'_>, link: Json<Chain>) -> Result<i64, TerminalError> {
        let Chain { key, depth } = link.into_inner();
        if depth == 0 {
            return ctx.object_client::<CounterClient>(key).add(1).call().await;
        }
        ctx.service_client::<CallerClient>().chain(Json(Chain { key, depth: depth - 1 })).call().await
    }

    #[handler(name = "fanOut")]
    async fn fan_out(&self, ctx: Context<'_>, fan: Json<FanOut>) -> Result<i64, TerminalError> {
        let FanOut { key, width, n } = fan.into_inner();
        let call = |i| ctx.object_client::<CounterClient>(format!("{key}-{i}")).add(n).call();
        // Each call is made when its future is; awaiting them in a row waits for all. The SDK's own futures must not be
        // polled by another combinator.
        let calls: Vec<_> = (0..width).map(call).collect();
        let mut sum = 0;
        for call in calls {
            sum += call.await?;
        }
        Ok(sum)
    }

    #[handler(name = "callFailing")]
    async fn call_failing(&self, ctx: Context<'_>, with: Json<Failure>) -> Result<String, TerminalError> {
        match ctx.service_client::<crate::GreeterClient>().fail(with).call().await {
            Ok(()) => Ok("no error".to_owned()),
            Err(error) => Ok(crate::error_text(&error)),
        }
    }
}
