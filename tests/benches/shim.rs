//! What a pod's shim takes for a container that runs `true`, and for a further `true` in a
//! container that runs. The shim is the release binary, as the daemon starts it.

use anyhow::{Context, bail};
use kabuki_runtime::{
    ContainerSpec, Event, ExecSpec, PodSpec, Rootfs, Seccomp, ShimClient, ShimEvents, ShimLauncher,
};
use kabuki_tests::figures::Table;
use kabuki_tests::harness::use_release;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

const RUNS: usize = 300;
const SPAWNS: usize = 50;
/// Programs of the container's root.
const APPLETS: [&str; 3] = ["sh", "sleep", "true"];

#[derive(Default)]
struct Times {
    create: Vec<Duration>,
    start: Vec<Duration>,
    both: Vec<Duration>,
    cycle: Vec<Duration>,
}

struct Pod {
    client: ShimClient,
    events: ShimEvents,
    root: String,
}

fn main() -> anyhow::Result<()> {
    println!("{}", use_release().display());
    let directory = tempfile::Builder::new().prefix("kbt").tempdir_in("/run")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(directory.path()))
}

async fn measure(directory: &Path) -> anyhow::Result<()> {
    let mut table = Table::new("a pod's shim");
    let launcher =
        ShimLauncher::new(directory.join("shims")).with_program(use_release(), vec!["shim".into()]);
    let (mut spawn, mut end) = (Vec::new(), Vec::new());
    for number in 0..SPAWNS {
        let begun = Instant::now();
        let (client, _events) = launcher.spawn(&format!("s{number}")).await?;
        spawn.push(begun.elapsed());
        let begun = Instant::now();
        client.shutdown().await?;
        end.push(begun.elapsed());
    }
    table.times("spawned, its namespaces made", &spawn, "");
    table.times("shut down", &end, "");
    for (name, seccomp) in [
        ("", Seccomp::Unconfined),
        (" (seccomp RuntimeDefault)", Seccomp::RuntimeDefault),
    ] {
        let mut pod = Pod::start(directory, &launcher).await?;
        let mut times = Times::default();
        for number in 0..RUNS {
            pod.run_true(number, &seccomp, &mut times).await?;
        }
        table.times(&format!("create{name}"), &times.create, "(report)");
        table.times(&format!("start{name}"), &times.start, "(report)");
        table.times(&format!("create and start{name}"), &times.both, "(report)");
        table.times(
            &format!("create to deleted, `true` has ended{name}"),
            &times.cycle,
            "",
        );
        let execs = pod.run_execs(&seccomp).await?;
        table.times(
            &format!("exec `true` to its exit code{name}"),
            &execs,
            "(report)",
        );
        pod.client.shutdown().await?;
    }
    table.print();
    Ok(())
}

impl Pod {
    async fn start(directory: &Path, launcher: &ShimLauncher) -> anyhow::Result<Self> {
        let root = directory.join("root");
        if !root.exists() {
            for folder in ["bin", "tmp", "etc", "proc", "dev", "sys"] {
                std::fs::create_dir_all(root.join(folder))?;
            }
            std::fs::copy("/bin/busybox", root.join("bin/busybox"))
                .context("busybox-static is not installed")?;
            for applet in APPLETS {
                symlink("busybox", root.join("bin").join(applet))?;
            }
        }
        let (client, events) = launcher.spawn("pod").await?;
        let spec = PodSpec {
            uid: format!("bench-{}", std::process::id()),
            hostname: "bench".into(),
            cgroup_parent: format!("/kabuki-bench-{}", std::process::id()),
            ..PodSpec::default()
        };
        client.setup(spec).await?;
        Ok(Self {
            client,
            events,
            root: root.display().to_string(),
        })
    }

    fn container(&self, id: &str, args: &[&str], seccomp: &Seccomp) -> ContainerSpec {
        ContainerSpec {
            id: id.into(),
            name: id.into(),
            rootfs: Rootfs::Dir(self.root.clone()),
            args: args.iter().map(ToString::to_string).collect(),
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            seccomp: seccomp.clone(),
            ..ContainerSpec::default()
        }
    }

    async fn run_true(
        &mut self,
        number: usize,
        seccomp: &Seccomp,
        times: &mut Times,
    ) -> anyhow::Result<()> {
        let id = format!("c{number}");
        let begun = Instant::now();
        self.client
            .create(self.container(&id, &["/bin/true"], seccomp))
            .await?;
        times.create.push(begun.elapsed());
        let starting = Instant::now();
        self.client.start(&id).await?;
        times.start.push(starting.elapsed());
        times.both.push(begun.elapsed());
        let exited =
            |event: &Event| matches!(event, Event::ContainerExited { id: i, .. } if *i == id);
        self.until(exited).await?;
        self.client.delete(&id).await?;
        times.cycle.push(begun.elapsed());
        Ok(())
    }

    async fn run_execs(&mut self, seccomp: &Seccomp) -> anyhow::Result<Vec<Duration>> {
        self.client
            .create(self.container("main", &["/bin/sleep", "1000"], seccomp))
            .await?;
        self.client.start("main").await?;
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let begun = Instant::now();
            let spec = ExecSpec {
                container: "main".into(),
                args: vec!["/bin/true".into()],
                stdout: true,
                ..ExecSpec::default()
            };
            let exec = self.client.exec(spec).await?;
            let wanted = exec.exec_id;
            let exited = |event: &Event| match event {
                Event::ExecExited { exec_id, exit } => *exec_id == wanted && exit.code == 0,
                Event::ContainerExited { .. } => false,
            };
            self.until(exited).await?;
            times.push(begun.elapsed());
        }
        Ok(times)
    }

    async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> anyhow::Result<()> {
        loop {
            match self.events.recv().await {
                Some(event) if wanted(&event) => return Ok(()),
                Some(_) => {}
                None => bail!("the shim ended"),
            }
        }
    }
}
