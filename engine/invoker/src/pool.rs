//! Connections to endpoints, shared by all attempts of this node.
//!
//! ```text
//!   acquire ──room on an open connection?──yes──> lease ──dropped──> the next who waits, or room again
//!      └─no─> wait ──> a lease that comes back, or a connection that is opened for whoever waits
//! ```
//!
//! An HTTP/2 connection carries many streams, an HTTP/1.1 connection one request at a time. One that breaks is taken
//! out and fails only the streams that are on it; who waits gets another one, or the error if there is none.
//!
//! A plain L4 balancer deals out connections, not requests. So that all replicas behind one get their part, the
//! partitions of a node use separate connections, in [`GROUPS`] groups, and a connection is replaced when it is old:
//! replicas that came later get their part as well. A replaced connection ends with the last of its streams.

mod drive;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use hyper::client::conn::http1;
use millrace_model::PartitionId;
use parking_lot::Mutex;
use tokio::{runtime::Handle as Runtime, sync::oneshot};

use crate::{
    address::{Origin, Wire},
    config::{ClientConfig, KeepAlive},
    connect::{Connector, Opened},
    exchange::{H1Lease, H2Lease, Lease, RequestBody},
    transport::TransportError,
};

/// Streams on one connection, if the endpoint takes as many.
const STREAMS_MAX: usize = 128;
/// With more, another connection is opened ahead of need, so that the replicas behind one address all get their part.
const STREAMS_SOFT: usize = 100;
/// Groups of partitions that have connections of their own. More of them would spread better over many replicas, and
/// cost more system calls, because less goes into each write and comes with each read.
const GROUPS: usize = 4;
/// Connections of one group to one origin. With 128 streams each there is room for far more than the attempts of a
/// node.
const CONNECTIONS_MAX: usize = 512;
/// Connections that are opened to one origin at the same time.
const CONNECTING_MAX: usize = 32;
/// Attempts that may wait for a connection to one origin.
const WAITERS_MAX: usize = 100_000;
/// A connection that was not used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(90);
/// Between two looks for idle ones.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// An old connection is kept so much longer if no other one could be opened.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);

/// Which connections a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group(usize);

impl Group {
    /// Of whoever belongs to no partition.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn of(partition: PartitionId) -> Self {
        Self(usize::from(partition.0) % GROUPS)
    }
}

struct Settings {
    keep_alive: KeepAlive,
    /// Streams on a connection to an endpoint that has never said how many it takes.
    initial_streams: usize,
    /// A connection is replaced when it is so old, or up to a quarter older.
    age_max: Duration,
    next_id: AtomicU64,
}

impl Settings {
    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Spread, so that connections opened together are not replaced together.
    fn expiry(&self, id: u64, now: Instant) -> Instant {
        now + self.age_max.mul_f64(1.0 + 0.25 * spread(id))
    }
}

/// A number from 0 to 1 that differs much between one id and the next.
fn spread(id: u64) -> f64 {
    f64::from((id as u32).wrapping_mul(0x9e37_79b9)) / f64::from(u32::MAX)
}

/// The connections of a node.
pub(crate) struct Pool {
    connector: Arc<Connector>,
    settings: Arc<Settings>,
    runtime: Runtime,
    upstreams: Mutex<HashMap<Origin, [Option<Arc<Upstream>>; GROUPS]>>,
}

impl Pool {
    /// Its tasks run on `runtime`.
    pub(crate) fn new(config: &ClientConfig, runtime: Runtime) -> Result<Arc<Self>, TransportError> {
        let pool = Arc::new(Self {
            connector: Arc::new(Connector::new(config)?),
            settings: Arc::new(Settings {
                keep_alive: config.http_keep_alive_options.clone(),
                initial_streams: config.initial_max_send_streams,
                age_max: config.connection_age_max,
                next_id: AtomicU64::new(0),
            }),
            runtime: runtime.clone(),
            upstreams: Mutex::default(),
        });
        runtime.spawn(sweep(Arc::downgrade(&pool)));
        Ok(pool)
    }

    /// Waits for the right to send one request.
    pub(crate) async fn acquire(&self, origin: &Origin, group: Group) -> Result<Lease, TransportError> {
        match self.upstream(origin, group).take() {
            Taken::Lease(lease) => Ok(lease),
            Taken::Wait(waiter) => match waiter.await {
                Ok(result) => result,
                Err(_) => Err(TransportError::Closed),
            },
            Taken::Crowded => Err(TransportError::Crowded(origin.to_string())),
        }
    }

    fn upstream(&self, origin: &Origin, group: Group) -> Arc<Upstream> {
        let mut upstreams = self.upstreams.lock();
        if let Some(Some(upstream)) = upstreams.get(origin).map(|groups| &groups[group.0]) {
            return upstream.clone();
        }
        let upstream = Arc::new(Upstream {
            origin: origin.clone(),
            connector: self.connector.clone(),
            settings: self.settings.clone(),
            runtime: self.runtime.clone(),
            state: Mutex::default(),
        });
        upstreams.entry(origin.clone()).or_default()[group.0] = Some(upstream.clone());
        upstream
    }

    fn sweep(&self) {
        let now = Instant::now();
        self.upstreams.lock().retain(|_, groups| {
            for group in &mut *groups {
                group.take_if(|upstream| !upstream.sweep(now) && Arc::strong_count(upstream) == 1);
            }
            groups.iter().any(Option::is_some)
        });
    }
}

async fn sweep(pool: Weak<Pool>) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        match pool.upgrade() {
            Some(pool) => pool.sweep(),
            None => return,
        }
    }
}

struct H2Entry {
    id: u64,
    sender: SendRequest<Bytes>,
    streams: usize,
    /// How many it was supposed to take when it was opened.
    supposed: usize,
    used: Instant,
    /// Behind it, it is replaced.
    expires: Instant,
    /// It takes no more streams.
    retired: bool,
}

struct H1Entry {
    sender: http1::SendRequest<RequestBody>,
    used: Instant,
    expires: Instant,
}

type Waiter = oneshot::Sender<Result<Lease, TransportError>>;

#[derive(Default)]
struct State {
    h2: Vec<H2Entry>,
    h1_idle: Vec<H1Entry>,
    h1_open: usize,
    connecting: usize,
    /// Streams that a connection takes, as the endpoint said last.
    learned: Option<usize>,
    waiters: VecDeque<Waiter>,
}

impl State {
    fn usable(&self) -> impl Iterator<Item = &H2Entry> {
        self.h2.iter().filter(|entry| !entry.retired)
    }

    /// The connections have little room, or one of them is old.
    fn wants_another(&self, now: Instant) -> bool {
        let (mut any, mut crowded) = (false, true);
        for entry in self.usable() {
            any = true;
            crowded &= entry.streams > STREAMS_SOFT;
            if entry.expires <= now {
                return true;
            }
        }
        any && crowded
    }

    /// Takes old connections out of use.
    fn retire_expired(&mut self, now: Instant) {
        self.h2.retain_mut(|entry| {
            entry.retired |= entry.expires <= now;
            !entry.retired || entry.streams > 0
        });
    }
}

enum Taken {
    Lease(Lease),
    Wait(oneshot::Receiver<Result<Lease, TransportError>>),
    Crowded,
}

/// The connections to one origin.
pub(crate) struct Upstream {
    origin: Origin,
    connector: Arc<Connector>,
    settings: Arc<Settings>,
    runtime: Runtime,
    state: Mutex<State>,
}

impl Upstream {
    /// Its connections end at a proxy.
    pub(crate) fn is_proxied(&self) -> bool {
        self.connector.proxy(&self.origin).is_some()
    }

    fn take(self: &Arc<Self>) -> Taken {
        let mut state = self.state.lock();
        if let Some(lease) = self.lease(&mut state) {
            if state.connecting == 0 && state.h2.len() < CONNECTIONS_MAX && state.wants_another(Instant::now()) {
                self.open(&mut state);
            }
            return Taken::Lease(lease);
        }
        if state.waiters.len() >= WAITERS_MAX {
            return Taken::Crowded;
        }
        let (waiter, lease) = oneshot::channel();
        state.waiters.push_back(waiter);
        self.open_for_waiters(&mut state);
        Taken::Wait(lease)
    }

    /// The least used connection with room.
    fn lease(self: &Arc<Self>, state: &mut State) -> Option<Lease> {
        let mut best: Option<&mut H2Entry> = None;
        for entry in &mut state.h2 {
            let takes = entry.sender.current_max_send_streams();
            if takes != entry.supposed {
                state.learned = Some(takes);
            }
            let room = !entry.retired && entry.streams < STREAMS_MAX.min(takes);
            if room && best.as_ref().is_none_or(|b| entry.streams < b.streams) {
                best = Some(entry);
            }
        }
        if let Some(entry) = best {
            entry.streams += 1;
            let (connection, sender) = (entry.id, entry.sender.clone());
            return Some(Lease::H2(H2Lease { upstream: self.clone(), connection, sender, armed: true }));
        }
        // The last used first: the others become idle and close.
        state.h1_idle.retain(|entry| !entry.sender.is_closed());
        let ready = state.h1_idle.iter().rposition(|entry| entry.sender.is_ready())?;
        let H1Entry { sender, expires, .. } = state.h1_idle.remove(ready);
        Some(Lease::H1(H1Lease { upstream: self.clone(), sender, expires }))
    }

    /// As many connections as those who wait need, in the worst case one each.
    fn open_for_waiters(self: &Arc<Self>, state: &mut State) {
        let per_connection = if self.origin.wire == Wire::Http1 { 1 } else { self.streams_expected(state) };
        let wanted = state.waiters.len().div_ceil(per_connection).min(CONNECTING_MAX);
        while state.connecting < wanted && state.connecting + state.h2.len() + state.h1_open < CONNECTIONS_MAX {
            self.open(state);
        }
    }

    fn open(self: &Arc<Self>, state: &mut State) {
        state.connecting += 1;
        let streams = self.streams_expected(state);
        let upstream = self.clone();
        // A task of its own: who asked for it may give up, others wait as well.
        self.runtime.spawn(async move {
            let opened = upstream.connector.open(&upstream.origin, streams).await;
            upstream.opened(opened, streams);
        });
    }

    fn streams_expected(&self, state: &State) -> usize {
        state.learned.unwrap_or(self.settings.initial_streams).clamp(1, STREAMS_MAX)
    }

    fn opened(self: &Arc<Self>, opened: Result<Opened, TransportError>, supposed: usize) {
        let mut state = self.state.lock();
        state.connecting -= 1;
        let now = Instant::now();
        let id = self.settings.next_id();
        let expires = self.settings.expiry(id, now);
        match opened {
            Ok(Opened::H2(sender, connection)) => {
                state.retire_expired(now);
                state.h2.push(H2Entry { id, sender, streams: 0, supposed, used: now, expires, retired: false });
                self.runtime.spawn(drive::h2(*connection, id, Arc::downgrade(self), self.settings.keep_alive.clone()));
            }
            Ok(Opened::H1(sender, connection)) => {
                state.h1_open += 1;
                state.h1_idle.push(H1Entry { sender, used: now, expires });
                self.runtime.spawn(drive::h1(*connection, Arc::downgrade(self)));
            }
            Err(error) => {
                tracing::debug!(origin = %self.origin, error = %crate::trouble::chain(&error), "no connection");
                for entry in state.h2.iter_mut().filter(|entry| entry.expires <= now) {
                    entry.expires = now + RENEWAL_PAUSE;
                }
                if state.usable().next().is_none() && state.h1_open == 0 && state.connecting == 0 {
                    let waiters = std::mem::take(&mut state.waiters);
                    drop(state);
                    waiters.into_iter().for_each(|waiter| drop(waiter.send(Err(error.clone()))));
                }
                return;
            }
        }
        drop(state);
        self.serve();
    }

    /// Hands out what there is to those who wait, and opens more if that is not enough.
    fn serve(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            while state.waiters.front().is_some_and(Waiter::is_closed) {
                state.waiters.pop_front();
            }
            if state.waiters.is_empty() {
                return;
            }
            let Some(lease) = self.lease(&mut state) else {
                self.open_for_waiters(&mut state);
                return;
            };
            let waiter = state.waiters.pop_front().expect("one waits");
            drop(state);
            if let Err(Ok(lease)) = waiter.send(Ok(lease)) {
                self.undo(lease);
            }
        }
    }

    /// A lease that nobody took. The caller goes on serving.
    fn undo(&self, lease: Lease) {
        match lease {
            Lease::H2(mut lease) => {
                lease.armed = false;
                Self::end_stream(&mut self.state.lock(), lease.connection);
            }
            Lease::H1(H1Lease { sender, expires, .. }) => {
                self.state.lock().h1_idle.push(H1Entry { sender, used: Instant::now(), expires });
            }
        }
    }

    fn end_stream(state: &mut State, connection: u64) {
        let Some(at) = state.h2.iter().position(|entry| entry.id == connection) else { return };
        let entry = &mut state.h2[at];
        entry.streams -= 1;
        entry.used = Instant::now();
        if entry.retired && entry.streams == 0 {
            state.h2.swap_remove(at);
        }
    }

    /// A stream has ended.
    pub(crate) fn give_back(self: &Arc<Self>, connection: u64) {
        let mut state = self.state.lock();
        Self::end_stream(&mut state, connection);
        let waiting = !state.waiters.is_empty();
        drop(state);
        if waiting {
            self.serve();
        }
    }

    /// An HTTP/1.1 exchange has ended well: its connection can be used again.
    pub(crate) fn keep(lease: H1Lease) {
        let H1Lease { upstream, mut sender, expires } = lease;
        let used = Instant::now();
        if expires <= used {
            // It closes without its last handle, and then who waits gets another one.
            return;
        }
        let mut state = upstream.state.lock();
        if state.waiters.is_empty() {
            state.h1_idle.push(H1Entry { sender, used, expires });
            return;
        }
        drop(state);
        // Its task has yet to see that the exchange is over.
        upstream.runtime.clone().spawn(async move {
            if sender.ready().await.is_ok() {
                upstream.state.lock().h1_idle.push(H1Entry { sender, used, expires });
            }
            upstream.serve();
        });
    }

    /// A connection takes no more requests; those on it go on, and it is watched as long as they do.
    pub(crate) fn retire(self: &Arc<Self>, connection: u64) {
        let mut state = self.state.lock();
        state.h2.retain_mut(|entry| {
            entry.retired |= entry.id == connection;
            !entry.retired || entry.streams > 0
        });
        let waiting = !state.waiters.is_empty();
        drop(state);
        if waiting {
            self.serve();
        }
    }

    fn h2_closed(self: &Arc<Self>, connection: u64) {
        let mut state = self.state.lock();
        state.h2.retain(|entry| entry.id != connection);
        let waiting = !state.waiters.is_empty();
        drop(state);
        if waiting {
            self.serve();
        }
    }

    fn h1_closed(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.h1_open -= 1;
        state.h1_idle.retain(|entry| !entry.sender.is_closed());
        let waiting = !state.waiters.is_empty();
        drop(state);
        if waiting {
            self.serve();
        }
    }

    fn streams(&self, connection: u64) -> usize {
        self.state.lock().h2.iter().find(|entry| entry.id == connection).map_or(0, |entry| entry.streams)
    }

    /// Closes idle connections. `false`: there are none left.
    fn sweep(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let idle = |used: Instant| now.saturating_duration_since(used) > IDLE_MAX;
        // A connection closes by itself when the last handle to it is gone.
        state.h2.retain(|entry| entry.streams > 0 || !idle(entry.used));
        state.h1_idle.retain(|entry| !entry.sender.is_closed() && !idle(entry.used));
        !(state.h2.is_empty() && state.h1_open == 0 && state.connecting == 0 && state.waiters.is_empty())
    }
}
