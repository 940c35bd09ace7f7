//! `make demo`: the server with its embedded log, Kafka for development, a sample service, a subscription and orders to
//! handle, in one process. Says at every step what it does and with which command anybody could do the same.
//!
//! ```text
//! main     flags, ports, log file; starts all and stops it in the reverse order
//! tour     the steps: register, subscribe, produce, show, fetch, check
//! service  what a user would write: a virtual object with state and a durable step
//! check    whether what was shown is right (pure)
//! ```

mod check;
mod client;
mod folder;
mod orders;
mod ports;
mod screen;
mod server;
mod service;
mod tour;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, builder::BoolishValueParser};
use millrace::shutdown::Signals;
use millrace_connector_kafka::{DevBroker, DevTopic, Producer, Properties};
use tokio::sync::watch;

use crate::{folder::Folder, screen::Screen, server::Server, tour::Tour};

/// The topic that the orders are written to.
const TOPIC: &str = "orders";
/// A multiple of the default number of engine partitions, so that a record is already where its key lives.
const TOPIC_PARTITIONS: i32 = 8;
/// Where Kafka and services usually are.
const KAFKA_PORT: u16 = 9092;
const SERVICE_PORT: u16 = 9080;

/// Server, Kafka for development and a sample service in one process.
#[derive(Debug, Parser)]
#[command(name = "millrace-demo", version)]
struct Args {
    /// Check what was shown, stop, and say by the exit code whether it was right.
    #[arg(long, env = "ONCE", value_parser = BoolishValueParser::new())]
    once: bool,
    /// Any free ports instead of the usual ones.
    #[arg(long)]
    any_ports: bool,
    /// The demo's folder is made in this one.
    #[arg(long, value_name = "FOLDER", default_value = "millrace-data")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let folder = Folder::open(&args.folder)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads cannot be started")?;
    let done = runtime.block_on(demo(args, &folder));
    // What still runs on other threads has nothing left to do that counts.
    runtime.shutdown_background();
    done.with_context(|| format!("the demo failed; the server's log is {}", folder.log_file().display()))
}

async fn demo(args: &Args, folder: &Folder) -> anyhow::Result<()> {
    let screen = Screen::of_stdout();
    let port = |usual: u16| ports::listen(if args.any_ports { 0 } else { usual });

    // The broker binds by itself: in between somebody else may take the port, then this says so.
    let kafka = port(KAFKA_PORT)?.local_addr()?;
    let topics = [DevTopic { name: TOPIC.to_owned(), partitions: TOPIC_PARTITIONS }];
    let broker = DevBroker::start(kafka, &topics).await.context("the Kafka broker cannot be started")?;
    let bootstrap = broker.bootstrap();
    // Early: it asks the broker for an identity, which takes longer than the server's start.
    let producer = Producer::start(&broker.cluster(), &Properties::new()).await?;
    let config = server::configure(folder, &bootstrap, args.any_ports)?;
    server::log_to(&folder.log_file(), &config)?;
    let signals = Signals::install(config.dump())?;
    let (service, reports) = service::start(port(SERVICE_PORT)?)?;
    let Server { node, addresses } = Server::start(&config).await?;

    let (stop, stopped) = watch::channel(false);
    let mut stopped = stopped;
    let mut running = tokio::spawn(node.run(async move { _ = stopped.wait_for(|stop| *stop).await }));
    let (asked, too_long) = signals.stop(config.shutdown_timeout());
    let tour =
        Tour { screen: &screen, addresses, service: &service, bootstrap: &bootstrap, producer: &producer, folder };
    let outcome = tokio::select! {
        ended = &mut running => {
            ended.context("the server was interrupted")?.context("the server has ended")?;
            anyhow::bail!("the server has ended");
        }
        () = asked => Ok(()),
        outcome = tour.run(reports, args.once) => outcome,
    };

    screen.line("\nStopping; Ctrl-C stops at once.");
    stop.send_replace(true);
    tokio::select! {
        ended = running => ended.context("the server was interrupted")?.context("the server did not stop well")?,
        () = too_long.too_long() => anyhow::bail!("the server's stop takes too long"),
    }
    service.stop().await;
    producer.close().await;
    outcome
}
