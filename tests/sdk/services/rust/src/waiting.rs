//! `Holder` and `Awaiter`: awakeables. `Blocker`: a workflow with promises. `Tree`: calls that are cancelled or killed.

use std::time::Duration;

use restate_sdk::context::DurableFuture;
use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::collections::ListObjectClient;

const ID: &str = "id";
const STAGE: &str = "stage";
const GATE: &str = "gate";
const DONE: &str = "done";
const HOUR: Duration = Duration::from_secs(3600);

pub struct Holder;

async fn take_id(ctx: &ObjectContext<'_>) -> Result<String, TerminalError> {
    let id = ctx.get::<String>(ID).await?.ok_or_else(|| TerminalError::new_with_code(404, "nothing held"))?;
    ctx.clear(ID);
    Ok(id)
}

#[object]
impl Holder {
    #[handler]
    async fn hold(&self, ctx: ObjectContext<'_>, id: String) -> Result<(), TerminalError> {
        ctx.set(ID, id);
        Ok(())
    }

    #[handler]
    async fn held(&self, ctx: SharedObjectContext<'_>) -> Result<Json<Option<String>>, TerminalError> {
        Ok(Json(ctx.get(ID).await?))
    }

    #[handler]
    async fn unlock(&self, ctx: ObjectContext<'_>, value: String) -> Result<(), TerminalError> {
        ctx.resolve_awakeable(&take_id(&ctx).await?, value);
        Ok(())
    }

    #[handler]
    async fn refuse(&self, ctx: ObjectContext<'_>, reason: String) -> Result<(), TerminalError> {
        ctx.reject_awakeable(&take_id(&ctx).await?, TerminalError::new(reason));
        Ok(())
    }
}

/// An awakeable whose id is held by `Holder/<key>`.
pub async fn held<'a>(
    ctx: &'a Context<'a>,
    key: String,
) -> Result<impl DurableFuture<Output = Result<String, TerminalError>> + Send + use<'a>, TerminalError> {
    let (id, promise) = ctx.awakeable::<String>();
    ctx.object_client::<HolderClient>(key).hold(id).call().await?;
    Ok(promise)
}

/// The value, or the text of the terminal error that stands for one.
pub fn text(result: Result<String, TerminalError>) -> String {
    result.unwrap_or_else(|error| format!("rejected: {}", error.message()))
}

#[derive(Serialize, Deserialize)]
pub struct Await {
    key: String,
    #[serde(default)]
    ms: u64,
}

pub struct Awaiter;

#[service]
impl Awaiter {
    #[handler(name = "await")]
    async fn wait(&self, ctx: Context<'_>, input: Json<Await>) -> Result<String, TerminalError> {
        Ok(text(held(&ctx, input.into_inner().key).await?.await))
    }

    #[handler(name = "awaitTimeout")]
    async fn await_timeout(&self, ctx: Context<'_>, input: Json<Await>) -> Result<String, TerminalError> {
        let Await { key, ms } = input.into_inner();
        let promise = held(&ctx, key).await?;
        restate_sdk::select! {
            value = promise => { Ok(text(value)) },
            slept = ctx.sleep(Duration::from_millis(ms)) => { slept.map(|()| "timeout".to_owned()) },
        }
    }

    #[handler(name = "awaitLate")]
    async fn await_late(&self, ctx: Context<'_>, input: Json<Await>) -> Result<String, TerminalError> {
        let Await { key, ms } = input.into_inner();
        let promise = held(&ctx, key).await?;
        ctx.sleep(Duration::from_millis(ms)).await?;
        Ok(text(promise.await))
    }
}

#[derive(Serialize, Deserialize)]
pub struct Submit {
    key: String,
    input: String,
}

pub struct Blocker;

async fn await_gate<'a>(ctx: &'a WorkflowContext<'a>) -> Result<String, TerminalError> {
    ctx.promise(GATE).await
}

async fn promised<'a>(ctx: &'a SharedWorkflowContext<'a>, name: &'a str) -> Result<String, TerminalError> {
    ctx.promise(name).await
}

#[workflow]
impl Blocker {
    #[handler]
    async fn run(&self, ctx: WorkflowContext<'_>, input: String) -> Result<String, TerminalError> {
        ctx.set(STAGE, "waiting".to_owned());
        ctx.set("input", input.clone());
        let output = format!("{input} {}", await_gate(&ctx).await?);
        ctx.set(STAGE, "passed".to_owned());
        ctx.resolve_promise(DONE, output.clone());
        Ok(output)
    }

    #[handler]
    async fn stage(&self, ctx: SharedWorkflowContext<'_>) -> Result<Json<Option<String>>, TerminalError> {
        Ok(Json(ctx.get(STAGE).await?))
    }

    #[handler]
    async fn resolve(&self, ctx: SharedWorkflowContext<'_>, value: String) -> Result<(), TerminalError> {
        ctx.resolve_promise(GATE, value);
        Ok(())
    }

    #[handler]
    async fn reject(&self, ctx: SharedWorkflowContext<'_>, reason: String) -> Result<(), TerminalError> {
        ctx.reject_promise(GATE, TerminalError::new(reason));
        Ok(())
    }

    #[handler]
    async fn peek(&self, ctx: SharedWorkflowContext<'_>) -> Result<Json<Option<String>>, TerminalError> {
        Ok(Json(ctx.peek_promise(GATE).await?))
    }

    #[handler(name = "awaitGate")]
    async fn await_gate(&self, ctx: SharedWorkflowContext<'_>) -> Result<String, TerminalError> {
        promised(&ctx, GATE).await
    }

    #[handler(name = "awaitDone")]
    async fn await_done(&self, ctx: SharedWorkflowContext<'_>) -> Result<String, TerminalError> {
        promised(&ctx, DONE).await
    }

    #[handler]
    async fn submit(&self, ctx: SharedWorkflowContext<'_>, submit: Json<Submit>) -> Result<String, TerminalError> {
        let Submit { key, input } = submit.into_inner();
        ctx.workflow_client::<BlockerClient>(key).run(input).call().await
    }
}

#[derive(Serialize, Deserialize)]
pub struct Grow {
    key: String,
    level: u32,
    wait: Wait,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wait {
    Sleep,
    Awakeable,
    Signal,
}

async fn grow(ctx: &ObjectContext<'_>, key: &str, level: u32, wait: Wait) -> Result<(), TerminalError> {
    if let Some(below) = level.checked_sub(1) {
        let input = Json(Grow { key: key.to_owned(), level: below, wait });
        return ctx.object_client::<TreeClient>(format!("{key}-{below}")).grow(input).call().await;
    }
    ctx.object_client::<ListObjectClient>(key).append("ready".to_owned()).call().await?;
    match wait {
        Wait::Sleep => ctx.sleep(HOUR).await,
        Wait::Awakeable => ctx.awakeable::<()>().1.await,
        Wait::Signal => ctx.signal::<()>("never").await,
    }
}

pub struct Tree;

#[object]
impl Tree {
    #[handler]
    async fn grow(&self, ctx: ObjectContext<'_>, input: Json<Grow>) -> Result<(), TerminalError> {
        let Grow { key, level, wait } = input.into_inner();
        let result = grow(&ctx, &key, level, wait).await;
        if let Err(error) = &result {
            let undone = format!("undo {level} {}", error.code());
            ctx.object_client::<ListObjectClient>(key).append(undone).call().await?;
        }
        result
    }

    #[handler]
    async fn idle(&self, _ctx: ObjectContext<'_>) -> Result<String, TerminalError> {
        Ok("idle".to_owned())
    }
}
