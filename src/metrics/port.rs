//! The node port: `/metrics` and `/health`.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use millrace_model::codes;
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};
use tracing::{debug, info, warn};

use super::{UPKEEP_INTERVAL, process};

/// Connections at once: scrapers, probes and people.
const CONNECTIONS_MAX: usize = 64;
/// A connection without a request for so long is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// Pause after a failed accept: mostly there are no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The version of the text format.
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The listener.
pub struct NodePort {
    listener: TcpListener,
    exporter: Option<PrometheusHandle>,
}

impl NodePort {
    /// `exporter`: what `/metrics` shows; without it there is no such page.
    pub async fn bind(address: SocketAddr, exporter: Option<PrometheusHandle>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("{}: cannot listen on {address}", codes::RT0004.id))?;
        Ok(Self { listener, exporter })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped.
    pub async fn run(self) {
        let Self { listener, exporter } = self;
        if let Ok(address) = listener.local_addr() {
            info!(%address, "node port listens");
        }
        tokio::join!(upkeep(exporter.clone()), serve(listener, exporter));
    }
}

async fn upkeep(exporter: Option<PrometheusHandle>) {
    let Some(exporter) = exporter else { return };
    loop {
        sleep(UPKEEP_INTERVAL).await;
        exporter.run_upkeep();
    }
}

async fn serve(listener: TcpListener, exporter: Option<PrometheusHandle>) {
    let open = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = open.clone().acquire_owned().await.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "cannot accept a connection on the node port");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let exporter = exporter.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(&request, exporter.as_ref());
                async move { Ok::<_, Infallible>(response) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                debug!(%error, "connection to the node port failed");
            }
            drop(permit);
        });
    }
}

fn answer<B>(request: &Request<B>, exporter: Option<&PrometheusHandle>) -> Response<Full<Bytes>> {
    let page = |content_type, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    };
    let refused = |status| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        response
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return refused(StatusCode::METHOD_NOT_ALLOWED);
    }
    match (request.uri().path(), exporter) {
        ("/health", _) => page(JSON, "{\"status\":\"ok\"}".to_owned()),
        ("/metrics", Some(exporter)) => {
            process::update();
            page(PROMETHEUS, millrace_subscriptions::metrics::without_deleted(exporter.render()))
        }
        _ => refused(StatusCode::NOT_FOUND),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http_body_util::BodyExt;

    use super::*;
    use crate::metrics::install;

    async fn get(path: &str, exporter: Option<&PrometheusHandle>) -> (u16, String) {
        let response = answer(&Request::get(path).body(()).unwrap(), exporter);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn pages() {
        let exporter = install("c", "n").unwrap();
        metrics::histogram!("millrace_test_duration_seconds").record(0.003);
        metrics::histogram!("millrace_test_batch_records").record(3.0);
        let (status, text) = get("/metrics", Some(&exporter)).await;
        assert_eq!(status, 200);
        let names: BTreeSet<_> = text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
        for name in ["process_cpu_seconds_total", "process_start_time_seconds", "millrace_build_info"] {
            assert!(names.contains(name), "{text}");
        }
        // Durations add up over nodes: buckets, no quantiles.
        let bucket = "millrace_test_duration_seconds_bucket{cluster_name=\"c\",node_name=\"n\",le=\"0.004\"} 1";
        assert!(text.contains(bucket), "{text}");
        assert!(text.contains("millrace_test_batch_records_bucket{") && !text.contains("quantile"), "{text}");

        assert_eq!(get("/health", None).await.0, 200);
        assert_eq!(get("/metrics", None).await.0, 404);
        assert_eq!(get("/nope", Some(&exporter)).await.0, 404);
        let post = Request::post("/metrics").body(()).unwrap();
        assert_eq!(answer(&post, Some(&exporter)).status(), 405);
    }
}
