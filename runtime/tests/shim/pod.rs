//! A pod to test with.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kabuki_runtime::{
    Capabilities, Cgroups, ContainerSpec, Event, ExecSpec, ExitStatus, LogSpec, PidMode, PodSpec,
    Rootfs, ShimClient, ShimEvents, ShimLauncher,
};

/// Generous: a loaded machine must not fail a test.
pub const LIMIT: Duration = Duration::from_secs(30);

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct TestPod {
    pub dir: tempfile::TempDir,
    pub launcher: ShimLauncher,
    pub shim: ShimClient,
    pub events: ShimEvents,
    pub spec: PodSpec,
}

impl TestPod {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut PodSpec)) -> Self {
        Self::start_in(|_| {}, change).await
    }

    /// `prepare` changes the pod's directory before its shim is there.
    pub async fn start_in(prepare: impl FnOnce(&Path), change: impl FnOnce(&mut PodSpec)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let launcher = launcher(dir.path());
        let (shim, events) = launcher.spawn("a").await.unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut spec = PodSpec {
            uid: format!("test-{}-{number}", std::process::id()),
            hostname: "stage".into(),
            cgroup_parent: "/kabuki-test".into(),
            ..PodSpec::default()
        };
        change(&mut spec);
        shim.setup(spec.clone()).await.unwrap();
        Self {
            dir,
            launcher,
            shim,
            events,
            spec,
        }
    }

    /// A container that runs a shell script.
    pub fn container(&self, id: &str, script: &str) -> ContainerSpec {
        let root = self.dir.path().join(format!("root-{id}"));
        busybox_root(&root);
        ContainerSpec {
            id: id.into(),
            name: id.into(),
            rootfs: Rootfs::Dir(root.display().to_string()),
            args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            capabilities: Capabilities::Default,
            log: Some(LogSpec {
                path: self.log_path(id).display().to_string(),
                max_size: 0,
                max_files: 1,
            }),
            ..ContainerSpec::default()
        }
    }

    pub fn log_path(&self, id: &str) -> PathBuf {
        self.dir.path().join("logs").join(format!("{id}.log"))
    }

    /// The log's entries as (stream and tag, content).
    pub fn log(&self, id: &str) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.log_path(id)).unwrap_or_default();
        let entry = |line: &str| {
            let mut parts = line.splitn(4, ' ').skip(1);
            let head = format!("{} {}", parts.next().unwrap(), parts.next().unwrap());
            (head, parts.next().unwrap_or_default().to_owned())
        };
        text.lines().map(entry).collect()
    }

    pub fn log_text(&self, id: &str) -> String {
        self.log(id)
            .into_iter()
            .map(|(_, line)| line)
            .collect::<Vec<_>>()
            .join("\n")
    }

    pub async fn run(&self, spec: ContainerSpec) -> Vec<String> {
        let id = spec.id.clone();
        let (_, warnings) = self.shim.create(spec).await.unwrap();
        self.shim.start(&id).await.unwrap();
        warnings
    }

    /// Runs a script to its end.
    pub async fn run_to_end(&mut self, spec: ContainerSpec) -> ExitStatus {
        let id = spec.id.clone();
        self.run(spec).await;
        self.exit_of(&id).await
    }

    pub async fn exit_of(&mut self, wanted: &str) -> ExitStatus {
        loop {
            let event = tokio::time::timeout(LIMIT, self.events.recv())
                .await
                .unwrap()
                .unwrap();
            match event {
                Event::ContainerExited { id, exit, .. } if id == wanted => return exit,
                _ => {}
            }
        }
    }

    /// Runs a command in a container and returns its output and exit code.
    pub async fn exec(&mut self, container: &str, script: &str) -> (String, i32) {
        let spec = ExecSpec {
            container: container.into(),
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            stdout: true,
            stderr: false,
            ..ExecSpec::default()
        };
        let exec = self.shim.exec(spec).await.unwrap();
        let output = read_all(exec.stdout.unwrap()).await;
        (output, self.exec_exit(exec.exec_id).await.code)
    }

    pub async fn exec_exit(&mut self, wanted: u64) -> ExitStatus {
        loop {
            let event = tokio::time::timeout(LIMIT, self.events.recv())
                .await
                .unwrap()
                .unwrap();
            match event {
                Event::ExecExited { exec_id, exit } if exec_id == wanted => return exit,
                _ => {}
            }
        }
    }

    /// Shuts the pod down and looks for anything left.
    pub async fn end(self) {
        let pid = self.shim.pid();
        self.shim.shutdown().await.unwrap();
        self.assert_no_trace();
        until("the shim's process has ended", || has_ended(pid)).await;
    }

    pub fn assert_no_trace(&self) {
        let cgroups = Cgroups::detect().unwrap();
        assert!(
            !cgroups.exists(&self.spec.cgroup_path()),
            "the cgroup is left"
        );
        assert!(!self.run_dir().join("a").exists(), "the directory is left");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(self.dir.path().to_str().unwrap()),
            "a mount is left"
        );
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }
}

/// Gone, or waiting to be reaped by the host's first process, which may take its time.
pub fn has_ended(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    stat.rsplit(") ")
        .next()
        .is_none_or(|rest| rest.starts_with('Z'))
}

pub fn launcher(dir: &Path) -> ShimLauncher {
    ShimLauncher::new(dir.join("run")).with_program(env!("CARGO_BIN_EXE_kabuki-shim"), Vec::new())
}

pub fn shared_pid(spec: &mut PodSpec) {
    spec.pid = PidMode::Pod;
}

pub fn busybox_root(root: &Path) {
    for dir in ["bin", "tmp", "etc", "proc", "dev", "sys"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let busybox = root.join("bin/busybox");
    if busybox.exists() {
        return;
    }
    fs::copy("/bin/busybox", &busybox).unwrap();
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
}

#[rustfmt::skip]
const APPLETS: &[&str] = &[
    "cat", "chmod", "chroot", "dd", "echo", "false", "grep", "head", "hostname", "id", "kill",
    "ls", "mkdir", "mknod", "mount", "printf", "ps", "readlink", "rm", "sh", "sleep", "stat", "stty", "sync",
    "tail", "touch", "true", "tty", "umount", "unshare", "wc", "yes",
];

pub async fn read_all(fd: OwnedFd) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        // A terminal ends with an error once its last user is gone.
        let _ = fs::File::from(fd).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    tokio::time::timeout(LIMIT, read).await.unwrap().unwrap()
}

/// Waits for a state that nothing announces.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let reached = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, reached)
        .await
        .unwrap_or_else(|_| panic!("never came: {what}"));
}
