//! `Proxy`: any handler by its name, with bytes. `Signals`: what one invocation does with another.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use restate_sdk::context::{Request, RequestTarget};
use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error_text;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    service: String,
    handler: String,
    key: Option<String>,
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    idempotency_key: Option<String>,
    delay_ms: Option<u64>,
}

impl Target {
    fn request<'a>(self, ctx: &Context<'a>) -> Result<Request<'a, Vec<u8>, Vec<u8>>, HandlerError> {
        let body = BASE64_STANDARD.decode(self.body.unwrap_or_default())?;
        let target = match self.key {
            Some(key) => RequestTarget::object(self.service, key, self.handler),
            None => RequestTarget::service(self.service, self.handler),
        };
        let mut request = ctx.request(target, body);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if let Some(key) = self.idempotency_key {
            request = request.idempotency_key(key);
        }
        Ok(request)
    }
}

pub struct Proxy;

#[service]
impl Proxy {
    #[handler]
    async fn call(&self, ctx: Context<'_>, target: Json<Target>) -> Result<String, HandlerError> {
        Ok(BASE64_STANDARD.encode(target.into_inner().request(&ctx)?.call().await?))
    }

    #[handler]
    async fn send(&self, ctx: Context<'_>, target: Json<Target>) -> Result<String, HandlerError> {
        let target = target.into_inner();
        let delay = target.delay_ms;
        let request = target.request(&ctx)?;
        let sent = match delay {
            Some(ms) => request.send_after(Duration::from_millis(ms)),
            None => request.send(),
        };
        Ok(sent.await?.invocation_id().to_owned())
    }

    #[handler(name = "callMany")]
    async fn call_many(&self, ctx: Context<'_>, targets: Json<Vec<Target>>) -> Result<Json<Vec<Value>>, HandlerError> {
        let mut calls = Vec::new();
        for target in targets.into_inner() {
            calls.push(target.request(&ctx)?.call());
        }
        let mut results = Vec::new();
        for call in calls {
            results.push(match call.await {
                Ok(body) => json!({"ok": BASE64_STANDARD.encode(body)}),
                Err(error) => json!({"error": error_text(&error)}),
            });
        }
        Ok(Json(results))
    }
}

#[derive(Serialize, Deserialize)]
pub struct Name {
    name: String,
}

#[derive(Serialize, Deserialize)]
pub struct Id {
    id: String,
}

#[derive(Serialize, Deserialize)]
pub struct Signal {
    id: String,
    name: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    reason: String,
}

pub struct Signals;

#[service]
impl Signals {
    #[handler]
    async fn wait(&self, ctx: Context<'_>, name: Json<Name>) -> Result<String, HandlerError> {
        let name = name.into_inner().name;
        Ok(ctx.signal::<String>(&name).await.unwrap_or_else(|error| format!("rejected: {}", error.message())))
    }

    #[handler(name = "waitTwice")]
    async fn wait_twice(&self, ctx: Context<'_>, name: Json<Name>) -> Result<Json<Vec<String>>, HandlerError> {
        let name = name.into_inner().name;
        let first = ctx.signal::<String>(&name).await?;
        let second = ctx.signal::<String>(&name).await?;
        Ok(Json(vec![first, second]))
    }

    #[handler]
    async fn resolve(&self, ctx: Context<'_>, signal: Json<Signal>) -> Result<(), HandlerError> {
        let Signal { id, name, value, .. } = signal.into_inner();
        ctx.invocation_handle(id).signal(name).resolve(value);
        Ok(())
    }

    #[handler]
    async fn reject(&self, ctx: Context<'_>, signal: Json<Signal>) -> Result<(), HandlerError> {
        let Signal { id, name, reason, .. } = signal.into_inner();
        ctx.invocation_handle(id).signal(name).reject(TerminalError::new(reason));
        Ok(())
    }

    #[handler]
    async fn cancel(&self, ctx: Context<'_>, id: Json<Id>) -> Result<(), HandlerError> {
        ctx.invocation_handle(id.into_inner().id).cancel();
        Ok(())
    }

    #[handler]
    async fn attach(&self, ctx: Context<'_>, id: Json<Id>) -> Result<Json<Value>, HandlerError> {
        Ok(Json(match ctx.invocation_handle(id.into_inner().id).attach::<Vec<u8>>().await {
            Ok(output) if output.is_empty() => json!({"ok": null}),
            Ok(output) => json!({"ok": serde_json::from_slice::<Value>(&output)?}),
            Err(error) => json!({"error": error_text(&error)}),
        }))
    }
}
