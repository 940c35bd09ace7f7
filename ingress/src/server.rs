//! The listener and its connections.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use millrace_model::{Code, Coded, Env, codes};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    backend::Backend,
    config::IngressConfig,
    handler::Ingress,
    metrics::{self, DOOR},
    routes::Routes,
};

/// Longest head of an HTTP/1 request, and of HTTP/2 headers.
const HEAD_BYTES_MAX: usize = 256 << 10;
const HEADER_LIST_BYTES_MAX: u32 = 256 << 10;
/// What a peer may send on one stream, and on all of a connection, before it is read.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// How a silent HTTP/2 peer is found out.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after a failed accept: mostly there are no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The listener cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct StartError {
    /// Where.
    pub address: SocketAddr,
    source: io::Error,
}

impl Coded for StartError {
    fn code(&self) -> Code {
        codes::RT0004
    }
}

/// The front door's listener.
pub struct Server<B, R> {
    listener: TcpListener,
    address: SocketAddr,
    config: IngressConfig,
    ingress: Arc<Ingress<B, R>>,
}

impl<B: Backend, R: Routes> Server<B, R> {
    /// Binds the address; nothing is served before [`Server::run`].
    pub async fn bind(config: IngressConfig, backend: B, routes: R, env: Arc<dyn Env>) -> Result<Self, StartError> {
        let fail = |source| StartError { address: config.bind_address, source };
        let listener = TcpListener::bind(config.bind_address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let ingress = Arc::new(Ingress::new(&config, backend, routes, env));
        Ok(Self { listener, address, config, ingress })
    }

    /// Where it listens: the port that was given out, if it was 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves, then takes no further connection or request, and returns when the requests
    /// under way are answered, or given up after the configured time.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let Self { listener, address, config, ingress } = self;
        info!(%address, "ingress listens");
        let builder = Arc::new(builder(&config));
        let open = Arc::new(Semaphore::new(config.connections_limit));
        let (stop, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            while connections.try_join_next().is_some() {}
            let accept = async {
                let permit = open.clone().acquire_owned().await.expect("the semaphore is never closed");
                (listener.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                accepted = accept => accepted,
                () = &mut shutdown => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // A connection that was closed before it was accepted is nobody's concern.
                    if error.kind() != io::ErrorKind::ConnectionAborted {
                        warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
            };
            DOOR.connections.increment(1);
            let (builder, ingress, stopped) = (builder.clone(), ingress.clone(), stopped.clone());
            let first_request = config.head_timeout;
            connections.spawn(async move {
                let status = connection(stream, &builder, ingress, stopped, first_request).await;
                metrics::connection_dropped(status);
                drop(permit);
            });
        }
        drop(listener);
        // Fails if no connection is left to be told.
        let _ = stop.send(());
        let drained = timeout(config.drain_timeout, async { while connections.join_next().await.is_some() {} });
        if drained.await.is_err() {
            warn!(connections = connections.len(), "requests were still under way at shutdown");
            connections.shutdown().await;
        }
        info!(%address, "ingress stopped");
    }
}

fn builder(config: &IngressConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.http2_max_concurrent_streams)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Serves one connection to its end; returns how it ended.
async fn connection<B: Backend, R: Routes>(
    stream: TcpStream,
    builder: &auto::Builder<TokioExecutor>,
    ingress: Arc<Ingress<B, R>>,
    mut stopped: watch::Receiver<()>,
    first_request: Duration,
) -> &'static str {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    let asked = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let asked = asked.clone();
        move |request| {
            asked.store(true, Ordering::Relaxed);
            let ingress = ingress.clone();
            async move { Ok::<_, Infallible>(ingress.serve(request).await) }
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // The protocols' own timeouts watch what follows the first request, not what never becomes one.
    let mut first = pin!(sleep(first_request));
    let mut watching = true;
    let result = loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => break result,
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                break connection.await;
            }
            () = &mut first, if watching => {
                if !asked.load(Ordering::Relaxed) {
                    return "incomplete";
                }
                watching = false;
            }
        }
    };
    match result {
        Ok(()) => "success",
        Err(error) => {
            debug!(%error, "connection failed");
            match error.downcast_ref::<hyper::Error>() {
                Some(error) if error.is_parse() => "parse",
                Some(error) if error.is_incomplete_message() || error.is_closed() => "incomplete",
                _ => "error",
            }
        }
    }
}
