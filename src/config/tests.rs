use std::{collections::BTreeSet, io::Write, net::SocketAddr, time::Duration};

use super::{sections::known, *};

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load_all(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, Faults> {
    let file = file(text);
    load(&Sources { file: Some(file.path().to_owned()), environment: pairs(environment), flags: pairs(flags) })
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The faults' keys, in the order of the report.
fn check_faults(text: &str, environment: &[(&str, &str)], expected: &[&str]) -> String {
    let faults = load_all(text, environment, &[]).expect_err("there are faults");
    assert_eq!(faults.keys(), expected, "{faults}");
    faults.to_string()
}

#[test]
fn later_layers_win() {
    let text = "cluster-name = 'file'\nbase-dir = 'file'\nnode-name = 'file'\n[admin]\nbind-address = '127.0.0.1:1'";
    let environment = [("MILLRACE_BASE_DIR", "env"), ("MILLRACE_NODE_NAME", "env"), ("OTHER", "x")];
    let config = load_all(text, &environment, &[("node-name", "flag")]).unwrap();
    assert_eq!(config.node.log_filter, "warn,millrace=info");
    assert_eq!(config.node.cluster_name, "file");
    assert_eq!(config.node.base_dir, PathBuf::from("env"));
    assert_eq!(config.node.node_name.as_deref(), Some("flag"));
    assert_eq!(config.admin.bind_address, address("127.0.0.1:1"));
}

#[test]
fn every_setting_is_a_variable() {
    let environment = [
        ("MILLRACE_INGRESS__BIND_ADDRESS", "127.0.0.1:8081"),
        ("MILLRACE_ADMIN__BIND_ADDRESS", "\"127.0.0.1:9071\""),
        ("MILLRACE_BIND_ADDRESS", "127.0.0.1:5123"),
        ("MILLRACE_DEFAULT_NUM_PARTITIONS", "3"),
        ("MILLRACE_WORKER__CLEANUP_INTERVAL", "5 minutes"),
        ("MILLRACE_WORKER__INVOKER__INACTIVITY_TIMEOUT", "PT5H"),
        ("MILLRACE_DEFAULT_RETRY_POLICY__MAX_ATTEMPTS", "unlimited"),
        ("MILLRACE_LOG__LOCAL__SEGMENT_SIZE", "128 MiB"),
        ("MILLRACE_HTTP_KEEP_ALIVE_OPTIONS__INTERVAL", "7s"),
        ("MILLRACE_LOG_FORMAT", "json"),
        ("MILLRACE_LOG_DISABLE_ANSI_CODES", "true"),
        // A name that looks like a number stays a name.
        ("MILLRACE_NODE_NAME", "17"),
        // A table as one value.
        ("MILLRACE_WORKER__STORAGE", "{ row-cache-size = \"2MiB\" }"),
    ];
    let config = load_all("", &environment, &[]).unwrap();
    assert_eq!(config.ingress.bind_address, address("127.0.0.1:8081"));
    assert_eq!(config.admin.bind_address, address("127.0.0.1:9071"));
    assert_eq!(config.node.bind_address, address("127.0.0.1:5123"));
    assert_eq!(config.node.address(), "http://127.0.0.1:5123/");
    assert_eq!(config.node.default_num_partitions, 3);
    assert_eq!(config.worker.cleanup_interval.0, Duration::from_secs(300));
    assert_eq!(config.invoker.inactivity_timeout, Duration::from_secs(5 * 3600));
    assert_eq!(config.retry.max_attempts, None);
    assert_eq!(config.log.segment_size.0, 128 << 20);
    assert_eq!(config.client.http_keep_alive_options.interval, Duration::from_secs(7));
    assert_eq!(config.node.log_format, LogFormat::Json);
    assert!(config.node.log_disable_ansi_codes);
    assert_eq!(config.node.name(), "17");
    assert_eq!(config.store.row_cache_size.0, 2 << 20);
}

#[test]
fn kafka_clusters_inline_and_in_the_file() {
    let inline = r#"[{name="c",brokers=["PLAINTEXT://host:9092"],fetch.min.bytes=7,"client.id"="me"}]"#;
    let text = r#"
        [[ingress.kafka-clusters]]
        name = "c"
        brokers = ["PLAINTEXT://host:9092"]
        fetch.min.bytes = 7
        client.id = "me"
    "#;
    for config in [
        load_all("", &[("MILLRACE_INGRESS__KAFKA_CLUSTERS", inline)], &[]),
        load_all(text, &[], &[]),
        load_all("", &[], &[("ingress.kafka-clusters", inline)]),
    ] {
        let [cluster] = &config.unwrap().kafka_clusters[..] else { panic!("one cluster") };
        assert_eq!((cluster.name.as_str(), cluster.bootstrap()), ("c", Some("PLAINTEXT://host:9092")));
        let property = |key: &str| cluster.properties.get(key).map(String::as_str);
        assert_eq!((property("fetch.min.bytes"), property("client.id")), (Some("7"), Some("me")));
    }
}

#[test]
fn all_faults_of_all_layers_at_once() {
    let text = r#"
        cluster-nam = "x"
        default-num-partitions = 0
        default-replication = 3
        log-filter = "millrace=loud"
        [worker]
        cleanup-interval = "soon"
        [worker.invoker]
        abort-timeout = "0s"
        message-size-limit = "big"
        [worker.storage]
        row-cache-size = "1B"
        [worker.snapshots]
        destination = "s3://x"
        [log.local]
        segment-size = "1B"
        [nope]
        a = 1
        [ingress]
        request-size-limit = "100MiB"
        [[ingress.kafka-clusters]]
        brokers = ["PLAINTEXT://host:9092"]
        [[ingress.kafka-clusters]]
        name = "c"
        brokers = ["host:99999"]
        no.such.property = 1
    "#;
    let environment = [("MILLRACE_ADMIN__BIND_ADDRESS", "here"), ("MILLRACE_LOG_FORMAT", "xml"), ("MILLRACE_NO", "1")];
    let report = check_faults(
        text,
        &environment,
        &[
            "cluster-nam",
            "log-format",
            "no",
            "nope.a",
            "worker.cleanup-interval",
            "worker.snapshots.destination",
            "worker.invoker.message-size-limit",
            "ingress.kafka-clusters[0].name",
            "ingress.kafka-clusters[1].no.such.property",
            "ingress.kafka-clusters[1].brokers",
            "admin.bind-address",
            "default-num-partitions",
            "default-replication",
            "log-filter",
            "ingress.request-size-limit",
            "log.local.segment-size",
            "worker.storage.row-cache-size",
            "worker.invoker.abort-timeout",
        ],
    );
    assert!(report.lines().all(|line| line.starts_with("RT0002: ")), "{report}");
    assert!(report.contains("cluster-nam (file): unknown setting `cluster-nam`, expected one of"), "{report}");
    assert!(report.contains("admin.bind-address (environment MILLRACE_ADMIN__BIND_ADDRESS): "), "{report}");
}

#[test]
fn files_that_are_none() {
    let report = check_faults("a = 1\nb = = 2", &[], &["config-file"]);
    assert!(report.contains("line 2"), "{report}");
    let missing = Sources { file: Some("/nonexistent/millrace.toml".into()), ..Sources::default() };
    assert_eq!(load(&missing).unwrap_err().keys(), ["config-file"]);
}

#[test]
fn settings_of_the_peer_that_mean_nothing_here() {
    let text = r#"
        auto-provision = true
        rocksdb-total-memory-size = "64MiB"
        gossip-num-peers = 2
        [bifrost.local]
        rocksdb-disable-wal = false
        [metadata-client]
        type = "replicated"
    "#;
    let config = load_all(text, &[], &[]).unwrap();
    assert_eq!(config.store.rocksdb_total_memory_size.0, 64 << 20);
    assert_eq!(config.warnings.len(), 4, "{:?}", config.warnings);
    assert!(config.warnings[0].starts_with("auto-provision (file) has no effect: "), "{:?}", config.warnings);
    let script = [("MILLRACE_CACHE", "x"), ("MILLRACE_BIN", "x"), ("MILLRACE_CONFIG", "x"), ("MILLRACE_TESTS", "all")];
    assert!(load_all("", &script, &[]).unwrap().warnings.is_empty());
}

#[test]
fn the_printed_defaults_are_the_defaults() {
    let none = load(&Sources::default()).unwrap();
    let printed = load_all(DEFAULTS, &[], &[]).unwrap();
    let show = |config: &Config| {
        let Config { node, client, retry, worker, invoker, store, log, ingress, kafka_clusters, admin, .. } = config;
        format!(
            "{node:#?}{client:#?}{retry:#?}{worker:#?}{invoker:#?}{store:#?}{log:#?}{ingress:#?}{kafka_clusters:#?}{admin:#?}"
        )
    };
    assert_eq!(show(&printed), show(&none));
    assert!(printed.warnings.is_empty());
    assert_eq!(printed.dump(), none.dump());
}

#[test]
fn the_printed_defaults_are_complete() {
    // Names in the file below each header, those without a default (`# name = …`) included.
    let mut printed = BTreeSet::new();
    let mut section = String::new();
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
            continue;
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some((name, _)) = line.split_once(" = ").filter(|(name, _)| !name.contains([' ', '`'])) {
            printed.insert(format!("{section}{name}"));
        }
    }
    let mut settings = BTreeSet::new();
    for (section, keys) in [
        ("", known::<NodeSection>()),
        ("", known::<ClientConfig>().into_iter().filter(|key| key != "http-keep-alive-options").collect()),
        ("http-keep-alive-options.", known::<millrace_invoker::KeepAlive>()),
        ("default-retry-policy.", known::<DefaultRetryPolicy>()),
        ("worker.", known::<WorkerSection>()),
        ("worker.invoker.", known::<InvokerConfig>().into_iter().filter(|key| !key.ends_with("-throttling")).collect()),
        ("worker.invoker.invocation-throttling.", known::<millrace_invoker::ThrottlingConfig>()),
        ("worker.invoker.action-throttling.", known::<millrace_invoker::ThrottlingConfig>()),
        ("worker.storage.", known::<StoreConfig>()),
        ("log.local.", known::<LocalLogConfig>()),
        ("ingress.", known::<IngressSection>()),
        ("ingress.", vec!["kafka-clusters".to_owned()]),
        ("admin.", known::<AdminConfig>()),
    ] {
        settings.extend(keys.into_iter().map(|key| format!("{section}{key}")));
    }
    assert_eq!(printed, settings);
}

#[test]
fn a_dump_loads_again_and_hides_secrets() {
    let text = r#"
        node-name = "n1"
        [worker.invoker]
        abort-timeout = "3m"
        [[ingress.kafka-clusters]]
        name = "c"
        brokers = ["SASL_SSL://host:9092"]
        sasl.mechanism = "PLAIN"
        sasl.username = "me"
        sasl.password = "hunter2"
    "#;
    let config = load_all(text, &[("MILLRACE_ADMIN__BIND_ADDRESS", "127.0.0.1:1")], &[]).unwrap();
    let dump = config.dump();
    assert!(!dump.contains("hunter2"), "{dump}");
    let again = load_all(&dump, &[], &[]).unwrap();
    assert_eq!(again.dump(), dump);
    assert_eq!(again.node, config.node);
    assert_eq!(again.invoker, config.invoker);
    assert_eq!(again.admin.bind_address, address("127.0.0.1:1"));
}

#[test]
fn files_that_settings_name_are_looked_at() {
    let key = file(
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIGpOscQf4l7igdfZjINP6g6PVe06a+koKSu90HImy2mq\n-----END PRIVATE KEY-----\n",
    );
    let name = "MILLRACE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE";
    let good = load_all("", &[(name, key.path().to_str().unwrap())], &[]).unwrap();
    assert_eq!(good.client.request_identity_private_key_pem_file.as_deref(), Some(key.path()));
    let other = file("no key");
    let setting = "request-identity-private-key-pem-file";
    for (path, what) in [(other.path().to_str().unwrap(), "has 0 private keys"), ("/nonexistent", "cannot be read")] {
        let report = check_faults("", &[(name, path)], &[setting]);
        assert!(report.starts_with(&format!("RT0002: {setting} (environment {name}): ")), "{report}");
        assert!(report.contains(path) && report.contains(what), "{report}");
    }
    check_faults("extra-ca-file = '/nonexistent'", &[], &["extra-ca-file"]);
}

#[test]
fn a_dump_hides_what_goes_to_others() {
    let text = "aws-assume-role-external-id = 'hunter2'\nadditional-request-headers = { x-api-key = 'hunter3' }";
    let dump = load_all(text, &[], &[]).unwrap().dump();
    assert!(dump.contains("x-api-key") && !dump.contains("hunter"), "{dump}");
}

/// Names and values of the product documentation's default configuration: a file that served there serves here.
const DOCUMENTED: &str = include_str!("documented.toml");
/// Of those, what has a meaning here; all others are set aside with a warning.
const READ: [&str; 28] = [
    "roles",
    "cluster-name",
    "advertised-address",
    "default-num-partitions",
    "default-replication",
    "shutdown-timeout",
    "log-filter",
    "log-format",
    "log-disable-ansi-codes",
    "no-proxy",
    "connect-timeout",
    "request-compression-threshold",
    "disable-prometheus",
    "rocksdb-total-memory-size",
    "rocksdb-total-memtables-ratio",
    "default-journal-retention",
    "http-keep-alive-options.interval",
    "http-keep-alive-options.timeout",
    "worker.cleanup-interval",
    "worker.invoker.inactivity-timeout",
    "worker.invoker.abort-timeout",
    "worker.invoker.message-size-warning",
    "worker.invoker.concurrent-invocations-limit",
    "admin.bind-address",
    "ingress.bind-address",
    "ingress.kafka-clusters",
    "base-dir",
    "bind-address",
];

#[test]
fn the_documented_configuration_is_understood() {
    let config = load_all(DOCUMENTED, &[], &[]).unwrap();
    let mut layers = Layers::default();
    layers.add_text(DOCUMENTED, Origin::File).unwrap();
    let warned = |key: &str| config.warnings.iter().any(|warning| warning.starts_with(&format!("{key} (")));
    for (key, _) in layers.iter() {
        let key = key.join(".");
        assert_ne!(READ.contains(&key.as_str()), warned(&key), "{key}: {:?}", config.warnings);
    }
    assert_eq!(config.store.rocksdb_total_memory_size.0, 6 << 30);
    assert_eq!(config.node.default_num_partitions, 24);
    assert_eq!(config.worker.cleanup_interval.0, Duration::from_secs(3600));
    assert_eq!(config.invoker.abort_timeout, Duration::from_secs(60));
    assert_eq!(config.invoker.message_size_warning, 10 << 20);
    // A name that is nearly right is an error that names it.
    let wrong = DOCUMENTED.replace("cleanup-interval", "clean-up-interval");
    assert_eq!(load_all(&wrong, &[], &[]).unwrap_err().keys(), ["worker.clean-up-interval"]);
}

#[test]
fn the_retired_retry_policy_is_read() {
    let policy = |text: &str| {
        let config = load_all(text, &[], &[]).unwrap();
        let retry = config.retry.policy();
        (retry.initial_interval, retry.factor, retry.max_attempts, retry.max_interval, config.warnings)
    };
    let ms = Duration::from_millis;
    let section = "[worker.invoker.retry-policy]\n";
    let (initial, factor, attempts, max, warnings) =
        policy(&format!("{section}type = 'exponential'\ninitial-interval = '70ms'\nfactor = 3.0\nmax-attempts = 5"));
    assert_eq!((initial, factor, attempts), (ms(70), 3.0, Some(5)));
    assert!(max > Duration::from_secs(3600));
    assert!(warnings.iter().any(|warning| warning.contains("worker.invoker.retry-policy (file) is deprecated")));
    let (initial, factor, attempts, max, _) = policy(&format!("{section}type = 'fixed-delay'\ninterval = '2s'"));
    assert_eq!((initial, factor, attempts, max), (ms(2000), 1.0, None, ms(2000)));
    assert_eq!(policy(&format!("{section}type = 'none'")).2, Some(1));
    // The present one counts.
    let both = format!("[default-retry-policy]\nmax-attempts = 7\n{section}type = 'none'");
    let (_, _, attempts, _, warnings) = policy(&both);
    assert_eq!(attempts, Some(7));
    assert!(warnings[0].contains("worker.invoker.retry-policy (file) has no effect"), "{warnings:?}");
    // What is wrong in any of them is a fault.
    check_faults(&format!("{section}type = 'sometimes'"), &[], &["worker.invoker.retry-policy"]);
    check_faults("[network-error-retry-policy]\ntype = 'fixed-delay'", &[], &["network-error-retry-policy"]);
    let every = "[network-error-retry-policy]\ntype = 'none'\n[metadata-client.backoff-policy]\ntype = 'fixed-delay'\n\
                 interval = '1s'\n[bifrost.read-retry-policy]\ntype = 'exponential'\ninitial-interval = 'PT1S'";
    assert!(load_all(every, &[], &[]).is_ok());
}

#[test]
fn variables_of_all_programs() {
    let environment = [("HTTP_PROXY", "http://127.0.0.1:3128"), ("NO_PROXY", "localhost,example.com")];
    let config = load_all("http-proxy = 'http://127.0.0.1:1'", &environment, &[]).unwrap();
    assert!(format!("{:?}", config.client.http_proxy).contains("3128"), "{:?}", config.client.http_proxy);
    assert!(format!("{:?}", config.client.no_proxy).contains("example.com"));
    let own = [environment[0], ("MILLRACE_HTTP_PROXY", "http://127.0.0.1:7")];
    let config = load_all("", &own, &[]).unwrap();
    assert!(!format!("{:?}", config.client.http_proxy).contains("3128"));
}
