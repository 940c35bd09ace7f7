//! `Counter`, `Gate` and `Events`: virtual objects with state.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{env_number, header_map};

const COUNT: &str = "count";
const SEQS: &str = "seqs";
const HEADERS: &str = "headers";
const RAW: &str = "raw";

/// How often a hanging handler looks for the file that releases it.
const GATE_POLL: Duration = Duration::from_millis(20);

#[derive(Serialize, Deserialize)]
pub struct Event {
    pub seq: u64,
    /// `Gate` only: hang until this file exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub struct Hold {
    file: String,
}

#[derive(Serialize, Deserialize)]
pub struct Flaky {
    n: i64,
    #[serde(rename = "failPercent")]
    fail_percent: u32,
}

async fn append_seq(ctx: &ObjectContext<'_>, seq: u64) -> Result<u64, TerminalError> {
    let mut seqs = ctx.get::<Json<Vec<u64>>>(SEQS).await?.map(Json::into_inner).unwrap_or_default();
    seqs.push(seq);
    let length = seqs.len() as u64;
    ctx.set(SEQS, Json(seqs));
    Ok(length)
}

async fn read_seqs(ctx: &SharedObjectContext<'_>) -> Result<Json<Vec<u64>>, TerminalError> {
    Ok(Json(ctx.get::<Json<Vec<u64>>>(SEQS).await?.map(Json::into_inner).unwrap_or_default()))
}

async fn add(ctx: &ObjectContext<'_>, n: i64) -> Result<i64, TerminalError> {
    let new = ctx.get::<i64>(COUNT).await?.unwrap_or(0) + n;
    ctx.set(COUNT, new);
    Ok(new)
}

/// Fails the attempt with a retryable error in `percent` of 100 calls.
fn maybe_fail(percent: u32, place: &str) -> Result<(), HandlerError> {
    if rand::random_range(0..100) < percent { Err(format!("random failure {place} the change").into()) } else { Ok(()) }
}

async fn wait_for_file(file: &str) {
    while !Path::new(file).exists() {
        tokio::time::sleep(GATE_POLL).await;
    }
}

pub struct Counter;

#[object]
impl Counter {
    #[handler]
    async fn add(&self, ctx: ObjectContext<'_>, n: i64) -> Result<i64, TerminalError> {
        add(&ctx, n).await
    }

    #[handler(name = "flakyAdd")]
    async fn flaky_add(&self, ctx: ObjectContext<'_>, flaky: Json<Flaky>) -> Result<i64, HandlerError> {
        let Flaky { n, fail_percent } = flaky.into_inner();
        maybe_fail(fail_percent, "before")?;
        let new = add(&ctx, n).await?;
        maybe_fail(fail_percent, "after")?;
        Ok(new)
    }

    #[handler]
    async fn get(&self, ctx: SharedObjectContext<'_>) -> Result<i64, TerminalError> {
        Ok(ctx.get::<i64>(COUNT).await?.unwrap_or(0))
    }

    #[handler]
    async fn keys(&self, ctx: SharedObjectContext<'_>) -> Result<Json<Vec<String>>, TerminalError> {
        let mut keys = ctx.get_keys().await?;
        keys.sort();
        Ok(Json(keys))
    }

    #[handler]
    async fn clear(&self, ctx: ObjectContext<'_>) -> Result<(), TerminalError> {
        ctx.clear_all();
        Ok(())
    }

    #[handler(name = "appendSeq")]
    async fn append_seq(&self, ctx: ObjectContext<'_>, event: Json<Event>) -> Result<u64, TerminalError> {
        append_seq(&ctx, event.into_inner().seq).await
    }

    #[handler]
    async fn seqs(&self, ctx: SharedObjectContext<'_>) -> Result<Json<Vec<u64>>, TerminalError> {
        read_seqs(&ctx).await
    }
}

pub struct Gate;

#[object]
impl Gate {
    #[handler]
    async fn hold(&self, _ctx: ObjectContext<'_>, hold: Json<Hold>) -> Result<String, TerminalError> {
        wait_for_file(&hold.into_inner().file).await;
        Ok("released".to_owned())
    }

    #[handler]
    async fn on(&self, ctx: ObjectContext<'_>, event: Json<Event>) -> Result<u64, TerminalError> {
        let event = event.into_inner();
        if let Some(file) = &event.hold {
            wait_for_file(file).await;
        }
        append_seq(&ctx, event.seq).await
    }

    #[handler]
    async fn seqs(&self, ctx: SharedObjectContext<'_>) -> Result<Json<Vec<u64>>, TerminalError> {
        read_seqs(&ctx).await
    }
}

pub struct Events;

#[object]
impl Events {
    #[handler]
    async fn on(&self, ctx: ObjectContext<'_>, event: Json<Event>) -> Result<u64, HandlerError> {
        // Half of the failures before and half after the change.
        let percent: u32 = env_number("FAIL_PERCENT");
        maybe_fail(percent / 2, "before")?;
        let length = append_seq(&ctx, event.into_inner().seq).await?;
        maybe_fail(percent - percent / 2, "after")?;
        Ok(length)
    }

    #[handler]
    async fn seqs(&self, ctx: SharedObjectContext<'_>) -> Result<Json<Vec<u64>>, TerminalError> {
        read_seqs(&ctx).await
    }

    #[handler(name = "onRaw")]
    async fn on_raw(&self, ctx: ObjectContext<'_>, body: Vec<u8>) -> Result<(), TerminalError> {
        ctx.set(RAW, body);
        ctx.set(HEADERS, Json(header_map(ctx.headers())));
        Ok(())
    }

    #[handler]
    async fn raw(&self, ctx: SharedObjectContext<'_>) -> Result<Vec<u8>, TerminalError> {
        Ok(ctx.get::<Vec<u8>>(RAW).await?.unwrap_or_default())
    }

    #[handler]
    async fn headers(&self, ctx: SharedObjectContext<'_>) -> Result<Json<BTreeMap<String, String>>, TerminalError> {
        Ok(ctx.get::<Json<BTreeMap<String, String>>>(HEADERS).await?.unwrap_or(Json(BTreeMap::new())))
    }
}
