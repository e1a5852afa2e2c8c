//! What the system tests share: real repositories, the real program as a process, and phones that talk to it.
//!
//! Everything is awaited by its condition, with a limit; nothing is taken for done because time passed.

mod files;
mod http;
mod phone;
mod seeded;
mod server;
mod world;

use std::{
    ffi::OsStr,
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

pub use self::{
    files::{crc32, hmac_sha256, read_tree, run_unzip, sha256, unzip},
    http::{Reply, try_send},
    phone::{Phone, phone},
    seeded::Seeded,
    server::Server,
    world::{APP, World, channel, index, release, shop, with_version},
};

/// The program under test.
pub const SLUICE: &str = env!("CARGO_BIN_EXE_sluice");
/// The root of the project.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Longest wait for anything. It only matters when a test is about to fail.
const LIMIT: Duration = Duration::from_mins(2);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `found` has something, and fails with what `what` says when it never has.
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} until {what}");
        thread::sleep(LOOK);
    }
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Fails unless it ended with this code.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// Runs the program.
pub fn sluice<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    sluice_with(arguments, &[], "")
}

/// Runs the program with variables and standard input.
pub fn sluice_with<S: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = S>,
    variables: &[(&str, &str)],
    input: &str,
) -> Ran {
    let mut command = program();
    command.args(arguments).envs(variables.iter().copied());
    run(command, input)
}

/// The program without settings of the machine's environment.
pub fn program() -> Command {
    let mut command = Command::new(SLUICE);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SLUICE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs another program, which must succeed.
pub fn tool(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = command.output().unwrap_or_else(|error| panic!("this test needs {shown}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}\n{out}\n{err}");
    out.into_owned()
}

/// What a script for bash prints.
pub fn run_bash(script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["--norc", "-s"]);
    run(command, script).exits(0).out
}

fn run(mut command: Command, input: &str) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that does not read its input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
