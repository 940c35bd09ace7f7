//! Brokers that want TLS and a login.

use super::*;

fn secured(kafka: &Kafka, name: &str, protocol: &str, login: &[(&str, &str)]) -> Value {
    let mut properties = json!({
        "bootstrap.servers": kafka.secured(protocol),
        "security.protocol": protocol,
    });
    if protocol.ends_with("SSL") {
        properties["ssl.ca.location"] = json!(kafka.ca());
    }
    for (key, value) in login {
        properties[key] = json!(value);
    }
    json!({ "name": name, "properties": properties })
}

const fn login(mechanism: &'static str) -> [(&'static str, &'static str); 3] {
    [("sasl.mechanism", mechanism), ("sasl.username", "alice"), ("sasl.password", "alice-secret")]
}

async fn subscribe(server: &Server, cluster: &str, topic: &str, options: Value) -> String {
    let body = json!({
        "source": format!("kafka://{cluster}/{topic}"),
        "sink": "service://Events/on",
        "options": options,
    });
    let made = server.admin.post("/subscriptions", &body).await.unwrap().ok().unwrap().json().unwrap();
    made["id"].as_str().unwrap().to_owned()
}

/// One of the configuration, the others made through the API. Dead letters go through the same door.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_over_tls_and_every_login() {
    let kafka = tokio::task::block_in_place(Kafka::start_secured);
    let service = Service::start("rust");
    let configured = format!(
        "[{{name=\"configured\",brokers=[\"SASL_SSL://{}\"],\"ssl.ca.location\"={:?},\"sasl.mechanism\"=\"PLAIN\",\
         \"sasl.username\"=\"alice\",\"sasl.password\"=\"alice-secret\"}}]",
        kafka.secured("SASL_SSL"),
        kafka.ca(),
    );
    let options = ServerOptions::default().env("MILLRACE_INGRESS__KAFKA_CLUSTERS", &configured);
    let server = Server::start(options).await;
    server.allow("records were rejected");
    server.register(&service).await;
    let clusters = [
        secured(&kafka, "tls", "SSL", &[]),
        secured(&kafka, "plain", "SASL_PLAINTEXT", &login("PLAIN")),
        secured(&kafka, "scram", "SASL_SSL", &login("SCRAM-SHA-256")),
        secured(&kafka, "scram512", "SASL_PLAINTEXT", &login("SCRAM-SHA-512")),
    ];
    for cluster in &clusters {
        server.admin.post("/kafka-clusters", cluster).await.unwrap().ok().unwrap();
    }
    let dead = kafka.topic("dead", 1).await;
    let producer = kafka.producer().await;
    let mut ids = Vec::new();
    for cluster in ["configured", "tls", "plain", "scram", "scram512"] {
        let topic = kafka.topic(cluster, 2).await;
        let options = json!({
            "auto.offset.reset": "earliest",
            "millrace.on-failure": "dead-letter",
            "millrace.dead-letter-topic": dead,
        });
        let id = subscribe(&server, cluster, &topic, options).await;
        let key = |n: u64| format!("{cluster}-{n}");
        let events: Vec<_> = (0..4).map(|n| Event::at((n % 2) as i32, &key(n % 2), n / 2)).collect();
        produce(&producer, &topic, &events).await;
        kafka.produce([OutRecord { topic: &topic, value: Some(b"{}"), ..OutRecord::default() }]).await;
        settled(&server, "Events", &events).await;
        ids.push(id);
    }
    for id in ids {
        let written = |shown: &Value| {
            shown["status"]["outcomes"]["dead_lettered"] == 1
                && shown["status"]["outcomes"]["dead_letters_waiting"] == 0
        };
        let shown = server.until_subscription(&id, "the keyless record is a dead letter", written).await;
        assert_eq!(state(&shown), "running");
    }
    assert_eq!(kafka.ends(&dead, 0).await.1, 5);

    // A wrong password is shown, without the password, and holds up nobody else.
    server.allow("subscription is held up");
    server.allow("kafka client");
    let mut wrong = secured(&kafka, "wrong", "SASL_SSL", &login("SCRAM-SHA-256"));
    wrong["properties"]["sasl.password"] = json!("hunter2");
    server.admin.post("/kafka-clusters", &wrong).await.unwrap().ok().unwrap();
    let topic = kafka.topic("wrong", 1).await;
    let id = subscribe(&server, "wrong", &topic, json!({})).await;
    let shown = server.until_subscription(&id, "the trouble is shown", |shown| code(shown) == "SUB0002").await;
    assert!(!shown.to_string().contains("hunter2"), "{shown:#}");
    let listed = server.admin.get("/kafka-clusters").await.unwrap().text();
    assert!(!listed.contains("hunter2") && !listed.contains("alice-secret"), "{listed}");
}
