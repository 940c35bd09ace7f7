use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Api, COUNTER};

async fn ready() -> Api {
    let api = Api::start().await;
    api.register("http://127.0.0.1:9080/", COUNTER).await;
    let cluster = json!({"name": "my-cluster", "properties": {"bootstrap.servers": "h:9092", "sasl.password": "p"}});
    let (status, body) = api.post("/kafka-clusters", cluster).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(body["properties"]["sasl.password"], "***");
    api
}

#[tokio::test]
async fn life_of_a_subscription() {
    let api = ready().await;
    let request = json!({
        "source": "kafka://my-cluster/orders", "sink": "service://Counter/add",
        "options": {"auto.offset.reset": "earliest", "sasl.password": "secret", "millrace.null-key": "empty"},
    });
    let response = api.send(Method::POST, "/subscriptions", Some("application/json"), &request.to_string()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let created: Value = serde_json::from_str(response.body()).unwrap();
    let id = created["id"].as_str().unwrap();
    assert!(id.starts_with("sub_1"));
    assert_eq!(response.headers()["location"], format!("subscriptions/{id}").as_str());
    let expected = json!({
        "id": id, "source": "kafka://my-cluster/orders", "sink": "service://Counter/add",
        "created_at": "2026-11-22T16:36:14.574000000Z",
        "options": {"auto.offset.reset": "earliest", "client.id": "restate", "group.id": id,
                    "millrace.null-key": "empty", "sasl.password": "***"},
    });
    assert_eq!(created, expected);
    let stored = api.metadata.schema().subscriptions().next().unwrap().options["sasl.password"].clone();
    assert_eq!(stored, "secret", "it is used, not shown");

    let (status, one) = api.get(&format!("/subscriptions/{id}")).await;
    assert_eq!((status, &one["status"]["state"]), (StatusCode::OK, &json!("running")));
    assert_eq!(one["status"]["lag_records"], 3);
    let count = async |query: &str| {
        let (_, list) = api.get(&format!("/subscriptions{query}")).await;
        list["subscriptions"].as_array().unwrap().len()
    };
    assert_eq!(api.post("/subscriptions", request).await.0, StatusCode::CREATED, "twice the same is allowed");
    assert_eq!(count("").await, 2);
    assert_eq!(count("?sink=service://Counter/add").await, 2);
    assert_eq!(count("?source=kafka://my-cluster/other").await, 0);

    let (status, body) = api.delete("/kafka-clusters/my-cluster").await;
    assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &json!("META0021")));
    assert_eq!(api.delete(&format!("/subscriptions/{id}")).await, (StatusCode::ACCEPTED, Value::Null));
    let (status, body) = api.get(&format!("/subscriptions/{id}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["message"], format!("The requested subscription '{id}' does not exist"));
    let (_, body) = api.delete(&format!("/subscriptions/{id}")).await;
    assert_eq!(body["message"], format!("not found in the schema registry: subscription with id '{id}'"));
    assert_eq!(api.patch(&format!("/subscriptions/{id}"), json!({})).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn what_cannot_be_subscribed() {
    let api = ready().await;
    let (topic, add) = ("kafka://my-cluster/t", "service://Counter/add");
    for (source, sink, status, message) in [
        (
            topic,
            "service://Nope/h",
            400,
            "[META0009] invalid sink URI 'service://Nope/h': cannot find service/handler specified in the sink URI.",
        ),
        (
            topic,
            "http://Counter/add",
            400,
            "[META0009] invalid sink URI 'http://Counter/add': must have a scheme segment, with supported schemes: [service].",
        ),
        (
            "amqp://my-cluster/t",
            add,
            400,
            "[META0009] invalid source URI 'amqp://my-cluster/t': must have a scheme segment, with supported schemes: [kafka].",
        ),
        ("kafka://nocluster/t", add, 400, "Kafka cluster 'nocluster' not found. Available clusters: [\"my-cluster\"]"),
        ("kafka://my-cluster/", add, 400, "[META0009] invalid source URI 'kafka://my-cluster/': the topic is missing."),
        (
            topic,
            "service://Counter/hidden",
            400,
            "[META0009] invalid sink URI 'service://Counter/hidden': the handler is private, which keeps it from Kafka too.",
        ),
    ] {
        let (found, body) = api.post("/subscriptions", json!({"source": source, "sink": sink})).await;
        assert_eq!((found.as_u16(), &body["message"]), (status, &json!(message)));
        assert_eq!(body["restate_code"], "META0009", "{message}");
    }
    let (status, body) = api.post("/subscriptions", json!({"source": "kafka:///t", "sink": add})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body.as_str().unwrap().starts_with("Failed to deserialize the JSON body"), "plain text: {body}");
    let number = json!({"source": topic, "sink": add, "options": {"fetch.min.bytes": 1}});
    assert_eq!(api.post("/subscriptions", number).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let options = json!({"source": topic, "sink": add, "options": {"bogus": "1", "millrace.other": "2"}});
    let (status, body) = api.post("/subscriptions", options).await;
    assert_eq!((status, &body["restate_code"]), (StatusCode::BAD_REQUEST, &json!("META0009")));
    assert_eq!(body["metadata"]["options"], json!(["millrace.other", "bogus"]));
    assert_eq!(api.get("/subscriptions/nope").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn kafka_clusters() {
    let api = ready().await;
    let (_, list) = api.get("/kafka-clusters").await;
    assert_eq!(list["clusters"][0]["name"], "my-cluster");
    let (_, one) = api.get("/kafka-clusters/my-cluster?include_subscriptions=true").await;
    assert_eq!(one["subscriptions"], json!([]));
    let (status, body) = api.get("/kafka-clusters/nope").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["message"], "The requested Kafka cluster 'nope' does not exist");
    let without = json!({"name": "k3", "properties": {}});
    let (status, body) = api.post("/kafka-clusters", without).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = "kafka cluster 'k3' properties must contain either 'bootstrap.servers' or 'metadata.broker.list'";
    assert_eq!(body["message"], message);
    let badly_named = json!({"name": "a b", "properties": {"bootstrap.servers": "h:1"}});
    assert_eq!(api.post("/kafka-clusters", badly_named).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let again = json!({"name": "my-cluster", "properties": {"bootstrap.servers": "h:1"}});
    assert_eq!(api.post("/kafka-clusters", again).await.0, StatusCode::CONFLICT);
    let other = json!({"properties": {"bootstrap.servers": "h:2"}});
    let (status, body) = api.patch("/kafka-clusters/my-cluster", other).await;
    assert_eq!((status, &body["properties"]), (StatusCode::OK, &json!({"bootstrap.servers": "h:2"})));
    // A secret that was read masked and is sent back so stays.
    let secret = json!({"properties": {"bootstrap.servers": "h:2", "sasl.password": "hunter2"}});
    let (_, body) = api.patch("/kafka-clusters/my-cluster", secret).await;
    assert_eq!(body["properties"]["sasl.password"], "***");
    let back = json!({"properties": body["properties"]});
    assert_eq!(api.patch("/kafka-clusters/my-cluster", back).await.0, StatusCode::OK);
    let schema = api.metadata.schema();
    let stored = schema.kafka_cluster("my-cluster").unwrap().properties.get("sasl.password").cloned();
    assert_eq!(stored.as_deref(), Some("hunter2"));
    assert_eq!(api.delete("/kafka-clusters/my-cluster").await.0, StatusCode::ACCEPTED);
}
