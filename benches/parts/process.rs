//! What the kernel says of a process: processor time and memory.
#![allow(dead_code, reason = "no bench needs all of it")]

use std::fs::read_to_string;
use std::time::Duration;

/// The processor time that a process has taken, user and system, in the kernel's hundredths of a second.
pub(crate) fn cpu(process: u32) -> Duration {
    let stat = read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // Behind the name, which may have anything in it: proc_pid_stat(5) numbers utime 14 and stime 15.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap_or(0)).sum();
    Duration::from_millis(ticks * 10)
}

/// What is resident now, in KiB; 0 when the process has ended.
pub(crate) fn resident_kib(process: u32) -> u64 {
    status_kib(process, "VmRSS:")
}

/// The most that was resident so far, in KiB; 0 when the process has ended.
pub(crate) fn peak_kib(process: u32) -> u64 {
    status_kib(process, "VmHWM:")
}

fn status_kib(process: u32, field: &str) -> u64 {
    let status = read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok());
    value.unwrap_or(0)
}
