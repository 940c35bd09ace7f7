//! `ListObject`, `MapObject` and `LazyMap`: state in every way it can be touched.

use std::collections::BTreeMap;

use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};

const LIST: &str = "list";

pub struct ListObject;

#[object]
impl ListObject {
    #[handler]
    async fn append(&self, ctx: ObjectContext<'_>, value: String) -> Result<u64, TerminalError> {
        let mut values = ctx.get::<Json<Vec<String>>>(LIST).await?.map(Json::into_inner).unwrap_or_default();
        values.push(value);
        let length = values.len() as u64;
        ctx.set(LIST, Json(values));
        Ok(length)
    }

    #[handler]
    async fn get(&self, ctx: SharedObjectContext<'_>) -> Result<Json<Vec<String>>, TerminalError> {
        Ok(ctx.get::<Json<Vec<String>>>(LIST).await?.unwrap_or_default())
    }

    #[handler]
    async fn clear(&self, ctx: ObjectContext<'_>) -> Result<Json<Vec<String>>, TerminalError> {
        let values = ctx.get::<Json<Vec<String>>>(LIST).await?.unwrap_or_default();
        ctx.clear(LIST);
        Ok(values)
    }
}

#[derive(Serialize, Deserialize)]
pub struct Entry {
    name: String,
    value: String,
}

// A name of an entry must live as long as the context it is asked with: here both are made to live equally short.
async fn read<'a>(ctx: &'a ObjectContext<'a>, name: &'a str) -> Result<Option<String>, TerminalError> {
    ctx.get(name).await
}

async fn peek<'a>(ctx: &'a SharedObjectContext<'a>, name: &'a str) -> Result<Option<String>, TerminalError> {
    ctx.get(name).await
}

async fn sorted_keys<'a>(ctx: &'a ObjectContext<'a>) -> Result<Vec<String>, TerminalError> {
    let mut keys = ctx.get_keys().await?;
    keys.sort();
    Ok(keys)
}

async fn peek_keys<'a>(ctx: &'a SharedObjectContext<'a>) -> Result<Vec<String>, TerminalError> {
    let mut keys = ctx.get_keys().await?;
    keys.sort();
    Ok(keys)
}

async fn churn<'a>(ctx: &'a ObjectContext<'a>, name: &'a str) -> Result<[Option<String>; 4], TerminalError> {
    let a = ctx.get(name).await?;
    ctx.set(name, "1".to_owned());
    let b = ctx.get(name).await?;
    ctx.clear(name);
    let c = ctx.get(name).await?;
    ctx.set(name, "2".to_owned());
    ctx.clear_all();
    Ok([a, b, c, ctx.get(name).await?])
}

macro_rules! map {
    ($name:ident) => {
        pub struct $name;

        #[object]
        impl $name {
            #[handler]
            async fn set(&self, ctx: ObjectContext<'_>, entry: Json<Entry>) -> Result<(), TerminalError> {
                let Entry { name, value } = entry.into_inner();
                ctx.set(&name, value);
                Ok(())
            }

            #[handler(name = "setMany")]
            async fn set_many(&self, ctx: ObjectContext<'_>, entries: Json<Vec<Entry>>) -> Result<(), TerminalError> {
                for Entry { name, value } in entries.into_inner() {
                    ctx.set(&name, value);
                }
                Ok(())
            }

            #[handler]
            async fn get(
                &self,
                ctx: SharedObjectContext<'_>,
                name: String,
            ) -> Result<Json<Option<String>>, TerminalError> {
                Ok(Json(peek(&ctx, &name).await?))
            }

            #[handler(name = "getExclusive")]
            async fn get_exclusive(
                &self,
                ctx: ObjectContext<'_>,
                name: String,
            ) -> Result<Json<Option<String>>, TerminalError> {
                Ok(Json(read(&ctx, &name).await?))
            }

            #[handler]
            async fn clear(&self, ctx: ObjectContext<'_>, name: String) -> Result<(), TerminalError> {
                ctx.clear(&name);
                Ok(())
            }

            #[handler(name = "clearAll")]
            async fn clear_all(&self, ctx: ObjectContext<'_>) -> Result<Json<Vec<String>>, TerminalError> {
                let keys = sorted_keys(&ctx).await?;
                ctx.clear_all();
                Ok(Json(keys))
            }

            #[handler]
            async fn keys(&self, ctx: SharedObjectContext<'_>) -> Result<Json<Vec<String>>, TerminalError> {
                Ok(Json(peek_keys(&ctx).await?))
            }

            #[handler]
            async fn entries(
                &self,
                ctx: SharedObjectContext<'_>,
            ) -> Result<Json<BTreeMap<String, Option<String>>>, TerminalError> {
                let mut entries = BTreeMap::new();
                for name in peek_keys(&ctx).await? {
                    let value = peek(&ctx, &name).await?;
                    entries.insert(name, value);
                }
                Ok(Json(entries))
            }

            #[handler]
            async fn churn(
                &self,
                ctx: ObjectContext<'_>,
                name: String,
            ) -> Result<
                Json<(Option<String>, Option<String>, Option<String>, Option<String>, Vec<String>)>,
                TerminalError,
            > {
                let [a, b, c, d] = churn(&ctx, &name).await?;
                let e = sorted_keys(&ctx).await?;
                ctx.set(&name, "3".to_owned());
                Ok(Json((a, b, c, d, e)))
            }
        }
    };
}

map!(MapObject);
map!(LazyMap);
