//! Programs as a user who owns nothing, and whom limits bind as they do not bind root.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::helpers::{Setup, can};

/// A program as that user.
pub fn nobody(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program).current_dir("/");
    command
}

/// The program with this configuration, as that user.
pub fn command_of_nobody(setup: &Setup, arguments: &[&str]) -> Command {
    // Where the program was built may be nobody else's to look at.
    let program = setup.path("program");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_pcsid-watch"), &program).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut command = nobody(program);
    command.args(arguments).env_clear().env("PCSID_WATCH_CONFIG", setup.path("pcsid-watch.toml"));
    command
}

/// Whether this user may become that one; the setup's folder has to be open to all.
pub fn can_be_nobody(setup: &Setup) -> bool {
    let runs = command_of_nobody(setup, &["--version"]).output().is_ok_and(|ran| ran.status.success());
    can(runs, "run the program as another user")
}
