//! Settings as they were written: dotted keys with their value and where it was set last.

use std::{collections::BTreeMap, fmt, path::Path};

use toml::{Table, Value};

use super::Faults;

/// What environment variables begin with.
const PREFIX: &str = "MILLRACE_";
/// Variables that begin like settings and are none: of the command line, of scripts and of tests.
const NOT_SETTINGS: [&str; 4] = ["MILLRACE_CONFIG", "MILLRACE_CACHE", "MILLRACE_BIN", "MILLRACE_ARGS"];
const NOT_SETTINGS_PREFIXES: [&str; 2] = ["MILLRACE_TEST", "MILLRACE_BENCH"];
/// Variables that every program knows, and the settings that they are here.
const WELL_KNOWN: [(&str, &str); 3] =
    [("HTTP_PROXY", "http-proxy"), ("NO_PROXY", "no-proxy"), ("AWS_EXTERNAL_ID", "aws-assume-role-external-id")];
/// Largest configuration file: a thousand Kafka clusters with certificates.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere.
    Default,
    /// In the file.
    File,
    /// By a variable of this name.
    Environment(String),
    /// On the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File => f.write_str("file"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    pub value: Value,
    /// As written, where everything is text: `1` may be a name.
    pub text: Option<String>,
    pub origin: Origin,
}

/// A key in parts.
pub type Key = Vec<String>;

/// All values that were set, by key. A later one replaces an earlier one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers(BTreeMap<Key, Leaf>);

impl Layers {
    pub fn add_file(&mut self, path: &Path, faults: &mut Faults) {
        let read = std::fs::metadata(path).and_then(|metadata| {
            if metadata.len() > FILE_BYTES_MAX {
                return Err(std::io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
            }
            std::fs::read_to_string(path)
        });
        let added = match read {
            Ok(text) => self.add_text(&text, Origin::File),
            Err(error) => Err(error.to_string()),
        };
        if let Err(message) = added {
            faults.add("config-file", None, format!("{}: {message}", path.display()));
        }
    }

    pub fn add_text(&mut self, text: &str, origin: Origin) -> Result<(), String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| match error.span() {
            Some(span) => {
                let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
                format!("line {line}: {}", error.message())
            }
            None => error.message().to_owned(),
        })?;
        self.add_table(Vec::new(), table, &origin);
        Ok(())
    }

    /// `MILLRACE_ADMIN__BIND_ADDRESS` is `admin.bind-address`. That counts more than a variable for all programs.
    pub fn add_environment(&mut self, variables: &[(String, String)]) {
        for (name, text) in variables {
            if let Some((_, key)) = WELL_KNOWN.iter().find(|(known, _)| known == name).filter(|_| !text.is_empty()) {
                self.add_written(vec![(*key).to_owned()], text, Origin::Environment(name.clone()));
            }
        }
        for (name, text) in variables {
            let Some(setting) = name.strip_prefix(PREFIX) else { continue };
            let ignored = NOT_SETTINGS.contains(&name.as_str())
                || NOT_SETTINGS_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            if !ignored {
                let key = setting.split("__").map(|part| part.to_ascii_lowercase().replace('_', "-")).collect();
                self.add_written(key, text, Origin::Environment(name.clone()));
            }
        }
    }

    pub fn add_flags(&mut self, flags: &[(String, String)]) {
        for (key, text) in flags {
            self.add_written(key.split('.').map(str::to_owned).collect(), text, Origin::Flag);
        }
    }

    pub fn add(&mut self, others: &Layers) {
        self.0.extend(others.0.iter().map(|(key, leaf)| (key.clone(), leaf.clone())));
    }

    /// A text is read as a TOML value, or else it is a string.
    fn add_written(&mut self, key: Key, text: &str, origin: Origin) {
        let value = format!("value = {text}")
            .parse::<Table>()
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(text.to_owned()));
        match value {
            Value::Table(table) => self.add_table(key, table, &origin),
            value => {
                self.0.insert(key, Leaf { value, text: Some(text.to_owned()), origin });
            }
        }
    }

    fn add_table(&mut self, at: Key, table: Table, origin: &Origin) {
        for (name, value) in table {
            let mut key = at.clone();
            key.push(name);
            match value {
                Value::Table(table) => self.add_table(key, table, origin),
                value => {
                    self.0.insert(key, Leaf { value, text: None, origin: origin.clone() });
                }
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Leaf)> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Leaf)> {
        self.0.iter_mut()
    }

    pub fn get(&self, key: &[&str]) -> Option<&Leaf> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, leaf)| leaf)
    }

    pub fn get_mut(&mut self, key: &[&str]) -> Option<&mut Leaf> {
        self.0.iter_mut().find(|(known, _)| *known == key).map(|(_, leaf)| leaf)
    }

    /// Calls it by its present name, unless that is set as well.
    pub fn rename(&mut self, from: &[&str], to: &[&str]) {
        let owned = |key: &[&str]| -> Key { key.iter().map(|part| (*part).to_owned()).collect() };
        if let Some(leaf) = self.0.remove(&owned(from)) {
            self.0.entry(owned(to)).or_insert(leaf);
        }
    }

    /// What is set below `prefix`, and where the first of it was.
    pub fn section(&self, prefix: &[&str]) -> Option<(Table, Origin)> {
        let mut table = Table::new();
        let mut origin = None;
        for (key, leaf) in self.0.iter().filter(|(key, _)| is_below(key, prefix)) {
            insert(&mut table, &key[prefix.len()..], leaf.value.clone());
            origin.get_or_insert_with(|| leaf.origin.clone());
        }
        Some((table, origin?))
    }

    /// The same, and takes it out.
    pub fn take(&mut self, prefix: &[&str]) -> Option<(Table, Origin)> {
        let taken = self.section(prefix);
        self.0.retain(|key, _| !is_below(key, prefix));
        taken
    }

    pub fn set(&mut self, key: &[&str], value: Value, origin: Origin) {
        let key = key.iter().map(|part| (*part).to_owned()).collect();
        self.0.insert(key, Leaf { value, text: None, origin });
    }

    /// Keeps those that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&Key, &Leaf) -> bool) {
        self.0.retain(|key, leaf| keep(key, leaf));
    }

    pub fn to_toml(&self) -> String {
        let mut all = Table::new();
        for (key, leaf) in &self.0 {
            insert(&mut all, key, leaf.value.clone());
        }
        toml::to_string(&all).expect("values that were read can be written")
    }
}

fn is_below(key: &Key, prefix: &[&str]) -> bool {
    key.len() > prefix.len() && key.iter().zip(prefix).all(|(a, b)| a == b)
}

/// Puts a value where it belongs. A value in the place of a table gives way.
pub fn insert(table: &mut Table, key: &[String], value: Value) {
    let Some((last, above)) = key.split_last() else { return };
    let mut at = table;
    for part in above {
        let entry = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        if !entry.is_table() {
            *entry = Value::Table(Table::new());
        }
        at = entry.as_table_mut().expect("just made one");
    }
    at.insert(last.clone(), value);
}
