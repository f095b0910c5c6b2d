//! A daemon: the real binary on a host.

use super::{Host, kabuki, until};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long anything may take that is not under test itself.
const LIMIT: Duration = Duration::from_secs(30);
/// Every daemon has a host of its own, so all can have the same port.
const PORT: u16 = 6443;

/// A running (or stopped, or killed) node. Dropping it removes every trace.
pub struct Daemon {
    host: Host,
    name: String,
    listen: SocketAddr,
    data: TempDir,
    arguments: Vec<String>,
    through: Option<PathBuf>,
    process: Option<Child>,
}

/// What a run of the CLI came to.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Daemon {
    /// Starts a node on a new host with an empty data directory, and waits until it answers.
    pub fn start() -> Self {
        Self::start_on(Host::new())
    }

    /// Starts a node on a host.
    pub fn start_on(host: Host) -> Self {
        let mut daemon = Self::unstarted(host);
        daemon.launch();
        daemon.wait_answering();
        daemon
    }

    /// Starts a node whose data directory is below `folder`, for example on a disk of its own.
    pub fn start_in(host: Host, folder: &Path) -> Self {
        let mut daemon = Self::unstarted_in(host, folder);
        daemon.launch();
        daemon.wait_answering();
        daemon
    }

    /// A node on a host that is yet to be launched.
    pub fn unstarted(host: Host) -> Self {
        Self::unstarted_in(host, &std::env::temp_dir())
    }

    /// The same, with its data directory below `folder`.
    pub fn unstarted_in(host: Host, folder: &Path) -> Self {
        let data = tempfile::Builder::new().prefix("kbt").tempdir_in(folder);
        Self {
            host,
            name: "n1".to_string(),
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT),
            data: data.expect("a data directory"),
            arguments: Vec::new(),
            through: None,
            process: None,
        }
    }

    /// The node's name, from the next launch on.
    pub fn set_name(&mut self, name: &str) {
        self.name = name.to_string();
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets the node listen on every address of its host, from the next launch on.
    pub fn listen_to_all(&mut self) {
        self.listen.set_ip(Ipv4Addr::UNSPECIFIED.into());
    }

    /// Further arguments of `kabuki node`, from the next launch on.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
    }

    /// A program that starts `kabuki node`, from the next launch on.
    pub fn run_through(&mut self, program: impl Into<PathBuf>) {
        self.through = Some(program.into());
    }

    /// Where clients on the host connect.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT)
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// The daemon's process id.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Starts the process, without waiting for it. Its log is `daemon.log` in the data directory.
    pub fn launch(&mut self) {
        let log = self.data.path().join("daemon.log");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log);
        let log = log.expect("the log opens");
        let mut command = match &self.through {
            Some(program) => self.host.command(program),
            None => self.host.command(kabuki()),
        };
        if self.through.is_some() {
            command.arg(kabuki());
        }
        command
            .args([
                "node",
                "--name",
                &self.name,
                "--listen",
                &self.listen.to_string(),
            ])
            .arg("--data-dir")
            .arg(self.data.path())
            .args(self.settings())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log is shared"))
            .stderr(log);
        self.process = Some(command.spawn().expect("the daemon starts"));
    }

    /// The usual configuration file, unless the test has one of its own.
    fn settings(&self) -> &'static [&'static str] {
        const USUAL: &[&str] = &[
            "--config",
            concat!(env!("CARGO_MANIFEST_DIR"), "/src/harness/node.yaml"),
        ];
        match self.arguments.iter().any(|a| a == "--config") {
            true => &[],
            false => USUAL,
        }
    }

    /// Waits until the API answers and the node is there.
    pub fn wait_answering(&mut self) {
        until("the daemon answers", LIMIT, || {
            if let Some(process) = &mut self.process
                && let Ok(Some(status)) = process.try_wait()
            {
                panic!("the daemon ended with {status}:\n{}", self.log());
            }
            (self.cli(&["get", "node", &self.name]).code == 0).then_some(())
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// How the process ended, if it has by itself.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.process.as_mut()?.try_wait().ok().flatten()
    }

    /// The machine is lost: the process is killed, and its containers, its network and its whole
    /// data directory go. An empty one takes its place.
    pub fn lose_everything(&mut self) {
        self.kill();
        self.ok(&["reset", "--yes"]);
        std::fs::create_dir_all(self.data.path()).expect("an empty data directory");
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        let mut process = self.process.take().expect("the daemon runs");
        // SAFETY is not at stake here: the pid is our own unreaped child's.
        let pid = process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|s| s.success()), "cannot signal the daemon");
        until("the daemon ends after SIGTERM", LIMIT, || {
            process.try_wait().ok().flatten()
        })
    }

    /// Starts it again on the same data and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
        self.wait_answering();
    }

    /// A command of the CLI against this node.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.host.command(kabuki());
        command
            .env("KABUKI_DATA_DIR", self.data.path())
            .env_remove("KUBECONFIG");
        command.args(args);
        command
    }

    /// Runs the CLI.
    pub fn cli(&self, args: &[&str]) -> Outcome {
        outcome(self.command(args).stdin(Stdio::null()))
    }

    /// Runs the CLI, which must succeed, and gives its output.
    pub fn ok(&self, args: &[&str]) -> String {
        let outcome = self.cli(args);
        assert_eq!(
            outcome.code,
            0,
            "kabuki {}: {outcome:?}\n{}",
            args.join(" "),
            self.log_tail()
        );
        outcome.out
    }

    /// Runs the CLI, which must fail, and gives what it said.
    pub fn refused(&self, args: &[&str]) -> String {
        let outcome = self.cli(args);
        assert_ne!(outcome.code, 0, "kabuki {}: {outcome:?}", args.join(" "));
        outcome.err
    }

    /// Applies a manifest, which must succeed.
    pub fn apply(&self, manifest: &str) -> String {
        let outcome = self.try_apply(manifest);
        assert_eq!(outcome.code, 0, "apply: {outcome:?}\n{manifest}");
        outcome.out
    }

    /// Applies a manifest.
    pub fn try_apply(&self, manifest: &str) -> Outcome {
        let mut command = self.command(&["apply", "-f", "-"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("the CLI starts");
        let mut stdin = process.stdin.take().expect("a pipe");
        // A CLI that refuses early may not read it all.
        let _ = stdin.write_all(manifest.as_bytes());
        drop(stdin);
        let output = process.wait_with_output().expect("the CLI ends");
        Outcome {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// One value of an object, by JSONPath; empty when it is not there.
    pub fn value(&self, object: &str, path: &str) -> String {
        self.cli(&["get", object, "-o", &format!("jsonpath={path}")])
            .out
    }

    /// Waits until a value of an object is as expected.
    pub fn wait_value(&self, object: &str, path: &str, expected: &str) {
        let mut last = String::new();
        let what = format!("{object} {path} = {expected}");
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(&what, LIMIT, || {
                last = self.value(object, path);
                (last == expected).then_some(())
            });
        }));
        if seen.is_err() {
            let described = self.cli(&["describe", object]).out;
            panic!(
                "{what}, but it is {last:?}\n{described}\n{}",
                self.log_tail()
            );
        }
    }

    /// Everything that the daemon logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("daemon.log")).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        // One that was refused before it began has nothing to remove.
        if !self.data.path().join("daemon.pid").exists() {
            return;
        }
        let reset = self.command(&["reset", "--yes"]).output();
        if let Ok(output) = reset
            && !output.status.success()
            && !std::thread::panicking()
        {
            panic!("reset failed: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().expect("the CLI starts");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
