//! Starting and ending processes, each by its own id.

use std::{
    collections::HashSet,
    io,
    net::TcpListener,
    process::{Child, Command},
    sync::{Mutex, OnceLock, mpsc},
    time::Duration,
};

use rand::Rng;

use super::wait::eventually_blocking;

/// Below the range of outgoing connections, so that none of those takes the port in between.
const PORTS: std::ops::Range<u16> = 10_000..20_000;

/// A port that nobody listens on and that this process has not handed out before.
pub fn free_port() -> u16 {
    static TAKEN: OnceLock<Mutex<HashSet<u16>>> = OnceLock::new();
    let mut taken = TAKEN.get_or_init(Mutex::default).lock().expect("nobody panics with it");
    loop {
        let port = rand::rng().random_range(PORTS);
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            return port;
        }
    }
}

type Start = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts a process that ends with this one, however this one ends.
pub fn spawn(command: Command) -> io::Result<Child> {
    // The kernel ties a child to the *thread* that started it; this one lives as long as the process.
    static SPAWNER: OnceLock<mpsc::SyncSender<Start>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::sync_channel::<Start>(16);
        let run = move || {
            for (mut command, answer) in receiver {
                end_with_parent(&mut command);
                // A test that failed meanwhile does not wait for it.
                let _ = answer.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("spawner".into()).spawn(run).expect("a thread");
        sender
    });
    let (answer, started) = mpsc::sync_channel(1);
    spawner.send((command, answer)).expect("the spawner lives as long as the process");
    started.recv().expect("the spawner answers")
}

#[cfg(target_os = "linux")]
fn end_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: one system call that is safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent(_: &mut Command) {}

/// Ends a child at once and waits until it is gone.
pub fn kill(child: &mut Child) {
    // Already gone is fine.
    let _ = child.kill();
    let _ = child.wait();
}

/// Sends SIGTERM.
pub fn terminate(child: &Child) {
    // SAFETY: a system call without memory; the child is not yet waited for, so the id is still its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
}

/// Waits for the end of a child.
pub fn wait(child: &mut Child, deadline: Duration, what: &str) -> std::process::ExitStatus {
    eventually_blocking(deadline, what, || {
        child.try_wait()?.ok_or_else(|| anyhow::anyhow!("process {} still runs", child.id()))
    })
}

/// Resident memory in bytes. 0 where there is no `/proc`.
pub fn rss(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib * 1024)
}

/// CPU time so far, user and system. 0 where there is no `/proc`.
pub fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th fields behind it.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    // SAFETY: a system call without memory.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    Duration::from_millis((ticks(11) + ticks(12)) * 1000 / per_second)
}

/// Number of threads. 0 where there is no `/proc`.
pub fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}
