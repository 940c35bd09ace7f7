//! Trouble outside: shown, and over when it is over.

use super::*;

#[tokio::test]
async fn a_topic_that_is_missing_is_shown_and_read_once_it_is_there() {
    let scene = Scene::new().await;
    scene.server.allow("subscription is held up");
    scene.server.allow("kafka client");
    let topic = support::unique("missing");
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    scene.server.until_subscription(&id, "the topic is missing", |shown| code(shown) == "SUB0003").await;
    scene.kafka.create_topic(&topic, 2).await;
    let events = turns(4, 5, |key| Some((key % 2) as i32));
    produce(&scene.kafka.producer().await, &topic, &events).await;
    settled(&scene.server, "Events", &events).await;
    let shown = scene.server.until_subscription(&id, "it runs", |shown| state(shown) == "running").await;
    assert!(shown["status"]["last_error"].is_null(), "it is over: {shown:#}");
}

/// What was wrong is told with a time like every other time of the API.
#[tokio::test]
async fn troubles_and_rejections_are_told_with_times_as_everywhere() {
    let scene = Scene::new().await;
    scene.server.allow("subscription is held up");
    scene.server.allow("kafka client");
    scene.server.allow("records were rejected");
    let topic = scene.kafka.topic("times", 1).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    scene.kafka.produce([OutRecord { topic: &topic, value: Some(b"{}"), ..OutRecord::default() }]).await;
    let shown = scene.server.until_subscription(&id, "one is rejected", |shown| count(shown, "rejected") == 1).await;
    let is_time = |at: &Value| at.as_str().is_some_and(|at| at.contains('T') && at.ends_with('Z'));
    assert!(is_time(&shown["status"]["rejected_examples"][0]["at"]), "{shown:#}");
    let id = scene.server.subscribe(&support::unique("nowhere"), "Events/on", &[EARLIEST]).await;
    let shown = scene.server.until_subscription(&id, "it is missing", |shown| code(shown) == "SUB0003").await;
    assert!(is_time(&shown["status"]["last_error"]["at"]), "{shown:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_down_at_the_start_holds_up_nothing_else() {
    let kafka = Kafka::start();
    let service = Service::start("rust");
    let mut server = Server::start(ServerOptions::kafka(kafka.bootstrap())).await;
    server.allow("subscription is held up");
    server.allow("kafka client");
    server.register(&service).await;
    let topic = kafka.topic("down", 2).await;
    let events = turns(4, 5, |key| Some((key % 2) as i32));
    produce(&kafka.producer().await, &topic, &events).await;
    server.kill();
    tokio::task::block_in_place(|| kafka.stop("TERM"));
    server.start_again().await;
    // Made while the broker is away, like the rest of the world.
    let id = server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    server.until_subscription(&id, "the trouble is shown", |shown| code(shown) == "SUB0002").await;
    assert_eq!(server.call("Counter/k/add", json!(3)).await.unwrap(), 3);
    tokio::task::block_in_place(|| kafka.start_again());
    settled(&server, "Events", &events).await;
    server.until_subscription(&id, "it runs", |shown| state(shown) == "running").await;
    assert!(server.stop().success());
}

#[tokio::test]
async fn records_wait_in_kafka_while_the_service_is_not_registered() {
    let scene = Scene::new().await;
    scene.server.allow("subscription is held up");
    let topic = scene.kafka.topic("unregistered", 1).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    let deployments = scene.server.admin.get("/deployments").await.unwrap().json().unwrap();
    let deployment = deployments["deployments"][0]["id"].as_str().unwrap().to_owned();
    let removed = scene.server.admin.delete(&format!("/deployments/{deployment}?force=true")).await.unwrap();
    assert!(removed.status.is_success(), "{removed:?}");
    let events: Vec<_> = (0..5).map(|seq| Event::at(0, "k", seq)).collect();
    produce(&scene.kafka.producer().await, &topic, &events).await;
    let shown = scene.server.until_subscription(&id, "it is shown", |shown| code(shown) == "SUB0005").await;
    assert_eq!(count(&shown, "records"), 0, "{shown:#}");
    scene.server.register(&scene.service).await;
    settled(&scene.server, "Events", &events).await;
}

#[tokio::test]
async fn records_wait_for_a_service_that_is_down_and_are_handled_in_order_when_it_is_back() {
    let quick = |options: ServerOptions| options.env("MILLRACE_DEFAULT_RETRY_POLICY__MAX_INTERVAL", "500ms");
    let mut scene = Scene::with(&[], quick).await;
    let topic = scene.kafka.topic("service-down", 2).await;
    let id = scene.server.subscribe(&topic, "Events/on", &[EARLIEST]).await;
    scene.service.kill();
    let events = turns(10, 10, |key| Some((key % 2) as i32));
    produce(&scene.kafka.producer().await, &topic, &events).await;
    scene.server.until_subscription(&id, "all are taken", |shown| count(shown, "records") == 100).await;
    scene.service.start_again();
    settled(&scene.server, "Events", &events).await;
}

/// A cluster that is made through the API, with an address that is wrong at first.
#[tokio::test]
async fn a_subscription_follows_its_cluster_when_that_is_changed() {
    let scene = Scene::new().await;
    scene.server.allow("subscription is held up");
    scene.server.allow("kafka client");
    let topic = scene.kafka.topic("cluster", 1).await;
    let properties = |bootstrap: &str| json!({ "properties": { "bootstrap.servers": bootstrap } });
    let mut made = properties(&format!("127.0.0.1:{}", support::free_port()));
    made["name"] = json!("late");
    scene.server.admin.post("/kafka-clusters", &made).await.unwrap().ok().unwrap();
    let body = json!({
        "source": format!("kafka://late/{topic}"),
        "sink": "service://Events/on",
        "options": { "auto.offset.reset": "earliest" },
    });
    let answer = scene.server.admin.post("/subscriptions", &body).await.unwrap().ok().unwrap().json().unwrap();
    let id = answer["id"].as_str().unwrap();
    let events: Vec<_> = (0..5).map(|seq| Event::at(0, "k", seq)).collect();
    produce(&scene.kafka.producer().await, &topic, &events).await;
    scene.server.until_subscription(id, "nobody is there", |shown| code(shown) == "SUB0002").await;
    let right = properties(scene.kafka.bootstrap());
    scene.server.admin.patch("/kafka-clusters/late", &right).await.unwrap().ok().unwrap();
    settled(&scene.server, "Events", &events).await;
    // Without its cluster it stands still, says so, and can be deleted.
    scene.server.admin.delete("/kafka-clusters/late?force=true").await.unwrap().ok().unwrap();
    scene.server.until_subscription(id, "it has no cluster", |shown| code(shown) == "META0009").await;
    scene.server.unsubscribe(id).await;
}
