//! Endpoints that speak HTTP/1.1.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use millrace_invoker::Wire;
use millrace_model::command::Action;
use millrace_protocol::{Mode, frame::Decoder, ty};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use crate::support::{
    Setup, bytes,
    endpoint::{end, join, output, run, suspension},
    plain, soon,
};

/// Serves every request whole by `answer`; the address, and how many connections there were.
async fn endpoint<A>(answer: A) -> (String, Arc<AtomicUsize>)
where
    A: Fn(http::request::Parts, Bytes) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(answer(head, body))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    (uri, connections)
}

fn answer(head: &http::request::Parts, body: Bytes) -> Response<Full<Bytes>> {
    Response::builder().header("content-type", head.headers["content-type"].clone()).body(Full::new(body)).unwrap()
}

fn setup(uri: String) -> Setup {
    Setup { wire: Wire::Http1, mode: Mode::RequestResponse, ..Setup::new(uri) }
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let (heads, mut seen) = mpsc::channel(8);
    let (uri, connections) = endpoint(move |head, body| {
        let mut decoder = Decoder::new(u32::MAX);
        decoder.push(body);
        let types: Vec<_> = std::iter::from_fn(|| decoder.next().unwrap()).map(|frame| frame.ty).collect();
        assert_eq!(types, [ty::START, ty::INPUT]);
        let answer = answer(&head, join(&[output("1"), end()]));
        heads.try_send(head).unwrap();
        answer
    })
    .await;
    let node = setup(format!("{uri}/prefix")).start();
    for _ in 0..5 {
        let id = node.run_new().await;
        let proposed = node.leader.proposed(id);
        assert_eq!((proposed.len(), proposed[0].attempt.actions.last()), (1, Some(&Action::End)));
        let head = seen.recv().await.unwrap();
        assert_eq!((head.version, head.uri.path()), (http::Version::HTTP_11, "/prefix/invoke/Greeter/greet"));
        assert_eq!(format!("http://{}", head.headers["host"].to_str().unwrap()), uri);
        assert_eq!(head.headers["transfer-encoding"], "chunked");
    }
    assert!(connections.load(Ordering::SeqCst) <= 2, "{connections:?}");
}

#[tokio::test]
async fn every_wait_is_a_suspension() {
    let (uri, _) = endpoint(|head, _| answer(&head, join(&[run(1, "r"), suspension(&[1], &[1])]))).await;
    let node = setup(uri).start();
    let id = node.run_new().await;
    assert!(matches!(&*node.leader.actions(id), [Action::Command { .. }, Action::Suspend { seen: 1, .. }]));
}

#[tokio::test]
async fn many_at_once() {
    let (uri, _) = endpoint(|head, _| answer(&head, join(&[output("1"), end()]))).await;
    let node = Arc::new(setup(uri).start());
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let node = node.clone();
        runs.spawn(async move { node.run_new().await });
    }
    while let Some(run) = runs.join_next().await {
        assert_eq!(node.leader.actions(run.unwrap()).last(), Some(&Action::End));
    }
}

#[tokio::test]
async fn a_large_replay_is_chunked() {
    let (uri, _) = endpoint(|head, body| {
        assert!(body.len() > 5 << 20);
        answer(&head, join(&[output("1"), end()]))
    })
    .await;
    let node = setup(uri).start();
    let id = node.leader.create(plain(), vec![b'x'; 5 << 20].into());
    node.run(id).await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
}

#[tokio::test]
async fn statuses_fail_the_attempt() {
    let (uri, _) = endpoint(|_, _| Response::builder().status(502).body(Full::default()).unwrap()).await;
    let node = setup(uri).start();
    let id = node.run_new().await;
    let (_, error, counts) = node.leader.failure(id);
    assert_eq!((error.code.as_str(), error.status, counts), ("RT0010", 502, true));
}

/// Reads a request and then does as it is told with the socket.
async fn raw<F>(act: impl Fn(tokio::net::TcpStream) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"0\r\n\r\n") {
                request.push(socket.read_u8().await.unwrap());
            }
            tokio::spawn(act(socket));
        }
    });
    uri
}

#[tokio::test]
async fn a_connection_that_breaks_fails_the_attempt() {
    for text in [
        "",
        "garbage",
        "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.restate.invocation.v7\r\ncontent-length: 9\r\n\r\nabc",
    ] {
        let uri = raw(move |mut socket| async move { socket.write_all(text.as_bytes()).await.unwrap() }).await;
        let node = setup(uri).start();
        let id = node.run_new().await;
        let code = node.leader.failure(id).1.code;
        assert_eq!(code.as_str(), "RT0010", "{text}");
    }
}

#[tokio::test]
async fn a_silent_endpoint_is_cut_off() {
    let (closed, mut closes) = mpsc::channel(1);
    let uri = raw(move |mut socket| {
        let closed = closed.clone();
        async move {
            assert_eq!(socket.read(&mut [0; 16]).await.unwrap_or(0), 0);
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let mut setup = setup(uri);
    setup.policy.abort_timeout = Duration::from_millis(80);
    let node = setup.start();
    let id = node.run_new().await;
    assert_eq!(node.leader.failure(id).1.code.as_str(), "RT0001");
    soon("the end of the connection", closes.recv()).await.unwrap();
}

#[tokio::test]
async fn both_ways_at_once_is_possible_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let service = service_fn(|request: Request<Incoming>| async move {
            let (head, mut body) = request.into_parts();
            let mut decoder = Decoder::new(u32::MAX);
            let mut types = Vec::new();
            // The answer begins before the request has ended.
            while types.len() < 2 {
                let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
                decoder.push(data);
                types.extend(std::iter::from_fn(|| decoder.next().unwrap()).map(|frame| frame.ty));
            }
            Ok::<_, Infallible>(answer(&head, join(&[output("1"), end()])))
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
    });
    let node = Setup { wire: Wire::Http1, mode: Mode::BidiStream, ..Setup::new(uri) }.start();
    let id = node.leader.create(plain(), bytes("1"));
    node.run(id).await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
}
