//! The real program: a command that has ended, and a daemon that runs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

use super::eventually;

/// The program without any configuration of the machine's.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pcsid-watch"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PCSID_WATCH") || name.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A running daemon; killed with -9 when dropped.
pub struct Daemon {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    /// They end with the two streams.
    collecting: Vec<JoinHandle<()>>,
}

impl Daemon {
    pub fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, of_stdout) = collect(child.stdout.take().unwrap());
        let (stderr, of_stderr) = collect(child.stderr.take().unwrap());
        Self { child, stdout, stderr, collecting: vec![of_stdout, of_stderr] }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The events on standard output.
    pub fn events(&self) -> Vec<Value> {
        self.stdout()
            .lines()
            .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
            .collect()
    }

    /// Where the status page and the API are, as the daemon says.
    pub fn url(&self) -> String {
        self.listens("the status page and the API are on ")
    }

    /// Where it says that probes and metrics alone are.
    pub fn probe_url(&self) -> String {
        self.listens("probes and metrics are on ").trim_end_matches("/metrics").to_owned()
    }

    fn listens(&self, what: &str) -> String {
        let log = self.stderr();
        let rest = log.split(what).nth(1).unwrap_or_else(|| panic!("it does not listen: {log}"));
        rest.split([' ', '\n', '"']).next().unwrap().trim_end_matches('/').to_owned()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Kills it, and waits until it is gone and all that it printed has been collected.
    pub fn kill_9(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        self.collect_the_rest();
        status
    }

    fn collect_the_rest(&mut self) {
        self.collecting.drain(..).for_each(|collecting| collecting.join().unwrap());
    }

    /// How it ended, if it has. All that it printed has been collected then.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap()?;
        self.collect_the_rest();
        Some(status)
    }

    /// Waits for its end and answers with the exit code.
    pub async fn exit_code(&mut self) -> i32 {
        let daemon = Mutex::new(self);
        let status = eventually("the daemon ends", || async { daemon.lock().unwrap().ended() }).await;
        status.code().unwrap_or(-1)
    }

    /// Stops it as a service manager does; it must end well.
    pub async fn stop(mut self) -> String {
        self.signal("-TERM");
        assert_eq!(self.exit_code().await, 0, "{}", self.stderr());
        self.stderr()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl std::io::Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let collected = Arc::clone(&text);
    let collecting = std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut text = collected.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    });
    (text, collecting)
}
