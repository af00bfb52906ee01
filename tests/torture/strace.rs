//! strace as a saboteur: it kills a process at its n-th system call of some kind, has calls fail, and notes calls down.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::helpers::can;

/// Whether processes may be traced here. Says so where they may not.
pub fn is_usable() -> bool {
    static IS_USABLE: OnceLock<bool> = OnceLock::new();
    let is_usable = *IS_USABLE.get_or_init(|| {
        let tried = traced(Command::new("true"), &["-o", "/dev/null", "-e", "trace=fsync"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output();
        // It complains where the kernel forbids it, and some kernels let it run for nothing.
        tried.is_ok_and(|output| output.status.success() && output.stderr.is_empty())
    });
    can(is_usable, "trace processes with strace")
}

/// The same command, traced. The process that is started is the command's own; the tracer is its descendant.
pub fn traced(command: Command, options: &[&str]) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "-qq"]).args(options).arg("--");
    traced.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
    traced
}

/// The same command, killed when one of its threads makes its `nth` such system call: before the call is made.
pub fn killed_at(command: Command, call: &str, nth: usize) -> Command {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=SIGKILL:when={nth}"));
    traced(command, &["-o", "/dev/null", "-e", &trace, "-e", &inject])
}

/// How many of these calls its busiest thread makes, when the command runs to its end.
pub fn count(command: impl Fn() -> Command, call: &str, trace: &Path) -> usize {
    let traced =
        traced(command(), &["-o", trace.to_str().unwrap(), "-e", &format!("trace={call}")]).output().unwrap();
    assert!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stderr));
    most_calls_of_a_thread(trace)
}

/// The most calls that one thread made, by a trace of one call written with `-o`.
pub fn most_calls_of_a_thread(trace: &Path) -> usize {
    let mut n_calls: HashMap<String, usize> = HashMap::new();
    for line in String::from_utf8_lossy(&std::fs::read(trace).unwrap()).lines() {
        let (thread, rest) = line.split_once(' ').unwrap_or_default();
        if !rest.trim_start().starts_with(['<', '+', '-']) {
            *n_calls.entry(thread.to_owned()).or_default() += 1;
        }
    }
    n_calls.into_values().max().unwrap_or(0)
}

/// Has calls of a running process fail, until dropped.
pub struct Sabotage {
    strace: Child,
}

impl Sabotage {
    /// `how` is what strace injects, such as `pwrite64:error=EIO`.
    pub fn of(pid: u32, how: &str) -> Self {
        let calls = how.split(':').next().unwrap();
        let mut strace = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &format!("inject={how}")])
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains(" attached"), "{line}");
        // Nobody reads on: what strace says of further threads fits into the pipe.
        std::mem::forget(stderr);
        Self { strace }
    }
}

impl Drop for Sabotage {
    fn drop(&mut self) {
        // It lets go of the process at an interrupt, and would leave it stopped if it were killed.
        let _ = Command::new("kill").args(["-INT", &self.strace.id().to_string()]).status();
        let _ = self.strace.wait();
    }
}
