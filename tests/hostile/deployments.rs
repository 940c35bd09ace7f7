//! Deployments that answer attempts with garbage.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    support::{Attempt, Endpoint, PATIENCE, Server, ServerOptions, Service, eventually, manifest, seed, tier},
    wire::*,
};

/// A server with a good service, and one whose handler says what the input names.
struct Stage {
    server: Server,
    _good: Service,
    _bad: Endpoint,
}

type Script = Arc<Mutex<HashMap<String, Bytes>>>;

/// One attempt, then the invocation is paused and shows its failure.
fn pausing(service: &str, kind: &str) -> Value {
    let mut manifest = manifest(service);
    manifest["services"][0]["ty"] = json!(kind);
    manifest["services"][0]["retryPolicyOnMaxAttempts"] = json!("PAUSE");
    manifest["services"][0]["inactivityTimeout"] = json!(300);
    manifest["services"][0]["abortTimeout"] = json!(500);
    manifest
}

async fn register(server: &Server, uri: &str) {
    let made = server.admin.post("/deployments", &json!({"uri": uri})).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
}

impl Stage {
    /// The handler `on` of `Bad`, of this kind, says what is in `script` under the name that the input has.
    async fn start(kind: &str, script: Script) -> Self {
        let good = Service::start("rust");
        let server = Server::start(ServerOptions::default()).await;
        server.register(&good).await;
        let bad = Endpoint::start(pausing("Bad", kind), move |mut attempt: Attempt| {
            let script = Arc::clone(&script);
            async move {
                // Start and the replay, in which the input is at the end.
                let replay = attempt.first_bytes().await;
                let said = {
                    let script = script.lock().expect("nobody panics with it");
                    let name = script.keys().find(|name| ends_with_word(&replay, name));
                    name.map_or_else(done, |name| script[name].clone())
                };
                let mut answer = attempt.accept();
                let _ = answer.send_data(said, true);
                attempt.rest().await;
            }
        })
        .await;
        register(&server, &bad.uri()).await;
        Self { server, _good: good, _bad: bad }
    }

    /// Everybody else is served.
    async fn serves(&self) {
        assert_eq!(self.server.call("Greeter/greet", json!("Ann")).await.unwrap(), "Hello Ann");
        assert_eq!(
            self.server.call("Caller/callFailing", json!({"code": 400, "message": "m"})).await.unwrap(),
            "400: m"
        );
    }

    async fn look(&self, id: &str) -> Value {
        self.server.admin.get(&format!("/invocations/{id}")).await.unwrap().json().unwrap()
    }

    /// What becomes of an invocation, as soon as it no longer runs.
    async fn settled(&self, id: &str) -> Value {
        eventually(PATIENCE, "the attempt is over", async || {
            let look = self.look(id).await;
            anyhow::ensure!(["paused", "suspended", "completed"].iter().any(|s| look["status"] == *s), "{look:#}");
            Ok(look)
        })
        .await
    }
}

/// `word` with a blank before and behind it: names do not match within each other.
fn ends_with_word(bytes: &[u8], word: &str) -> bool {
    let word = format!(" {word} ");
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

fn run(completion: u64) -> Bytes {
    Message::new().number(11, completion).bytes(12, "step").frame(RUN)
}

fn propose(completion: u64) -> Bytes {
    Message::new().number(1, completion).bytes(14, "result").asking(PROPOSE)
}

fn sleep(wake_at: u64, completion: u64) -> Bytes {
    Message::new().number(1, wake_at).number(11, completion).frame(SLEEP)
}

/// `v7`: waits for any of these.
fn suspension(completions: &[u8]) -> Bytes {
    Message::new().message(4, Message::new().bytes(1, completions).number(5, 1)).frame(SUSPENSION)
}

fn call(service: &str, handler: &str, key: &str, id: u64, result: u64) -> Bytes {
    let call = Message::new().bytes(1, service).bytes(2, handler).bytes(5, key);
    call.number(10, id).number(11, result).frame(CALL)
}

fn nested(depth: usize) -> Bytes {
    let mut tree = Message::new().bytes(1, [1]);
    for _ in 0..depth {
        tree = Message::new().message(4, tree).number(5, 2);
    }
    Message::new().message(4, tree).frame(SUSPENSION)
}

/// (name, what the handler says, the code the failure has).
fn violations() -> Vec<(&'static str, Bytes, &'static str)> {
    let text = |field, value: &str| Message::new().bytes(field, value);
    let void = Message::new;
    let set = Message::new().bytes(1, "k").message(3, Message::new().bytes(1, "v"));
    vec![
        ("not a byte", Bytes::new(), "RT0010"),
        ("half a header", Bytes::from_static(&[0, 3, 0]), "RT0010"),
        ("half a payload", frame(OUTPUT, 0, 100, b"\x72\x00"), "RT0010"),
        ("more than there is room for", frame(OUTPUT, 0, u32::MAX, b"x"), "RT0003"),
        ("not protobuf", frame(OUTPUT, 0, 5, &[0xFF; 5]), "RT0012"),
        ("a length beyond the message", frame(OUTPUT, 0, 3, &[0x72, 0x7F, 0x0A]), "RT0012"),
        ("unknown type", empty(0x7123), "RT0012"),
        ("custom type", empty(0xFC00), "RT0017"),
        ("type of version 8", Message::new().number(1, 1).bytes(2, "k").frame(0x0200), "RT0012"),
        ("end without output", empty(END), "RT0012"),
        ("output without end", output("x"), "RT0010"),
        ("start", empty(START), "RT0012"),
        ("input", Message::new().message(14, text(1, "x")).frame(INPUT), "RT0012"),
        ("acknowledgement", Message::new().number(1, 1).frame(0x0007), "RT0012"),
        ("notification", Message::new().number(1, 1).message(4, Message::new()).frame(0x800C), "RT0012"),
        ("empty suspension", empty(SUSPENSION), "RT0012"),
        ("suspension on nothing", Message::new().message(4, Message::new()).frame(SUSPENSION), "RT0012"),
        ("suspension too deep", nested(1200), "RT0025"),
        ("empty hint", join(&[empty(AWAITING), done()]), "RT0012"),
        ("proposal without step", join(&[propose(1), done()]), "RT0012"),
        ("proposal without result", join(&[run(1), Message::new().number(1, 1).frame(PROPOSE), done()]), "RT0012"),
        ("proposal for a sleep", join(&[sleep(u64::MAX, 1), propose(1), done()]), "RT0012"),
        ("two proposals", join(&[run(1), propose(1), propose(1), done()]), "RT0012"),
        ("completion 0", join(&[run(0), done()]), "RT0012"),
        ("call with one completion for both", join(&[call("Greeter", "greet", "", 1, 1), done()]), "RT0012"),
        ("state of a service", join(&[set.frame(SET_STATE), done()]), "RT0017"),
        ("reading state of a service", join(&[text(1, "k").number(11, 1).frame(GET_STATE), done()]), "RT0017"),
        ("call to nowhere", join(&[call("Nowhere", "on", "", 1, 2), done()]), "RT0018"),
        ("call to no handler", join(&[call("Greeter", "nope", "", 1, 2), done()]), "RT0018"),
        ("call of a service with a key", join(&[call("Greeter", "greet", "k", 1, 2), done()]), "RT0017"),
        ("call without a name", join(&[Message::new().number(10, 1).number(11, 2).frame(CALL), done()]), "RT0018"),
        (
            "call with an empty idempotency key",
            join(&[
                Message::new()
                    .bytes(1, "Greeter")
                    .bytes(2, "greet")
                    .bytes(6, "")
                    .number(10, 1)
                    .number(11, 2)
                    .frame(CALL),
                done(),
            ]),
            "RT0017",
        ),
        ("text that is none", join(&[text(12, "x").bytes(1, [0xC3, 0x28]).frame(CALL), done()]), "RT0012"),
        ("signal without result", join(&[text(1, "inv_1nope").number(2, 1).frame(SIGNAL), done()]), "RT0012"),
        ("awakeable without result", join(&[text(1, "sign_1nope").frame(AWAKEABLE), done()]), "RT0012"),
        (
            "signal to nobody",
            join(&[text(1, "inv_1nope").number(2, 17).message(4, void()).frame(SIGNAL), done()]),
            "RT0017",
        ),
        (
            "awakeable of nobody",
            join(&[text(1, "sign_1nope").message(2, text(1, "x")).frame(AWAKEABLE), done()]),
            "RT0017",
        ),
        ("promise of no workflow", join(&[text(1, "p").number(11, 1).frame(GET_PROMISE), done()]), "RT0017"),
        ("attaching to garbage", join(&[text(1, "inv_1nope").number(11, 1).frame(ATTACH), done()]), "RT0017"),
    ]
}

#[tokio::test]
async fn violations_fail_the_attempt_with_a_code() {
    let violations = violations();
    let script = violations.iter().map(|(name, said, _)| ((*name).to_owned(), said.clone())).collect();
    let stage = Stage::start("SERVICE", Arc::new(Mutex::new(script))).await;
    let mut ids = Vec::new();
    for (name, _, _) in &violations {
        ids.push(stage.server.send("Bad/on", json!(format!(" {name} "))).await.unwrap());
    }
    let mut wrong = Vec::new();
    for ((name, _, code), id) in violations.iter().zip(&ids) {
        let look = stage.settled(id).await;
        if look["status"] != "paused" || look["last_failure"]["code"] != *code {
            wrong.push(format!("{name}: {} {}, not {code}", look["status"], look["last_failure"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.serves().await;
    // Nothing of it is poison: it is there after a restart, and goes away when it is killed.
    let mut stage = stage;
    stage.server.crash().await;
    stage.serves().await;
    for id in &ids {
        assert_eq!(stage.look(id).await["status"], "paused");
        let killed = stage.server.admin.patch(&format!("/invocations/{id}/kill"), &Value::Null).await.unwrap();
        assert_eq!(killed.status, 200, "{}", killed.text());
    }
    assert!(stage.server.stop().success());
}

/// What is odd and allowed: it ends well, or waits until it is killed.
#[tokio::test]
async fn oddities_do_no_harm() {
    let text = |field, value: &str| Message::new().bytes(field, value);
    let send = |at: u64| text(1, "Greeter").bytes(2, "greet").bytes(3, "\"x\"").number(4, at).number(10, 1);
    let cases = [
        ("two outputs", join(&[output("first"), done()]), "completed"),
        ("bytes behind the end", join(&[done(), Bytes::from_static(&[0xFF; 5000])]), "completed"),
        ("unknown fields", join(&[text(900, "x").message(14, text(1, "done")).frame(OUTPUT), empty(END)]), "completed"),
        ("reserved bits", join(&[frame(OUTPUT, 0x7FFF, 2, &[0x72, 0]), empty(END)]), "completed"),
        ("sleep for ever", join(&[sleep(u64::MAX, 1), done()]), "completed"),
        ("sleep in the past", join(&[sleep(0, 1), done()]), "completed"),
        ("far completion ids", join(&[run(u64::from(u32::MAX)), propose(u64::from(u32::MAX)), done()]), "completed"),
        ("send in the year of never", join(&[send(u64::MAX).frame(SEND), done()]), "completed"),
        ("a completion used twice", join(&[run(1), sleep(u64::MAX, 1), done()]), "completed"),
        ("waiting for nothing that comes", suspension(&[77]), "suspended"),
        ("waiting for ever", join(&[sleep(u64::MAX, 1), suspension(&[1])]), "suspended"),
        ("step without proposal", join(&[run(1), suspension(&[1])]), "suspended"),
        ("deep, but not too deep", nested(900), "suspended"),
    ];
    let script = cases.iter().map(|(name, said, _)| ((*name).to_owned(), said.clone())).collect();
    let mut stage = Stage::start("SERVICE", Arc::new(Mutex::new(script))).await;
    let mut ids = Vec::new();
    let mut wrong = Vec::new();
    for (name, _, status) in &cases {
        let id = stage.server.send("Bad/on", json!(format!(" {name} "))).await.unwrap();
        let look = stage.settled(&id).await;
        if look["status"] != *status {
            wrong.push(format!("{name}: {}, not {status}: {}", look["status"], look["last_failure"]));
        }
        ids.push(id);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.server.crash().await;
    for (id, (name, _, status)) in ids.iter().zip(&cases) {
        assert_eq!(stage.look(id).await["status"], *status, "{name}");
        if *status == "suspended" {
            let killed = stage.server.admin.patch(&format!("/invocations/{id}/kill"), &Value::Null).await.unwrap();
            assert_eq!(killed.status, 200, "{name}: {}", killed.text());
            assert_eq!(stage.look(id).await["status"], "completed", "{name}");
        }
    }
    stage.serves().await;
    assert!(stage.server.stop().success());
}

/// Garbage drawn at random: nearly all of it fails, none of it does harm; and a flipped bit in what was good.
#[tokio::test]
async fn random_answers_do_no_harm() {
    let mut rng = StdRng::seed_from_u64(seed());
    let script = Script::default();
    let stage = Stage::start("VIRTUAL_OBJECT", Arc::clone(&script)).await;
    let good = join(&[
        Message::new().bytes(1, "k").message(3, Message::new().bytes(1, "v")).frame(SET_STATE),
        run(1),
        propose(1),
        call("Greeter", "greet", "", 2, 3),
        sleep(1, 4), // tidy: allow it is a frame
        Message::new().bytes(1, "k").number(11, 5).frame(GET_STATE),
        done(),
    ]);
    let mut ids = Vec::new();
    for n in 0..tier(120, 5000) {
        let mut said = good.to_vec();
        match n % 3 {
            0 => {
                said = vec![0; rng.random_range(0..300)];
                rng.fill(&mut said[..]);
            }
            1 => {
                for _ in 0..rng.random_range(1..6) {
                    let at = rng.random_range(0..said.len());
                    said[at] ^= 1 << rng.random_range(0..8);
                }
            }
            _ => {
                // Frames with a known type, a right length and any payload.
                let types = [
                    0x0001, 0x0002, 0x0003, 0x0005, 0x0006, 0x0401, 0x0403, 0x0405, 0x040C, 0x040D, 0x040E, 0x0410,
                    0x0411, 0x0412, 0x0414,
                ];
                said.clear();
                for _ in 0..rng.random_range(1..6) {
                    let mut payload = vec![0; rng.random_range(0..40)];
                    rng.fill(&mut payload[..]);
                    let ty = types[rng.random_range(0..types.len())];
                    said.extend(frame(ty, 0, payload.len() as u32, &payload));
                }
            }
        }
        let name = format!("random {n}");
        script.lock().expect("nobody panics with it").insert(name.clone(), said.into());
        ids.push(stage.server.send(&format!("Bad/key-{n}/on"), json!(format!(" {name} "))).await.unwrap());
    }
    for id in &ids {
        let killed = stage.server.admin.patch(&format!("/invocations/{id}/kill"), &Value::Null).await.unwrap();
        assert!(killed.status == 200 || killed.status == 409, "{}", killed.text());
    }
    stage.serves().await;
    let mut stage = stage;
    stage.server.crash().await;
    stage.serves().await;
    assert!(stage.server.stop().success());
}

/// Answers that are none.
#[tokio::test]
async fn wrong_heads_and_broken_streams_have_codes() {
    let server = Server::start(ServerOptions::default()).await;
    let mut endpoints = Vec::new();
    let mut cases = Vec::new();
    let head = |status: u16, content_type: &'static str| {
        Response::builder().status(status).header("content-type", content_type)
    };
    for (n, (head, code)) in [
        (head(200, "text/html"), "RT0012"),
        (head(200, "application/vnd.restate.invocation.v5"), "RT0012"),
        (head(200, "application/vnd.restate.invocation.v7; charset=x"), "RT0012"),
        (head(204, ""), "RT0012"),
        (head(301, "text/html").header("location", "http://127.0.0.1:1/"), "RT0006"),
        (head(404, ""), "RT0010"),
        (head(401, ""), "RT0010"),
        (head(413, ""), "RT0019"),
        (head(415, ""), "RT0015"),
        (head(429, "").header("retry-after", "99999999999999999999"), "RT0023"),
        (head(503, "").header("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"), "RT0023"),
        (head(502, ""), "RT0010"),
        (head(500, ""), "RT0006"),
    ]
    .into_iter()
    .enumerate()
    {
        let service = format!("Head{n}");
        let head = Arc::new(Mutex::new(Some(head)));
        let endpoint = Endpoint::start(pausing(&service, "SERVICE"), move |mut attempt: Attempt| {
            let head = head.lock().expect("nobody panics with it").take();
            async move {
                attempt.first_bytes().await;
                let mut answer = attempt.answer(head.expect("one attempt"));
                let _ = answer.send_data(Bytes::from_static(b"<html>"), true);
                attempt.rest().await;
            }
        })
        .await;
        register(&server, &endpoint.uri()).await;
        endpoints.push(endpoint);
        cases.push((service, code));
    }
    let resetting = Endpoint::start(pausing("Resetting", "SERVICE"), |mut attempt: Attempt| async move {
        attempt.first_bytes().await;
        attempt.reset(h2::Reason::INTERNAL_ERROR);
    })
    .await;
    register(&server, &resetting.uri()).await;
    cases.push(("Resetting".to_owned(), "RT0010"));
    let silent = Endpoint::start(pausing("Silent", "SERVICE"), |mut attempt: Attempt| async move {
        attempt.rest().await;
        std::future::pending::<()>().await;
    })
    .await;
    register(&server, &silent.uri()).await;
    cases.push(("Silent".to_owned(), "RT0001"));
    // A byte now and then is not a frame.
    let trickling = Endpoint::start(pausing("Trickling", "SERVICE"), |mut attempt: Attempt| async move {
        let mut answer = attempt.accept();
        let byte = Bytes::from_static(&[0]);
        let _ = answer.send_data(frame(OUTPUT, 0, 1_000_000, b""), false);
        while answer.send_data(byte.clone(), false).is_ok() {
            crate::support::pause(Duration::from_millis(20)).await;
        }
        attempt.rest().await;
    })
    .await;
    register(&server, &trickling.uri()).await;
    cases.push(("Trickling".to_owned(), "RT0001"));
    let mut ids = Vec::new();
    for (service, _) in &cases {
        ids.push(server.send(&format!("{service}/on"), json!(1)).await.unwrap());
    }
    let mut wrong = Vec::new();
    for ((service, code), id) in cases.iter().zip(&ids) {
        let look = eventually(PATIENCE, "the attempt has failed", async || {
            let look = server.admin.get(&format!("/invocations/{id}")).await?.json()?;
            anyhow::ensure!(look["status"] == "paused", "{service}: {look:#}");
            Ok(look)
        })
        .await;
        if look["last_failure"]["code"] != *code {
            wrong.push(format!("{service}: {}, not {code}", look["last_failure"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Texts of a failure are cut, not kept whole.
#[tokio::test]
async fn a_huge_error_message_is_cut() {
    let script = Script::default();
    let huge = "x".repeat(8 << 20);
    let error = Message::new().number(1, 500).bytes(2, &huge).bytes(3, &huge).bytes(5, &huge).frame(ERROR);
    script.lock().expect("nobody panics with it").insert("huge".to_owned(), error);
    let stage = Stage::start("SERVICE", script).await;
    let id = stage.server.send("Bad/on", json!(" huge ")).await.unwrap();
    let look = stage.settled(&id).await;
    assert_eq!(look["last_failure"]["code"], "RT0007", "{}", look["status"]);
    assert!(look.to_string().len() < 256 << 10, "{} bytes", look.to_string().len());
    stage.serves().await;
}
