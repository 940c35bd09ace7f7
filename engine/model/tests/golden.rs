//! Golden bytes of every command, message, row and key: a changed byte form shows as a diff of `testdata/golden.txt`.
//!
//! A line is a name and its bytes in hex. What stands there may be on somebody's disk: a line never changes once it was
//! released, new ones are added. `UPDATE_GOLDEN=1 cargo test -p millrace-model --test golden` writes the file.

#[path = "golden/samples.rs"]
mod samples;
#[path = "golden/variants.rs"]
mod variants;

use std::{collections::BTreeSet, fmt::Debug, fs, path::Path};

use bytes::Bytes;
use millrace_model::{
    Command, Wire,
    command::{BatchEncoder, decode_batch},
    table::{Changes, TABLES, Table, key_of_stored, stored_key},
};
use variants::Variants;

#[derive(Default)]
struct Golden {
    lines: Vec<String>,
    tables: BTreeSet<&'static str>,
}

impl Golden {
    fn line(&mut self, name: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.lines.push(format!("{name} {hex}").trim_end().to_owned());
    }

    fn value<T: Wire + PartialEq + Debug>(&mut self, name: &str, value: &T) {
        let bytes = value.encode();
        assert_eq!(T::decode(bytes.clone()).as_ref(), Ok(value), "{name}");
        for len in 0..bytes.len() {
            // A value that is cut off is an error; it is never read as a shorter one.
            assert!(T::decode(bytes.slice(..len)).is_err(), "{name} cut at {len}");
        }
        self.line(name, &bytes);
    }

    /// Every variant of an enum, some of them more than once.
    fn variants<T: Wire + PartialEq + Debug + Variants>(&mut self, values: &[T]) {
        let seen: BTreeSet<_> = values.iter().map(Variants::variant).collect();
        assert_eq!(seen, T::NAMES.iter().copied().collect(), "samples of {}", T::TYPE);
        let mut last = ("", 0);
        for value in values {
            let variant = value.variant();
            last = (variant, if last.0 == variant { last.1 + 1 } else { 1 });
            let name = format!("{}.{variant}", T::TYPE);
            self.value(&if last.1 == 1 { name } else { format!("{name}.{}", last.1) }, value);
        }
    }

    /// Keys and rows of a table; through `Changes` too, which is how they are stored.
    fn table<T: Table<Key: Debug, Row: PartialEq + Debug>>(&mut self, keys: &[T::Key], rows: &[T::Row]) {
        assert!(self.tables.insert(T::NAME) && !keys.is_empty() && !rows.is_empty());
        for (i, key) in keys.iter().enumerate() {
            let stored = stored_key::<T>(key);
            assert_eq!(key_of_stored::<T>(&stored).as_ref(), Some(key));
            self.line(&format!("key.{}.{}", T::NAME, i + 1), &stored);
        }
        for (i, row) in rows.iter().enumerate() {
            self.value(&format!("row.{}.{}", T::NAME, i + 1), row);
            let mut changes = Changes::default();
            T::changes_mut(&mut changes).insert(keys[0].clone(), Some(row.clone()));
            changes.for_each(|tag, key, bytes| {
                assert_eq!((tag, key, bytes), (T::TAG, &stored_key::<T>(&keys[0])[..], Some(&row.encode()[..])));
            });
        }
    }

    fn batch(&mut self, name: &str, commands: &[Command]) {
        let mut encoder = BatchEncoder::default();
        commands.iter().for_each(|command| encoder.push(command));
        let bytes = encoder.finish();
        assert_eq!(decode_batch(bytes.clone()).as_deref(), Ok(commands));
        self.line(name, &bytes);
    }
}

fn all() -> Golden {
    let mut golden = Golden::default();
    samples::values(&mut golden);
    samples::tables(&mut golden);
    assert_eq!(golden.tables, TABLES.iter().map(|(_, name)| *name).collect(), "tables");
    golden
}

#[test]
fn bytes_are_those_of_every_released_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden.txt");
    let now = all().lines.join("\n") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &now).expect("testdata can be written");
    }
    let golden = fs::read_to_string(&path).expect("testdata/golden.txt is in the repository");
    for (i, (now, golden)) in now.lines().zip(golden.lines()).enumerate() {
        assert_eq!(now, golden, "line {} of {}", i + 1, path.display());
    }
    assert_eq!(now.lines().count(), golden.lines().count(), "lines of {}", path.display());
}

#[test]
fn names_are_unique() {
    let golden = all();
    let names: BTreeSet<_> = golden.lines.iter().map(|line| line.split(' ').next()).collect();
    assert_eq!(names.len(), golden.lines.len());
}

/// Unknown tags, other versions and trailing bytes are errors, not guesses.
#[test]
fn what_no_release_wrote_is_refused() {
    for bytes in [&[0u8][..], &[200], &[3, 1], &[]] {
        assert!(Command::decode(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        assert!(decode_batch(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
    }
}
