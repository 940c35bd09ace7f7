//! `sim --seeds N [--first S] [--seed S] [--trace]`: runs seeds on all cores; the first broken one ends it.

use std::{
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use millrace_sim::{Mutation, Report, run};

const USAGE: &str = "usage: sim [--seeds N] [--first S] | --seed S [--trace]";

struct Args {
    first: u64,
    seeds: u64,
    trace: bool,
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Args> {
    let mut parsed = Args { first: 1, seeds: 100, trace: false };
    while let Some(arg) = args.next() {
        let mut number = || args.next()?.parse().ok();
        match arg.as_str() {
            "--seeds" => parsed.seeds = number()?,
            "--first" => parsed.first = number()?,
            "--seed" => (parsed.first, parsed.seeds) = (number()?, 1),
            "--trace" => parsed.trace = true,
            _ => return None,
        }
    }
    Some(parsed)
}

/// The source that is simulated, for who finds a failure later.
fn commit() -> String {
    let git = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    git.ok().and_then(|out| String::from_utf8(out.stdout).ok()).map_or("unknown".to_owned(), |id| id.trim().to_owned())
}

fn tell(report: &Report) {
    let Report { seed, trace_hash, events, records, leaderships, violation } = report;
    match violation {
        None => println!("seed={seed} hash={trace_hash:016x} events={events} records={records} leaders={leaderships}"),
        Some(violation) => {
            println!("seed={seed} commit={} {violation}", commit());
            println!("again: cargo run -p millrace-sim --bin sim -- --seed {seed} --trace");
        }
    }
}

fn main() -> ExitCode {
    let Some(Args { first, seeds, trace }) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if seeds == 1 {
        let report = run(first, Mutation::None, trace);
        tell(&report);
        return ExitCode::from(u8::from(report.violation.is_some()));
    }
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= seeds {
                        return;
                    }
                    let report = run(first + at, Mutation::None, trace);
                    if report.violation.is_some() {
                        failed.store(true, Ordering::Relaxed);
                        tell(&report);
                    } else if (at + 1).is_multiple_of(100) || at + 1 == seeds {
                        println!("{} of {seeds} seeds", at + 1);
                    }
                }
            });
        }
    });
    ExitCode::from(u8::from(failed.into_inner()))
}
