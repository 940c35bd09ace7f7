//! What the operating system says about this process, under the names that all exporters use.

use std::time::{Duration, SystemTime};

use metrics::{Unit, describe_gauge, gauge};

const CPU_SECONDS: &str = "process_cpu_seconds_total";
const RESIDENT_BYTES: &str = "process_resident_memory_bytes";
const VIRTUAL_BYTES: &str = "process_virtual_memory_bytes";
const OPEN_FILES: &str = "process_open_fds";
const THREADS: &str = "process_threads";
const START_SECONDS: &str = "process_start_time_seconds";

pub fn describe() {
    describe_gauge!(CPU_SECONDS, Unit::Seconds, "processor time used, user and system");
    describe_gauge!(RESIDENT_BYTES, Unit::Bytes, "memory in RAM");
    describe_gauge!(VIRTUAL_BYTES, Unit::Bytes, "address space");
    describe_gauge!(OPEN_FILES, Unit::Count, "open files and sockets");
    describe_gauge!(THREADS, Unit::Count, "threads");
    describe_gauge!(START_SECONDS, Unit::Seconds, "when it was started, since 1970");
    if let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        gauge!(START_SECONDS).set(now.as_secs_f64());
    }
}

/// Looks now. What a system does not tell is left out.
pub fn update() {
    gauge!(CPU_SECONDS).set(cpu().as_secs_f64());
    if let Some([size, resident]) = statm() {
        gauge!(VIRTUAL_BYTES).set(size as f64);
        gauge!(RESIDENT_BYTES).set(resident as f64);
    }
    for (name, folder) in [(OPEN_FILES, "/proc/self/fd"), (THREADS, "/proc/self/task")] {
        if let Ok(entries) = std::fs::read_dir(folder) {
            gauge!(name).set(entries.count() as f64);
        }
    }
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Bytes of address space and of RAM; Linux only.
fn statm() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let page = rustix::param::page_size() as u64;
    let mut pages = text.split(' ').map(|number| number.parse::<u64>().ok());
    Some([pages.next()?? * page, pages.next()?? * page])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_something() {
        assert!(cpu() > Duration::ZERO);
        if cfg!(target_os = "linux") {
            let [size, resident] = statm().unwrap();
            assert!(size >= resident && resident > 0);
        }
    }
}
