//! The steps, one after the other, with what a person would type to do the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use millrace_connector_kafka::{OutRecord, Producer};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    TOPIC, TOPIC_PARTITIONS,
    check::{Seen, faults},
    client::{Call, Http, Part, plain, quoted},
    folder::Folder,
    orders::{FILE, Line, Order, money, sample},
    screen::{Cell, Screen},
    server::{Addresses, KAFKA_CLUSTER},
    service::{Account, Report, Service},
};

/// An unfinished line of results is shown when nothing has come for so long.
const PAUSE: Duration = Duration::from_millis(150);
/// So long without any result means that something is wrong.
const STUCK: Duration = Duration::from_secs(60);

/// The fields in the order in which people think of them.
#[derive(Serialize)]
struct Subscribe {
    source: String,
    sink: &'static str,
    options: BTreeMap<&'static str, &'static str>,
}

pub struct Tour<'a> {
    pub screen: &'a Screen,
    pub addresses: Addresses,
    pub service: &'a Service,
    pub bootstrap: &'a str,
    pub producer: &'a Producer,
    pub folder: &'a Folder,
}

impl Tour<'_> {
    /// All steps; then shows what else comes until it is dropped, or with `once` what the check says.
    pub async fn run(&self, mut reports: mpsc::Receiver<Report>, once: bool) -> anyhow::Result<()> {
        let http = Http::new();
        let lines = sample()?;
        self.overview();
        self.register(&http).await?;
        self.subscribe(&http).await?;
        let mut results = Results::new(self.screen);
        let seen = self.produce(&lines, &mut reports, &mut results).await?;
        let accounts = self.fetch(&http, &lines).await?;
        let payments = self.service.payments.tries();
        let faults = faults(&lines, &Seen { reports: &seen, accounts: &accounts, payments: &payments });
        self.verdict(&lines, &accounts, &faults);
        if once {
            return if faults.is_empty() { Ok(()) } else { bail!("the check failed:\n  {}", faults.join("\n  ")) };
        }
        self.next()?;
        loop {
            match timeout(PAUSE, reports.recv()).await {
                Ok(Some(report)) => results.show(&report),
                Ok(None) => bail!("the sample service has ended"),
                Err(_) => {
                    results.flush();
                    // Nothing to do until the next one.
                    match reports.recv().await {
                        Some(report) => results.show(&report),
                        None => bail!("the sample service has ended"),
                    }
                }
            }
        }
    }

    fn overview(&self) {
        let Addresses { ingress, admin, node } = self.addresses;
        self.screen.title("Millrace demo: Kafka records as durable calls, in order for each key");
        self.screen.pair("server", format_args!("ingress http://{ingress}, admin http://{admin}, node http://{node}"));
        self.screen.pair("Kafka", format_args!("{}, for development: in memory, inside this process", self.bootstrap));
        self.screen.pair(
            "service",
            format_args!("http://{}, the object Customer of demo/src/service.rs", self.service.address),
        );
        self.screen.pair(
            "files",
            format_args!("{}, server's log {}", self.folder.data().display(), self.folder.log_file().display()),
        );
    }

    async fn register(&self, http: &Http) -> anyhow::Result<()> {
        self.screen.title("1  Register the service: the server asks it what handlers it has");
        let url = format!("http://{}/deployments", self.addresses.admin);
        let body = json!({"uri": format!("http://{}/", self.service.address)});
        let answer = self.call(http, &Call::post(url, &body)?).await.context("the service cannot be registered")?;
        let mut handlers = Vec::new();
        for service in list(&answer["services"]) {
            for handler in list(&service["handlers"]) {
                handlers.push(format!("{}/{}", text(&service["name"]), text(&handler["name"])));
            }
        }
        self.screen.text(&format!("{}: {}", text(&answer["id"]), handlers.join(", ")));
        Ok(())
    }

    async fn subscribe(&self, http: &Http) -> anyhow::Result<()> {
        self.screen.title("2  Subscribe a handler to a topic: every record becomes a call, its key the object");
        let url = format!("http://{}/subscriptions", self.addresses.admin);
        let body = Subscribe {
            source: format!("kafka://{KAFKA_CLUSTER}/{TOPIC}"),
            sink: "service://Customer/order",
            // The broker for development answers an empty fetch only after the whole wait. A real one needs no such option.
            options: [("auto.offset.reset", "earliest"), ("fetch.wait.max.ms", "10")].into(),
        };
        let answer = self.call(http, &Call::post(url, &body)?).await.context("the subscription cannot be created")?;
        self.screen.text(&format!("{}: {} -> {}", text(&answer["id"]), text(&answer["source"]), text(&answer["sink"])));
        Ok(())
    }

    /// Writes the orders and shows what the handlers make of them. Returns what was shown.
    async fn produce(
        &self,
        lines: &[Line],
        reports: &mut mpsc::Receiver<Report>,
        results: &mut Results<'_>,
    ) -> anyhow::Result<Vec<Report>> {
        self.screen.title(&format!("3  Produce {} orders of {FILE} to {TOPIC_PARTITIONS} partitions", lines.len()));
        self.screen.text("Customer, number of the order, total so far, as the handlers run:");
        let started = Instant::now();
        let mut acknowledgements = Vec::new();
        for line in lines {
            let (key, value) = (Some(line.customer.as_bytes()), Some(line.text.as_bytes()));
            let record = OutRecord { topic: TOPIC, key, value, ..OutRecord::default() };
            acknowledgements.push(self.producer.send(&record).context("an order cannot be produced")?);
        }
        for acknowledgement in acknowledgements {
            acknowledgement.await.context("an order cannot be produced")?;
        }

        let mut missing: BTreeSet<&str> = lines.iter().map(|line| &*line.order.id).collect();
        let mut seen: Vec<Report> = Vec::new();
        while !missing.is_empty() {
            let report = match timeout(PAUSE, reports.recv()).await {
                Ok(report) => report,
                Err(_) => {
                    results.flush();
                    timeout(STUCK, reports.recv())
                        .await
                        .with_context(|| format!("nothing for {STUCK:?}; not handled: {missing:?}"))?
                }
            };
            let report = report.context("the sample service has ended")?;
            results.show(&report);
            missing.remove(&*report.order);
            seen.push(report);
        }
        let took = started.elapsed();
        results.flush();
        let mut text = format!(
            "{} orders in {:.2} s from the first produced to the last handled.",
            seen.len(),
            took.as_secs_f64()
        );
        if seen.iter().any(|report| report.payment_tries > 1) {
            text += " * Its payment step failed and was tried again 0.3 s later: orders of that customer waited, those of \
                     others did not.";
        }
        self.screen.text(&text);
        Ok(seen)
    }

    /// Shows the state of one object; returns that of all.
    async fn fetch(&self, http: &Http, lines: &[Line]) -> anyhow::Result<BTreeMap<String, Account>> {
        self.screen.title("4  Ask an object for its state over HTTP");
        let mut accounts = BTreeMap::new();
        let customers: BTreeSet<&str> = lines.iter().map(|line| &*line.customer).collect();
        for customer in customers {
            let call = Call::get(format!("http://{}/Customer/{customer}/account", self.addresses.ingress));
            let answer = if accounts.is_empty() { self.call(http, &call).await } else { http.send(&call).await };
            let answer = answer.with_context(|| format!("the account of {customer}"))?;
            if accounts.is_empty() {
                self.screen.text(&spaced(&answer));
            }
            let account = serde_json::from_value(answer).with_context(|| format!("the account of {customer}"))?;
            accounts.insert(customer.to_owned(), account);
        }
        Ok(accounts)
    }

    fn verdict(&self, lines: &[Line], accounts: &BTreeMap<String, Account>, faults: &[String]) {
        if faults.is_empty() {
            let total = accounts.values().map(|account| account.total_cents).sum();
            self.screen.title(&format!(
                "Checked: {} orders of {} customers, each handled and charged exactly once, in order; {} in all",
                lines.len(),
                accounts.len(),
                money(total)
            ));
        } else {
            self.screen.title("The check failed");
            faults.iter().for_each(|fault| self.screen.text(fault));
        }
    }

    fn next(&self) -> anyhow::Result<()> {
        let Addresses { ingress, admin, node } = self.addresses;
        let order = |id: &str| Order { id: id.to_owned(), item: "tea".to_owned(), cents: 450, flaky: false };
        let show = |what: &str, parts: &[Part]| {
            self.screen.text(what);
            self.screen.command(parts);
        };
        self.screen.title("Try next, in another terminal");
        let record = quoted(&format!("ada:{}", serde_json::to_string(&order("o-1001"))?));
        let kcat = format!("kcat -P -b {} -t {TOPIC} -K :", self.bootstrap);
        show(
            "Another order through Kafka; its result appears below:",
            &[plain(&format!("echo {record} |")), plain(&kcat)],
        );
        let url = format!("http://{ingress}/Customer/ada/order");
        show("The same handler over HTTP; call it and wait:", &Call::post(url.clone(), &order("o-1002"))?.curl());
        show("or only send it:", &Call::post(format!("{url}/send"), &order("o-1003"))?.curl());
        show("How the subscription does:", &Call::get(format!("http://{admin}/subscriptions")).curl());
        let grep = plain("| grep millrace_subscription");
        show("Metrics:", &[plain(&format!("curl -s http://{node}/metrics")), grep]);
        self.screen.title("Ctrl-C stops. Results of further orders:");
        Ok(())
    }

    /// Shows a request as a command, and makes it.
    async fn call(&self, http: &Http, call: &Call) -> anyhow::Result<Value> {
        self.screen.command(&call.curl());
        http.send(call).await
    }
}

/// Results as they come, several in a line.
struct Results<'a> {
    screen: &'a Screen,
    keys: BTreeMap<String, usize>,
    line: Vec<Cell>,
}

impl<'a> Results<'a> {
    fn new(screen: &'a Screen) -> Self {
        Self { screen, keys: BTreeMap::new(), line: Vec::new() }
    }

    fn show(&mut self, report: &Report) {
        let retried = if report.payment_tries > 1 { '*' } else { ' ' };
        let Report { customer, number, total_cents, .. } = report;
        let text = format!("{customer:<4} #{number:<2}{retried}{:>7}", money(*total_cents));
        let count = self.keys.len();
        let key = *self.keys.entry(customer.clone()).or_insert(count);
        let columns = self.screen.columns(text.len());
        self.line.push(Cell { text, key });
        if self.line.len() >= columns {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.screen.cells(&std::mem::take(&mut self.line));
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// JSON that can be broken between its values.
fn spaced(value: &Value) -> String {
    value.to_string().replace(',', ", ")
}
