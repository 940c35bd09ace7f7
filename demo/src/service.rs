//! The sample service, as a user would write it: a virtual object for every customer that adds up orders.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::orders::Order;

/// State of an object.
const ACCOUNT: &str = "account";
/// How long the payment step waits for its second try: long enough to see that nobody else waits.
const PAYMENT_RETRY: Duration = Duration::from_millis(300);
/// Orders that were handled and not yet shown; the handler of the next one waits.
const REPORTS_MAX: usize = 1024;

/// What an object remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Ids, in the order in which they were handled.
    pub orders: Vec<String>,
    pub total_cents: u64,
    pub last_receipt: String,
}

/// One order was handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub customer: String,
    pub order: String,
    /// Which one of its customer, from 1.
    pub number: usize,
    /// All orders of the customer up to this one.
    pub total_cents: u64,
    /// How often its payment was tried.
    pub payment_tries: u32,
}

/// A payment service that sometimes fails, as they do.
#[derive(Debug, Default)]
pub struct Payments {
    tries: Mutex<BTreeMap<String, Tries>>,
}

/// Payments of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    pub all: u32,
    pub paid: u32,
}

impl Payments {
    fn charge(&self, order: &Order) -> Result<String, HandlerError> {
        let mut tries = self.tries.lock().expect("nobody panics while holding it");
        let tries = tries.entry(order.id.clone()).or_default();
        tries.all += 1;
        if order.flaky && tries.all == 1 {
            return Err(format!("the payment service is busy, order {}", order.id).into());
        }
        tries.paid += 1;
        Ok(format!("receipt-{}-{}", order.id, tries.all))
    }

    /// What was charged so far, by order.
    pub fn tries(&self) -> BTreeMap<String, Tries> {
        self.tries.lock().expect("nobody panics while holding it").clone()
    }
}

struct Customer {
    payments: Arc<Payments>,
    reports: mpsc::Sender<Report>,
}

#[object]
impl Customer {
    /// One order at a time for every customer; many customers at the same time.
    #[handler]
    async fn order(&self, ctx: ObjectContext<'_>, order: Json<Order>) -> Result<Json<Account>, HandlerError> {
        let order = order.into_inner();
        // A durable step: its result is kept, so that no crash and no retry charges twice.
        let payments = Arc::clone(&self.payments);
        let charged = order.clone();
        let receipt = ctx
            .run(async move || payments.charge(&charged))
            .name("charge")
            .retry_policy(RunRetryPolicy::new().initial_delay(PAYMENT_RETRY))
            .await?;

        let mut account = ctx.get::<Json<Account>>(ACCOUNT).await?.map(Json::into_inner).unwrap_or_default();
        account.total_cents += order.cents;
        account.last_receipt = receipt;
        account.orders.push(order.id.clone());
        ctx.set(ACCOUNT, Json(account.clone()));

        let report = Report {
            customer: ctx.key().to_owned(),
            number: account.orders.len(),
            total_cents: account.total_cents,
            payment_tries: self.payments.tries().get(&order.id).map_or(1, |tries| tries.all),
            order: order.id,
        };
        // For the screen only. Nobody looks any more: so be it.
        let _ = self.reports.send(report).await;
        Ok(Json(account))
    }

    /// Reads while orders are handled.
    #[handler]
    async fn account(&self, ctx: SharedObjectContext<'_>) -> Result<Json<Account>, TerminalError> {
        Ok(Json(ctx.get::<Json<Account>>(ACCOUNT).await?.map(Json::into_inner).unwrap_or_default()))
    }
}

/// A running service.
pub struct Service {
    pub address: SocketAddr,
    pub payments: Arc<Payments>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// Serves on `listener`. Every handled order is reported on the channel.
pub fn start(listener: TcpListener) -> anyhow::Result<(Service, mpsc::Receiver<Report>)> {
    listener.set_nonblocking(true).context("the service's port")?;
    let address = listener.local_addr().context("the service's port")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("the service's port")?;
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    let payments = Arc::new(Payments::default());
    let endpoint = Endpoint::builder().bind(Customer { payments: Arc::clone(&payments), reports }).build();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(HttpServer::new(endpoint).serve_with_cancel(listener, stopped));
    Ok((Service { address, payments, stop, serving }, reported))
}

impl Service {
    /// To be called when the server has stopped.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.serving.await;
    }
}
