//! Connections: whose, how many, how old.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use millrace_invoker::ClientConfig;
use millrace_model::command::Action;
use millrace_partition::Feed;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::support::{
    Node, Setup, bytes,
    endpoint::{Call, Endpoint, end, join, output},
    plain, soon,
};

/// A balancer that deals out connections in turn, as a plain L4 service does.
async fn balancer(replicas: Vec<SocketAddr>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for replica in replicas.iter().cycle() {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(replica).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    uri
}

/// Counts the requests it serves.
async fn replica() -> (Endpoint, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let endpoint = Endpoint::start(move |call| {
        count.fetch_add(1, Ordering::SeqCst);
        Call::noop(call)
    })
    .await;
    (endpoint, calls)
}

async fn run_in(node: &Node, partition: u16) {
    let id = node.leader.create(plain(), bytes("1"));
    node.leader.put_into(id, partition);
    node.run(id).await;
    assert_eq!(node.leader.actions(id).last(), Some(&Action::End));
}

#[tokio::test]
async fn partitions_have_connections_of_their_own() {
    let ((one, ones), (two, twos)) = (replica().await, replica().await);
    let node = Setup::new(balancer(vec![one.address, two.address]).await).start();
    for round in 0..3 {
        for partition in 0..8 {
            run_in(&node, partition).await;
        }
        // The connections stay, and so does who gets what.
        let (ones, twos) = (ones.load(Ordering::SeqCst), twos.load(Ordering::SeqCst));
        assert_eq!((ones, twos), (4 * (round + 1), 4 * (round + 1)));
    }
    // Many partitions do not mean many connections.
    for partition in 8..200 {
        run_in(&node, partition).await;
    }
    let connections = one.connections.load(Ordering::SeqCst) + two.connections.load(Ordering::SeqCst);
    assert_eq!(connections, 4);
}

#[tokio::test]
async fn an_old_connection_is_replaced_and_ends_with_its_last_stream() {
    let ((one, ones), (two, twos)) = (replica().await, replica().await);
    let client = ClientConfig { connection_age_max: Duration::from_millis(20), ..ClientConfig::default() };
    let setup = Setup { client, ..Setup::new(balancer(vec![one.address, two.address]).await) };
    let node = setup.start();
    // One partition alone reaches both.
    soon("a call to the other replica", async {
        while ones.load(Ordering::SeqCst) == 0 || twos.load(Ordering::SeqCst) == 0 {
            run_in(&node, 0).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_outlives_the_use_of_its_connection() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let endpoint = Endpoint::start(move |mut call: Call| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if !first {
                return call.noop().await;
            }
            call.accept();
            call.replay().await;
            call.rest().await;
            call.send(join(&[output("\"late\""), end()]));
            call.finish();
        }
    })
    .await;
    let client = ClientConfig { connection_age_max: Duration::from_millis(20), ..ClientConfig::default() };
    let node = Setup { client, ..Setup::new(endpoint.uri()) }.start();
    let first = node.leader.create(plain(), bytes("1"));
    let attempt = node.attempt(first);
    soon("the first call", async {
        while calls.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon("three more connections", async {
        while endpoint.connections.load(Ordering::SeqCst) < 4 {
            run_in(&node, 0).await;
        }
    })
    .await;
    node.leader.feed(first, Feed::Suspend);
    node.closed(first, attempt).await;
    assert_eq!(node.leader.actions(first).last(), Some(&Action::End));
}

#[tokio::test]
async fn a_full_connection_is_not_waited_for() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(200);
    // All calls are open at the same time.
    let barrier = Arc::new(tokio::sync::Barrier::new(150));
    let endpoint = Endpoint::with(builder, move |call: Call| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            call.noop().await;
        }
    })
    .await;
    let node = Arc::new(Setup::new(endpoint.uri()).start());
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..150 {
        let node = node.clone();
        runs.spawn(async move { run_in(&node, 0).await });
    }
    soon("all calls", runs.join_all()).await;
    let connections = endpoint.connections.load(Ordering::SeqCst);
    assert!((2..=3).contains(&connections), "{connections}");
}

/// As Hypercorn does behind a thousand requests: what is under way ends well, what comes next goes elsewhere.
#[tokio::test]
async fn an_endpoint_that_renews_its_connections_fails_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                let mut served = 0;
                while let Some(Ok((request, respond))) = connection.accept().await {
                    served += 1;
                    if served == 20 {
                        connection.graceful_shutdown();
                    }
                    tokio::spawn(Call::new(request, respond, number).noop());
                }
            });
        }
    });
    let node = Arc::new(Setup::new(uri).start());
    let mut runs = tokio::task::JoinSet::new();
    for partition in 0..8 {
        let node = node.clone();
        runs.spawn(async move {
            for _ in 0..50 {
                run_in(&node, partition).await;
            }
        });
    }
    soon("all calls", runs.join_all()).await;
    let connections = connections.load(Ordering::SeqCst);
    assert!(connections >= 400 / 20, "{connections}");
}
