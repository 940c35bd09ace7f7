//! An endpoint that does what a test says, over HTTP/2 on a loopback port.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    server::{self, SendResponse},
};
use http::{Response, request::Parts};
use millrace_protocol::{
    frame::{self, Decoder, Frame},
    message::{
        ErrorMessage, OutputCommandMessage, OutputResult, RunCommandMessage, StartMessage, SuspensionMessage, Value,
    },
    ty,
};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
};

/// A frame, ready to be sent.
pub fn message(ty: u16, ack: bool, message: &impl Message) -> Bytes {
    let mut out = BytesMut::new();
    frame::encode(ty, ack, &message.encode_to_vec(), &mut out);
    out.freeze()
}

pub fn output(value: &'static str) -> Bytes {
    let value = Value { content: Bytes::from_static(value.as_bytes()) };
    let output = OutputCommandMessage { result: Some(OutputResult::Value(value)), name: String::new() };
    message(ty::OUTPUT, false, &output)
}

pub fn end() -> Bytes {
    Bytes::from_static(&[0, 3, 0, 0, 0, 0, 0, 0])
}

pub fn run(completion: u32, name: &str) -> Bytes {
    message(ty::RUN, false, &RunCommandMessage { result_completion_id: completion, name: name.to_owned() })
}

pub fn error(code: u32, text: &str) -> Bytes {
    message(ty::ERROR, false, &ErrorMessage { code, message: text.to_owned(), ..ErrorMessage::default() })
}

pub fn suspension(completions: &[u32], signals: &[u32]) -> Bytes {
    let suspension = SuspensionMessage {
        waiting_completions: completions.to_vec(),
        waiting_signals: signals.to_vec(),
        ..SuspensionMessage::default()
    };
    message(ty::SUSPENSION, false, &suspension)
}

pub fn join(parts: &[Bytes]) -> Bytes {
    parts.concat().into()
}

/// One request.
pub struct Call {
    pub head: Parts,
    pub body: RecvStream,
    decoder: Decoder,
    respond: SendResponse<Bytes>,
    answer: Option<SendStream<Bytes>>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

impl Call {
    pub fn new(request: http::Request<RecvStream>, respond: SendResponse<Bytes>, connection: usize) -> Self {
        let (head, body) = request.into_parts();
        Self { head, body, decoder: Decoder::new(u32::MAX), respond, answer: None, connection }
    }

    fn content_type(&self) -> &str {
        self.head.headers["content-type"].to_str().unwrap()
    }

    /// Answers 200.
    pub fn accept(&mut self) {
        let response = Response::builder().status(200).header("content-type", self.content_type());
        self.answer = Some(self.respond.send_response(response.body(()).unwrap(), false).unwrap());
    }

    /// Answers with another head and ends.
    pub fn answer(&mut self, response: http::response::Builder) {
        self.respond.send_response(response.body(()).unwrap(), true).unwrap();
    }

    /// Answers with another head and this body.
    pub fn answer_with(&mut self, response: http::response::Builder, body: Bytes) {
        let mut answer = self.respond.send_response(response.body(()).unwrap(), false).unwrap();
        answer.send_data(body, true).unwrap();
    }

    /// Answers 200 without a content type.
    pub fn accept_any(&mut self) {
        self.answer = Some(self.respond.send_response(Response::new(()), false).unwrap());
    }

    pub fn reset(&mut self, reason: h2::Reason) {
        match &mut self.answer {
            Some(answer) => answer.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    /// Sends frames, or whatever else.
    pub fn send(&mut self, data: Bytes) {
        self.answer.as_mut().expect("accepted").send_data(data, false).unwrap();
    }

    pub fn finish(&mut self) {
        let _ = self.answer.as_mut().expect("accepted").send_data(Bytes::new(), true);
    }

    pub fn stream(&mut self) -> &mut SendStream<Bytes> {
        self.answer.as_mut().expect("accepted")
    }

    /// The next frame of the request, `None` at its end; an error if it was reset.
    pub async fn try_frame(&mut self) -> Result<Option<Frame>, h2::Error> {
        loop {
            if let Some(frame) = self.decoder.next().expect("the server sends no garbage") {
                return Ok(Some(frame));
            }
            match self.body.data().await {
                Some(data) => {
                    let data = data?;
                    let _ = self.body.flow_control().release_capacity(data.len());
                    self.decoder.push(data);
                }
                None => return Ok(None),
            }
        }
    }

    pub async fn frame(&mut self) -> Option<Frame> {
        self.try_frame().await.expect("not reset")
    }

    pub async fn expect(&mut self, ty: u16) -> Bytes {
        let frame = self.frame().await.expect("not ended");
        assert_eq!(ty::display(frame.ty), ty::display(ty));
        frame.payload
    }

    /// Start, and as many entries as it announces.
    pub async fn replay(&mut self) -> (StartMessage, Vec<(u16, Bytes)>) {
        let start = StartMessage::decode(self.expect(ty::START).await).unwrap();
        let mut entries = Vec::new();
        for _ in 0..start.known_entries {
            let frame = self.frame().await.expect("not ended");
            entries.push((frame.ty, frame.payload));
        }
        (start, entries)
    }

    /// Reads the request to its end; what came on the way.
    pub async fn rest(&mut self) -> Vec<u16> {
        let mut types = Vec::new();
        while let Some(frame) = self.frame().await {
            types.push(frame.ty);
        }
        types
    }

    /// Waits for the reset of the request.
    pub async fn reset_by_peer(&mut self) -> h2::Reason {
        loop {
            match self.try_frame().await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    // Half-closed before: the answer's side learns of it.
                    let answer = self.answer.as_mut().expect("accepted");
                    return std::future::poll_fn(|cx| answer.poll_reset(cx)).await.unwrap();
                }
                Err(error) => return error.reason().expect("a reset"),
            }
        }
    }

    /// The whole life of a handler that does nothing.
    pub async fn noop(mut self) {
        self.accept();
        self.replay().await;
        self.send(join(&[output("\"ok\""), end()]));
        self.rest().await;
        self.finish();
    }
}

/// A running endpoint; dropping it stops it and its connections.
pub struct Endpoint {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Endpoint {
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves every request by `handler`.
    pub async fn start<F, H>(handler: H) -> Self
    where
        H: Fn(Call) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with(server::Builder::new(), handler).await
    }

    pub async fn with<F, H>(builder: server::Builder, handler: H) -> Self
    where
        H: Fn(Call) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let accepting = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let connection = count.fetch_add(1, Ordering::SeqCst);
                tasks.spawn(serve(socket, builder.clone(), connection, handler.clone()));
            }
        });
        Self { address, connections, accepting }
    }
}

/// Serves one connection.
pub async fn serve<S, F, H>(socket: S, builder: server::Builder, number: usize, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let call = Call::new(request, respond, number);
        tokio::spawn(handler(call));
    }
}
