//! How much memory there is, for the share of it that queries, views and answers may hold.
//!
//! What must hold: a limit that is set for the process (a control group's) counts where it is less than the machine has.

/// Where neither says how much there is.
const UNKNOWN_BYTES: u64 = 2 << 30;

/// The budget: what the setting says, or half of what there is when it says 0.
pub(crate) fn budget_bytes(setting: u64) -> u64 {
    if setting > 0 {
        return setting;
    }
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").as_deref().and_then(total_bytes);
    let group = read("/sys/fs/cgroup/memory.max").as_deref().and_then(limit_bytes);
    machine.into_iter().chain(group).min().unwrap_or(UNKNOWN_BYTES) / 2
}

/// What views may take of the budget: not the last quarter, so that a server that is full of views still answers, and lets
/// them be dropped.
pub(crate) fn for_views(budget_bytes: u64) -> u64 {
    budget_bytes - budget_bytes / 4
}

/// `MemTotal:  16384 kB`.
fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// A number of bytes, or `max` for no limit.
fn limit_bytes(memory_max: &str) -> Option<u64> {
    memory_max.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_is_read_from_the_system() {
        assert_eq!(total_bytes("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!((limit_bytes("1073741824\n"), limit_bytes("max\n")), (Some(1 << 30), None));
        assert_eq!(budget_bytes(7), 7);
        assert_eq!(for_views(100), 75);
        assert!(budget_bytes(0) > 0);
    }
}
