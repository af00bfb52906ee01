//! What the kernel reports about this process, for the standard process metrics.

use std::fs;

/// The kernel reports times to programs in hundredths of a second, whatever its own tick is.
const TICKS_A_SECOND: f64 = 100.0;

/// What the process uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Seconds of processor time, in user and kernel mode together.
    pub cpu_seconds: f64,
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Descriptors that are open; `None` if the kernel doesn't say.
    pub open_descriptors: Option<u64>,
    /// Descriptors that may be open; `None` if there is no limit, or none is known.
    pub max_descriptors: Option<u64>,
}

impl Usage {
    /// Asks the kernel; `None` if there is no `/proc` as on Linux.
    pub fn read() -> Option<Self> {
        let (stat, status) =
            (fs::read_to_string("/proc/self/stat").ok()?, fs::read_to_string("/proc/self/status").ok()?);
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        // One of them is the folder that is being read.
        let open = fs::read_dir("/proc/self/fd").ok().map(|folder| folder.count().saturating_sub(1) as u64);
        Self::parse(&stat, &status, &limits, open)
    }

    fn parse(stat: &str, status: &str, limits: &str, open_descriptors: Option<u64>) -> Option<Self> {
        // The program's name is in brackets and may hold anything, brackets too. Utime and stime are the 14th and 15th.
        let mut after_name = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let mut ticks = || after_name.next()?.parse::<u64>().ok();
        let cpu_seconds = (ticks()? + ticks()?) as f64 / TICKS_A_SECOND;
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        let max_descriptors = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))
            .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
        Some(Self {
            cpu_seconds,
            resident_bytes: value("VmRSS:")? * 1_024,
            virtual_bytes: value("VmSize:")? * 1_024,
            threads: value("Threads:")?,
            open_descriptors,
            max_descriptors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Usage;

    #[test]
    fn what_the_kernel_says_is_read_whatever_the_program_is_called() {
        let stat = "4711 (a ) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 7 0 12345 1 2";
        let status = "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t7\n";
        let limits = "Limit Soft Limit Hard Limit Units\nMax open files            1024                 4096                 files\n";
        let usage = Usage::parse(stat, status, limits, Some(12)).unwrap();
        assert_eq!(usage.cpu_seconds, 3.0);
        assert_eq!((usage.resident_bytes, usage.virtual_bytes), (1 << 20, 2 << 20));
        assert_eq!(
            (usage.threads, usage.open_descriptors, usage.max_descriptors),
            (7, Some(12), Some(1_024))
        );
        let unlimited = limits.replace("1024", "unlimited");
        assert_eq!(Usage::parse(stat, status, &unlimited, None).unwrap().max_descriptors, None);
        for cut in ["", "1 (x", "1 (x) S 1 2 3"] {
            assert_eq!(Usage::parse(cut, status, limits, None), None, "{cut}");
        }
    }
}
