//! Awakeables completed over HTTP.

use millrace_model::journal::{Failure, NotificationId, NotificationResult};

use crate::support::{COMPLETED, Door, ENDED, LOST, UNKNOWN, WAITING, awakeable};

#[tokio::test]
async fn a_value_or_a_reason() {
    let door = Door::open().await;
    let id = awakeable(WAITING);
    for (path, body) in [
        (format!("/restate/awakeables/{id}/resolve"), "\"yes\""),
        (format!("/restate/a/{id}/resolve/"), ""),
        (format!("/restate/awakeables/{id}/reject"), "no way"),
    ] {
        // Whatever the content type says.
        let reply = door.http1("POST", &path, &[("content-type", "x/y")], body).await;
        assert_eq!((reply.status, reply.text(), reply.header("content-type")), (202, "", None), "{path}");
    }
    let failure = Failure { code: 500, message: "no way".into(), metadata: Vec::new() };
    let expected = [
        NotificationResult::Value("\"yes\"".into()),
        NotificationResult::Value("".into()),
        NotificationResult::Failure(failure),
    ];
    assert_eq!(door.engine.signals(), expected.map(|result| (NotificationId::Signal(17), result)));
}

#[tokio::test]
async fn what_cannot_be_completed_is_said() {
    let door = Door::open().await;
    for (invocation, status, message) in [
        (UNKNOWN, 404, "awakeable '..' not found: its invocation is not known, or no longer"),
        (ENDED, 409, "awakeable '..' cannot be completed: its invocation has ended"),
        (COMPLETED, 409, "awakeable '..' was already completed"),
        (LOST, 503, "the partition stopped before the outcome was known"),
    ] {
        let id = awakeable(invocation);
        for verb in ["resolve", "reject"] {
            let reply = door.http1("POST", &format!("/restate/awakeables/{id}/{verb}"), &[], "1").await;
            reply.refused(status, "ingress", &message.replace("..", &id));
        }
    }
    let legacy = awakeable(WAITING).replace("sign_1", "prom_1");
    let reply = door.http1("POST", &format!("/restate/awakeables/{legacy}/resolve"), &[], "1").await;
    assert_eq!(reply.status, 404);
    for (id, error) in [("bad", "bad format"), ("sign_1AAAA", "bad length")] {
        let reply = door.http1("POST", &format!("/restate/awakeables/{id}/resolve"), &[], "1").await;
        reply.refused(400, "ingress", &format!("bad awakeable id '{id}': {error}"));
    }
    assert!(door.engine.signals().is_empty());
}

#[tokio::test]
async fn a_reason_is_text() {
    let door = Door::open().await;
    let path = format!("/restate/awakeables/{}/reject", awakeable(WAITING));
    let mut request = door.request("POST", &path, &[], "");
    *request.body_mut() = bytes::Bytes::from_static(b"\xff").into();
    let reply = door.send(http::Version::HTTP_11, request).await;
    reply.refused(400, "ingress", "cannot read body: the reason is not UTF-8");
    assert!(door.engine.signals().is_empty());
}
