//! The listener and its connections.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use millrace_model::{Code, Coded, codes};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    config::{AdminConfig, CONNECTIONS_MAX, DRAIN_TIMEOUT, HEAD_TIMEOUT},
    router::{Admin, router},
};

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
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

/// The API's listener. HTTP/1.1, and HTTP/2 with prior knowledge.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: axum::Router,
}

impl Server {
    /// Binds the address; nothing is served before [`Server::run`].
    pub async fn bind(config: &AdminConfig, admin: Admin) -> Result<Self, StartError> {
        let fail = |source| StartError { address: config.bind_address, source };
        let listener = TcpListener::bind(config.bind_address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address, router: router(admin, config) })
    }

    /// Where it listens: the port that was given out, if it was 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves, and returns when the requests under way are answered, or after some seconds.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let Self { listener, address, router } = self;
        info!(%address, "admin API listens");
        let builder = Arc::new(builder());
        let open = Arc::new(Semaphore::new(CONNECTIONS_MAX));
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
            match accepted {
                Ok((stream, _)) => {
                    let (builder, router, stopped) = (builder.clone(), router.clone(), stopped.clone());
                    connections.spawn(async move {
                        connection(stream, &builder, router, stopped).await;
                        drop(permit);
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        // Fails if no connection is left to be told.
        let _ = stop.send(());
        let drained = timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} });
        if drained.await.is_err() {
            warn!(connections = connections.len(), "admin requests were still under way at shutdown");
            connections.shutdown().await;
        }
        info!(%address, "admin API stopped");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(HEAD_TIMEOUT)
        .keep_alive_timeout(HEAD_TIMEOUT);
    builder
}

async fn connection(
    stream: TcpStream,
    builder: &auto::Builder<TokioExecutor>,
    router: axum::Router,
    mut stopped: watch::Receiver<()>,
) {
    // Behind the first byte the protocol's own timeouts watch.
    tokio::select! {
        readable = timeout(HEAD_TIMEOUT, stream.readable()) => match readable {
            Ok(Ok(())) => {}
            _ => return,
        },
        _ = stopped.changed() => return,
    }
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%error, "admin connection failed");
    }
}
