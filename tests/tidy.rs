//! Repo rules as tests: crate arrows, error pages, and what must not be in a file.
//!
//! A rule that fails names every place. A new arrow between crates is a design change: draw it in [`ARROWS`] and in
//! `ARCHITECTURE.md`, and name it in the commit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[path = "codes/table.rs"]
mod provoked;

/// Which of our crates a crate may use: `src -> {ingress, admin, subscriptions} -> engine -> connectors`, inside the
/// engine towards `model`. The root package (`src` and `tests`) may use every crate.
const ARROWS: &[(&str, &[&str])] = &[
    ("millrace-model", &[]),
    ("millrace-machine", &["model"]),
    ("millrace-log", &["model"]),
    ("millrace-protocol", &["model"]),
    ("millrace-store", &["model", "machine"]),
    ("millrace-invoker", &["model", "protocol", "partition"]),
    ("millrace-partition", &["model", "machine", "log", "store"]),
    ("millrace-cluster", &["model", "log", "protocol", "store", "partition"]),
    ("millrace-sim", &["model", "machine", "log", "store", "partition"]),
    ("millrace-connector-kafka", &[]),
    // The front doors reach the engine through its handles and the types these speak in, never its log or its store.
    // A look at a partition between two batches is a look at its store.
    ("millrace-subscriptions", &["model", "machine", "protocol", "cluster", "partition", "store", "connector-kafka"]),
    ("millrace-ingress", &["model", "machine", "protocol", "cluster", "partition"]),
    ("millrace-admin", &["model", "machine", "protocol", "cluster", "partition", "store"]),
    // Programs. The first starts the server inside itself, the second knows it only by its wire.
    ("millrace-demo", &["millrace", "connector-kafka"]),
    ("millrace-test-services", &[]),
];

/// Crates whose dependency tree has no runtime, client or database: what they decide can be tested without any.
const PURE: &[&str] = &["millrace-model", "millrace-machine"];
const IMPURE: &[&str] = &["tokio", "hyper", "rdkafka", "rocksdb", "rand"];

/// Packages whose errors are for people, not for callers.
const PROGRAMS: &[&str] = &["millrace", "millrace-demo"];

/// Longest Rust file. `style` asks to look for the seam near 600 lines; this is where a file has become everybody's.
const FILE_LINES_MAX: usize = 1000;

/// Marks a line that breaks a rule on purpose; the reason follows it.
const ALLOW: &str = "tidy: allow";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Tracked text files with their content, in path order.
fn tracked() -> Vec<(String, String)> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git is installed");
    assert!(listed.status.success(), "tidy needs a git checkout: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("our file names are UTF-8");
    // Binary files have no rules; a file that is deleted but not yet committed has no content.
    let read = |name: &str| Some((name.to_owned(), std::fs::read_to_string(root().join(name)).ok()?));
    names.split_terminator('\0').filter_map(read).collect()
}

fn rust_files() -> Vec<(String, String)> {
    let mut files = tracked();
    files.retain(|(name, _)| name.ends_with(".rs"));
    assert!(!files.is_empty());
    files
}

fn metadata() -> Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--all-features"])
        .current_dir(root())
        .output()
        .expect("cargo runs us");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo writes JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("cargo metadata has {key}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("cargo metadata has {key}"))
}

/// Our own packages: those without a source.
fn members(metadata: &Value) -> Vec<&Value> {
    list(metadata, "packages").iter().filter(|package| package["source"].is_null()).collect()
}

#[track_caller]
fn none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// Lines of tracked files for which `breaks` holds and that are not allowed by their own or the preceding line.
fn lines(files: Vec<(String, String)>, breaks: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (name, content) in &files {
        let mut allowed = false;
        for (number, line) in content.lines().enumerate() {
            let allows = line.contains(ALLOW);
            if !allows && !allowed && breaks(name, line) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
            allowed = allows;
        }
    }
    found
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let metadata = metadata();
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let ours: BTreeSet<_> = members(&metadata).into_iter().map(|package| text(package, "name")).collect();
    let mut found = Vec::new();
    for package in members(&metadata) {
        let name = text(package, "name");
        if name == env!("CARGO_PKG_NAME") {
            continue;
        }
        let Some(allowed) = arrows.get(name) else {
            found.push(format!("{name} is not in ARROWS"));
            continue;
        };
        for dependency in list(package, "dependencies") {
            let target = text(dependency, "name");
            let short = target.strip_prefix("millrace-").unwrap_or(target);
            if ours.contains(target) && !allowed.contains(&short) {
                found.push(format!("{name} -> {target}"));
            }
        }
    }
    none("arrows that DESIGN section 15 does not draw", found);
}

#[test]
fn pure_crates_have_no_runtime_in_their_tree() {
    let metadata = metadata();
    let nodes: BTreeMap<_, _> = list(&metadata["resolve"], "nodes").iter().map(|n| (text(n, "id"), n)).collect();
    let names: BTreeMap<_, _> =
        list(&metadata, "packages").iter().map(|package| (text(package, "id"), text(package, "name"))).collect();
    let mut found = Vec::new();
    for start in names.iter().filter(|(_, name)| PURE.contains(name)).map(|(id, _)| *id) {
        let mut seen = BTreeSet::new();
        let mut next = vec![start];
        while let Some(id) = next.pop() {
            if !seen.insert(id) {
                continue;
            }
            if IMPURE.contains(&names[id]) {
                found.push(format!("{} has {} in its tree", names[start], names[id]));
            }
            for dependency in list(nodes[id], "deps") {
                // Normal dependencies only: what tests and build scripts use does not ship.
                if list(dependency, "dep_kinds").iter().any(|kind| kind["kind"].is_null()) {
                    next.push(text(dependency, "pkg"));
                }
            }
        }
        assert!(seen.len() > 1, "{} has dependencies", names[start]);
    }
    none("runtimes, clients or databases in pure crates", found);
}

#[test]
fn libraries_have_typed_errors() {
    let metadata = metadata();
    let mut found = Vec::new();
    for package in members(&metadata).into_iter().filter(|package| !PROGRAMS.contains(&text(package, "name"))) {
        let uses = |name: &str| list(package, "dependencies").iter().any(|d| d["name"] == name && d["kind"].is_null());
        if uses("anyhow") {
            found.push(text(package, "name").to_owned());
        }
    }
    none("anyhow is for programs and tests", found);
}

#[test]
fn versions_and_lints_stand_in_the_workspace() {
    let mut found = Vec::new();
    for (name, content) in tracked().iter().filter(|(name, _)| name.ends_with("/Cargo.toml")) {
        if !content.contains("[lints]\nworkspace = true") {
            found.push(format!("{name}: no [lints] workspace = true"));
        }
        let mut section = "";
        for line in content.lines() {
            if let Some(header) = line.strip_prefix('[') {
                section = header;
            } else if section.contains("dependencies") && line.contains('=') {
                // A crate may ask for fewer features than the workspace names, never for a version of its own taste.
                let fewer = line.contains("version = \"") && line.contains("default-features = false");
                if !line.contains("workspace = true") && !fewer {
                    found.push(format!("{name}: {line}"));
                }
            }
        }
    }
    none("what does not come from the workspace", found);
}

/// All codes, as `codes.rs` lists them.
fn error_codes() -> BTreeSet<String> {
    let source = std::fs::read_to_string(root().join("engine/model/src/codes.rs")).expect("codes.rs is there");
    let block = source.split_once("codes! {").expect("the codes stand in `codes! { … }`").1;
    let is_code = |id: &str| {
        id.len() > 4 && id.is_ascii() && {
            let (area, digits) = id.split_at(id.len() - 4);
            area.bytes().all(|b| b.is_ascii_uppercase()) && digits.bytes().all(|b| b.is_ascii_digit())
        }
    };
    let named = |line: &str| line.trim().split_once(':').map(|(id, _)| id.to_owned()).filter(|id| is_code(id));
    let codes: BTreeSet<_> = block.lines().filter_map(named).collect();
    assert!(codes.len() > 20, "found only {codes:?}");
    codes
}

#[test]
fn every_error_code_is_provoked_by_a_test() {
    let codes = error_codes();
    let mut found = Vec::new();
    let mut listed = BTreeSet::new();
    for &(code, file, function) in provoked::PROVOKED {
        if !listed.insert(code.to_owned()) {
            found.push(format!("{code} stands there twice"));
        }
        let content = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        let Some((before, _)) = content.split_once(&format!("fn {function}(")) else {
            found.push(format!("{code}: no fn {function} in {file}"));
            continue;
        };
        // Its attributes stand on the lines above, behind nothing but other attributes and its own documentation.
        let above = before.rsplit_once('\n').map_or("", |(above, _)| above);
        let above = above.lines().rev().take_while(|line| {
            let line = line.trim();
            line.starts_with('#') || line.starts_with("//")
        });
        if !above.into_iter().any(|line| line.contains("test]") || line.contains("test(")) {
            found.push(format!("{code}: {function} in {file} is not a test"));
        }
        // By its name, or as the constant; a table of the same file may hold it.
        if !content.contains(code) {
            found.push(format!("{code}: {file} does not name it"));
        }
    }
    for &(code, why) in provoked::NOT_PROVOKED {
        assert!(!why.is_empty(), "{code}");
        if !listed.insert(code.to_owned()) {
            found.push(format!("{code} is provoked and is not"));
        }
    }
    for &code in provoked::DOCUMENTED {
        let by = provoked::PROVOKED.iter().find(|(provoked, ..)| *provoked == code);
        let excused = provoked::NOT_PROVOKED.iter().any(|(known, _)| *known == code);
        if !excused && !by.is_some_and(|(_, file, _)| file.starts_with("tests/")) {
            found.push(format!("{code}: no test of the whole server provokes it"));
        }
    }
    found.extend(codes.difference(&listed).map(|code| format!("{code} is not in tests/codes/table.rs")));
    found.extend(listed.difference(&codes).map(|code| format!("{code} is no code")));
    none("error codes and the tests that provoke them", found);
}

#[test]
fn every_error_code_has_its_page() {
    let codes = error_codes();

    let mut found = Vec::new();
    let mut pages = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("engine/model/codes")).expect("the pages are there") {
        let path = entry.expect("the folder can be read").path();
        let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let page = std::fs::read_to_string(&path).expect("a page is text");
        if page.lines().next() != Some(&format!("# {id}")) {
            found.push(format!("{id}: the page does not begin with '# {id}'"));
        }
        for part in ["**Likely causes.**", "**What to do.**"] {
            if !page.contains(part) {
                found.push(format!("{id}: the page has no {part}"));
            }
        }
        pages.insert(id);
    }
    found.extend(codes.difference(&pages).map(|id| format!("{id}: no page")));
    found.extend(pages.difference(&codes).map(|id| format!("{id}: a page without a code")));
    none("error codes and their pages", found);
}

#[test]
fn no_registry_host_and_no_path_of_a_machine_in_any_file() {
    // Put together here, so that this file does not break its own rule.
    let hosts =
        ["crates.@io", "npmjs.@org", "npmjs.@com", "pypi.@org", "pythonhosted.@org", "repo.@maven", "repo1.@maven"];
    let more = ["deb.@debian", "archive.@ubuntu", "proxy.@golang", "/ro@ot/", "/wo@rk/", "/Us@ers/"];
    let banned: Vec<String> = hosts.iter().chain(&more).map(|word| word.replace('@', "")).collect();
    let mut files = tracked();
    // Written by cargo, which names the index by itself.
    files.retain(|(name, _)| name != "Cargo.lock");
    let found = lines(files, |_, line| banned.iter().any(|word| line.contains(word.as_str())));
    none("registry hosts and machine paths", found);
}

#[test]
fn files_stay_readable() {
    let long = |(name, content): (String, String)| {
        let count = content.lines().count();
        (count > FILE_LINES_MAX).then(|| format!("{name}: {count} lines"))
    };
    none("files that have become everybody's", rust_files().into_iter().filter_map(long).collect());
}

#[test]
fn every_crate_says_what_it_owns() {
    let mut files = rust_files();
    files.retain(|(name, _)| name.ends_with("src/lib.rs") || name.contains("/bin/"));
    let silent = |(name, content): (String, String)| (!content.starts_with("//!")).then_some(name);
    none("crates without a page of docs", files.into_iter().filter_map(silent).collect());
}

#[test]
fn nothing_is_unbounded_or_left_for_later() {
    let banned = ["unbounded_channel", "mpsc::unbounded", "channel::unbounded", "todo!(", "unimplemented!(", "dbg!("];
    let mut files = rust_files();
    files.retain(|(name, _)| name != "tests/tidy.rs");
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    none("unbounded queues and leftovers", lines(files, |_, line| banned.iter().any(|word| code(line).contains(word))));
}

/// Waiting for a condition polls with a deadline, in one place: `tests/support`. Everywhere else a sleep in a test
/// is a race that has not failed yet.
#[test]
fn tests_do_not_sleep() {
    let is_support = |name: &str| name.starts_with("tests/support/") || name.starts_with("tests/sdk/services/");
    let mut tests = Vec::new();
    for (name, content) in rust_files() {
        if is_support(&name) || name == "tests/tidy.rs" {
            continue;
        }
        let is_test_file = name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("/tests.rs");
        // In other files tests stand at the end; blank lines keep the numbers true.
        let start = if is_test_file { Some(0) } else { content.find("#[cfg(test)]\nmod ") };
        if let Some(start) = start {
            tests.push((name, "\n".repeat(content[..start].matches('\n').count()) + &content[start..]));
        }
    }
    // `thread::sleep(` and `time::sleep(`, also with the function imported; not a durable sleep of an SDK.
    let sleeps = |line: &str| {
        let before = line.split("sleep(").next().unwrap_or_default();
        before.len() < line.len()
            && (before.ends_with("thread::") || before.ends_with("time::") || before.trim().is_empty())
    };
    none("sleeps in tests", lines(tests, |_, line| sleeps(line)));
}

#[test]
fn scripts_stop_at_the_first_error() {
    let mut found = Vec::new();
    for (name, content) in tracked() {
        let is_script = name.starts_with("scripts/") && name.ends_with(".sh") || name == ".ci/run";
        // Sourced by others, whose settings they keep.
        let is_sourced = !content.starts_with("#!");
        if is_script && !is_sourced && !content.contains("\nset -euo pipefail\n") {
            found.push(name);
        }
    }
    none("scripts without `set -euo pipefail`", found);
}

/// A name that is described and never set is a promise that a dashboard finds broken.
#[test]
fn every_described_metric_is_set() {
    let mut described = 0;
    let mut found = Vec::new();
    let mut by_crate = BTreeMap::<String, String>::new();
    for (name, content) in rust_files() {
        if let Some((owner, _)) = name.split_once("src/") {
            // What is set by tests alone is not set.
            let code = content.split("#[cfg(test)]").next().unwrap_or_default();
            by_crate.entry(owner.to_owned()).or_default().push_str(code);
        }
    }
    for (owner, code) in &by_crate {
        for (kind, set) in [("counter", "counter"), ("gauge", "gauge"), ("histogram", "histogram")] {
            for (at, _) in code.match_indices(&format!("describe_{kind}!(")) {
                let rest = code[at..].split_once('(').expect("it was found with it").1.trim_start();
                let constant: String = rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
                if constant.is_empty() {
                    continue;
                }
                described += 1;
                // `gauge!(NAME`, `metrics::gauge!(metrics::NAME`, or a helper of the same name that takes it.
                let sets = ["", "metrics::", "crate::metrics::"].iter().any(|path| {
                    [format!("{set}!({path}{constant}"), format!("{set}({path}{constant}")].iter().any(|call| {
                        code.match_indices(call.as_str()).any(|(at, _)| {
                            let before = &code[..at];
                            let after = code[at + call.len()..].chars().next();
                            !before.ends_with("describe_") && after.is_none_or(|c| !c.is_alphanumeric() && c != '_')
                        })
                    })
                });
                // Or in a list of names that a loop sets.
                let listed = code.contains(&format!("({constant}, \""));
                if !sets && !listed {
                    found.push(format!("{owner}: {constant} is described as a {kind} and never set"));
                }
            }
        }
    }
    assert!(described > 40, "found only {described}");
    none("metrics that are described and never set", found);
}
