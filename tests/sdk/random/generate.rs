//! Programs for `Interpreter`, made at random together with what they must leave behind.
//!
//! Programs run at the same time and in any order, so each may only do what gives the same in every order:
//!
//! * names that all programs of a key share are only added to; all others belong to one program;
//! * a program waits only for keys of a higher level than its own, so nobody waits in a circle; what it sends without waiting
//!   may go to any key.

use std::collections::BTreeMap;

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

/// Levels of keys. The longest chain of calls is one shorter.
const LEVELS: usize = 4;

/// Names of a key that everybody adds to.
const SHARED_NAMES: usize = 3;

/// Commands of a program that somebody calls from outside.
const COMMANDS_MAX: usize = 7;

/// Branches of `parallel` and `race`.
const BRANCHES_MAX: usize = 4;

/// Sends inside of sends.
const DEPTH_MAX: usize = 5;

/// What all keys must hold when everything is over.
pub type State = BTreeMap<String, BTreeMap<String, i64>>;

/// Makes programs and keeps what they do in the model.
pub struct Generator {
    rng: StdRng,
    keys: usize,
    names: usize,
    prefix: String,
    state: State,
}

/// A program for a key, and what it must return.
#[derive(Clone)]
pub struct Case {
    pub key: String,
    pub program: Value,
    pub result: i64,
}

/// How a program ends. A failure is one that the generator has put there.
enum End {
    Result(i64),
    Failure,
}

/// Whether a program may end in a terminal error: somebody catches it or nobody looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failing {
    Allowed,
    Never,
}

/// A program in the making.
struct Draft {
    key: String,
    level: usize,
    depth: usize,
    acc: i64,
    /// Names that belong to it, with their values.
    own: Vec<(String, i64)>,
}

impl Generator {
    /// `keys`: of each level. `prefix`: of all keys.
    pub fn new(rng: StdRng, keys: usize, prefix: &str) -> Self {
        Self { rng, keys, names: 0, prefix: prefix.to_owned(), state: State::new() }
    }

    /// A program for any key.
    pub fn case(&mut self) -> Case {
        let level = self.rng.random_range(0..LEVELS);
        let key = self.key(level);
        let length = self.rng.random_range(1..=COMMANDS_MAX);
        let (program, end) = self.program(&key, level, 0, length, Failing::Never);
        let End::Result(result) = end else { unreachable!("it was not allowed to fail") };
        Case { key, program, result }
    }

    /// What the programs so far must have left behind. Keys that only other commands have touched are there, and empty.
    pub fn state(&self) -> &State {
        &self.state
    }

    fn key(&mut self, level: usize) -> String {
        format!("{}-{level}-{}", self.prefix, self.rng.random_range(0..self.keys))
    }

    fn unique(&mut self) -> usize {
        self.names += 1;
        self.names
    }

    fn program(&mut self, key: &str, level: usize, depth: usize, length: usize, failing: Failing) -> (Value, End) {
        self.state.entry(key.to_owned()).or_default();
        let mut draft = Draft { key: key.to_owned(), level, depth, acc: 0, own: Vec::new() };
        let (commands, failed) = self.commands(&mut draft, length, failing);
        (Value::Array(commands), if failed { End::Failure } else { End::Result(draft.acc) })
    }

    /// Commands in a row, and whether they end in a failure.
    fn commands(&mut self, draft: &mut Draft, length: usize, failing: Failing) -> (Vec<Value>, bool) {
        let mut commands = Vec::new();
        for _ in 0..length {
            let (command, failed) = self.command(draft, failing);
            commands.push(command);
            if failed {
                // Nobody gets here.
                commands.push(json!({"op": "set", "name": "unreachable", "value": 1}));
                return (commands, true);
            }
        }
        (commands, false)
    }

    fn command(&mut self, draft: &mut Draft, failing: Failing) -> (Value, bool) {
        if failing == Failing::Allowed && self.rng.random_ratio(1, 8) {
            return (json!({"op": "fail", "code": self.rng.random_range(400..500), "message": "on purpose"}), true);
        }
        match self.rng.random_range(0..100) {
            0..40 => (self.plain(draft), false),
            40..48 if draft.depth < DEPTH_MAX => (self.caught(draft), false),
            48..60 if draft.depth < DEPTH_MAX => (self.sent(draft), false),
            60..80 if draft.level + 1 < LEVELS => self.awaited(draft, failing),
            80..90 => (self.several(draft), false),
            _ => (self.branch(draft), false),
        }
    }

    /// What touches the program's own key, steps and trouble.
    fn plain(&mut self, draft: &mut Draft) -> Value {
        let value = self.rng.random_range(-50..100);
        match self.rng.random_range(0..9) {
            0 | 1 => {
                let name = format!("own-{}", self.unique());
                draft.own.push((name.clone(), value));
                self.entries(draft).insert(name.clone(), value);
                json!({"op": "set", "name": name, "value": value})
            }
            2 | 3 => {
                let name = format!("shared-{}", self.rng.random_range(0..SHARED_NAMES));
                *self.entries(draft).entry(name.clone()).or_default() += value;
                json!({"op": "add", "name": name, "value": value})
            }
            4 => {
                let (name, value) = draft.own.choose(&mut self.rng).cloned().unwrap_or(("nobody's".to_owned(), 0));
                draft.acc += value;
                json!({"op": "get", "name": name})
            }
            5 if !draft.own.is_empty() => {
                let index = self.rng.random_range(0..draft.own.len());
                let (name, _) = draft.own.swap_remove(index);
                self.entries(draft).remove(&name);
                json!({"op": "clear", "name": name})
            }
            6 => {
                draft.acc += value;
                json!({"op": "flaky", "times": self.rng.random_range(1..=2), "value": value})
            }
            7 if self.rng.random_ratio(1, 3) => json!({"op": "crash", "times": 1}),
            _ => json!({"op": "keys"}),
        }
    }

    fn entries(&mut self, draft: &Draft) -> &mut BTreeMap<String, i64> {
        self.state.get_mut(&draft.key).expect("made with the program")
    }

    fn caught(&mut self, draft: &mut Draft) -> Value {
        let length = self.rng.random_range(1..=3);
        draft.depth += 1;
        let (body, failed) = self.commands(draft, length, Failing::Allowed);
        draft.depth -= 1;
        draft.acc += if failed { 1000 } else { 0 };
        json!({"op": "try", "body": body})
    }

    /// What nobody waits for: any key will do, and any end.
    fn sent(&mut self, draft: &Draft) -> Value {
        let level = self.rng.random_range(0..LEVELS);
        let key = self.key(level);
        let length = self.rng.random_range(1..=2);
        let (program, _) = self.program(&key, level, draft.depth + 2, length, Failing::Allowed);
        match self.rng.random_ratio(1, 3) {
            true => json!({"op": "send", "key": key, "program": program, "ms": self.rng.random_range(0..300)}),
            false => json!({"op": "send", "key": key, "program": program}),
        }
    }

    /// A key of a higher level than the program's.
    fn above(&mut self, draft: &Draft) -> (String, usize) {
        let level = self.rng.random_range(draft.level + 1..LEVELS);
        (self.key(level), level)
    }

    fn called(&mut self, draft: &Draft, failing: Failing) -> (String, Value, End) {
        let (key, level) = self.above(draft);
        let length = self.rng.random_range(1..=3);
        let (program, end) = self.program(&key, level, draft.depth + 1, length, failing);
        (key, program, end)
    }

    /// What is waited for, one after the other.
    fn awaited(&mut self, draft: &mut Draft, failing: Failing) -> (Value, bool) {
        match self.rng.random_range(0..6) {
            0 => {
                let (key, program, end) = self.called(draft, Failing::Never);
                let End::Result(result) = end else { unreachable!("it was not allowed to fail") };
                draft.acc += 2 * result;
                let once = format!("once-{}", self.unique());
                (json!({"op": "idempotent", "key": key, "idempotencyKey": once, "program": program}), false)
            }
            1 => {
                draft.acc += 1;
                (json!({"op": "cancel", "key": self.above(draft).0}), false)
            }
            2 => {
                draft.acc += 1;
                (json!({"op": "rejected", "key": self.above(draft).0}), false)
            }
            n => {
                let (key, program, end) = self.called(draft, failing);
                let op = if n == 3 { "attach" } else { "call" };
                let failed = match end {
                    End::Result(result) => {
                        draft.acc += result;
                        false
                    }
                    End::Failure => true,
                };
                (json!({"op": op, "key": key, "program": program}), failed)
            }
        }
    }

    fn several(&mut self, draft: &mut Draft) -> Value {
        let op = if self.rng.random_ratio(1, 2) { "parallel" } else { "race" };
        let branches: Vec<_> = (0..self.rng.random_range(1..=BRANCHES_MAX)).map(|_| self.branch(draft)).collect();
        json!({"op": op, "branches": branches})
    }

    /// What can be started and awaited later.
    fn branch(&mut self, draft: &mut Draft) -> Value {
        let kinds = if draft.level + 1 < LEVELS { 5 } else { 2 };
        match self.rng.random_range(0..kinds) {
            0 => json!({"op": "sleep", "ms": self.rng.random_range(0..40)}),
            1 => {
                let value = self.rng.random_range(1..100);
                draft.acc += value;
                json!({"op": "step", "value": value})
            }
            2 => {
                let value = self.rng.random_range(1..100);
                draft.acc += value;
                json!({"op": "awakeable", "key": self.above(draft).0, "value": value})
            }
            n => {
                let (key, program, end) = self.called(draft, Failing::Never);
                let End::Result(result) = end else { unreachable!("it was not allowed to fail") };
                draft.acc += result;
                json!({"op": if n == 3 { "call" } else { "attach" }, "key": key, "program": program})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    fn ops(program: &Value, seen: &mut BTreeSet<String>) {
        for command in program.as_array().into_iter().flatten() {
            seen.insert(command["op"].as_str().unwrap().to_owned());
            ["program", "body", "branches"].iter().for_each(|inner| ops(&command[*inner], seen));
        }
    }

    #[test]
    fn a_seed_gives_the_same_programs_and_all_commands_occur() {
        let make = || {
            let mut generator = Generator::new(StdRng::seed_from_u64(7), 3, "k");
            let cases: Vec<_> = (0..200).map(|_| generator.case()).collect();
            (cases.into_iter().map(|case| (case.program, case.result)).collect::<Vec<_>>(), generator.state)
        };
        let (cases, state) = make();
        assert!((cases.clone(), state) == make());
        let mut seen = BTreeSet::new();
        cases.iter().for_each(|(program, _)| ops(program, &mut seen));
        let all = "add attach awakeable call cancel clear crash fail flaky get idempotent keys parallel race rejected send set sleep step try";
        assert_eq!(seen.into_iter().collect::<Vec<_>>().join(" "), all);
    }
}
