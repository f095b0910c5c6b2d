//! Namespaces, mounts and what is shared.

use kabuki_runtime::{IpcMode, Mount, MountKind, NetMode, PidMode, Propagation};

use super::pod::TestPod;

fn namespace(pid: i32, name: &str) -> String {
    std::fs::read_link(format!("/proc/{pid}/ns/{name}"))
        .unwrap()
        .display()
        .to_string()
}

#[tokio::test]
async fn containers_share_network_name_and_memory_but_not_the_hosts() {
    let mut pod = TestPod::start_with(|spec| {
        spec.sysctls = vec![("net.ipv4.ip_unprivileged_port_start".into(), "80".into())];
    })
    .await;
    let spec = pod.container("a", "hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; echo hello > /dev/shm/x; sleep 1000");
    let (first, _) = pod.shim.create(spec).await.unwrap();
    pod.shim.start("a").await.unwrap();
    super::pod::until("its output", || pod.log("a").len() == 2).await;
    assert_eq!(pod.log_text("a"), "stage\n80");
    let (output, _) = pod.exec("a", "ls /dev/mqueue; cat /dev/shm/x").await;
    assert_eq!(output, "hello\n");
    let spec = pod.container("b", "cat /dev/shm/x; ps | wc -l; sleep 1000");
    let (second, _) = pod.shim.create(spec).await.unwrap();
    for name in ["net", "uts", "ipc"] {
        assert_eq!(namespace(first, name), namespace(second, name), "{name}");
        assert_eq!(
            namespace(first, name),
            namespace(pod.shim.pid(), name),
            "{name}"
        );
        assert_ne!(
            namespace(first, name),
            namespace(std::process::id() as i32, name),
            "{name}"
        );
    }
    assert_ne!(namespace(first, "pid"), namespace(second, "pid"));
    pod.end().await;
}

#[tokio::test]
async fn a_pod_may_share_what_the_host_has() {
    let mut pod = TestPod::start_with(|spec| {
        (spec.net, spec.pid, spec.ipc) = (NetMode::Host, PidMode::Host, IpcMode::Host);
    })
    .await;
    let spec = pod.container("a", "sleep 1000 & exec sleep 1000");
    let (pid, _) = pod.shim.create(spec).await.unwrap();
    pod.shim.start("a").await.unwrap();
    for name in ["net", "uts", "ipc", "pid"] {
        assert_eq!(
            namespace(pid, name),
            namespace(std::process::id() as i32, name),
            "{name}"
        );
    }
    let (output, _) = pod.exec("a", "ls -d /proc/1/root /sys/class/net/lo").await;
    assert!(output.contains("/sys/class/net/lo"), "{output}");
    // Nothing of it stays behind, though the kernel ends nobody with the first process here.
    pod.shim.signal("a", 9, false).await.unwrap();
    pod.exit_of("a").await;
    let cgroups = kabuki_runtime::Cgroups::detect().unwrap();
    assert_eq!(cgroups.pids(&pod.spec.cgroup_path()), Vec::<i32>::new());
    pod.end().await;
}

#[tokio::test]
async fn volumes_files_and_sub_paths_are_mounted() {
    let mut pod = TestPod::start().await;
    let volume = pod.dir.path().join("volume");
    std::fs::create_dir_all(volume.join("inner")).unwrap();
    std::fs::write(volume.join("inner/file"), "deep").unwrap();
    std::fs::write(pod.dir.path().join("hosts"), "127.0.0.1 me").unwrap();
    std::os::unix::fs::symlink("/etc", volume.join("escape")).unwrap();
    let bind = |sub_path: Option<&str>, propagation| MountKind::Bind {
        source: volume.display().to_string(),
        sub_path: sub_path.map(str::to_owned),
        propagation,
        recursive_readonly: false,
    };
    let at = |destination: &str, kind, readonly| Mount {
        destination: destination.into(),
        kind,
        readonly,
    };
    let mut spec = pod.container(
        "c",
        "cat /etc/hosts /sub/file; echo w > /all/written; touch /sub/no; ls -d /made; stat -f -c %T /scratch; touch /scratch/ok && echo ok",
    );
    spec.mounts = vec![
        Mount::bind(
            pod.dir.path().join("hosts").display().to_string(),
            "/etc/hosts",
            false,
        ),
        at("/all", bind(None, Propagation::HostToContainer), false),
        at("/sub", bind(Some("inner"), Propagation::None), true),
        at("/made", bind(Some("new/dir"), Propagation::None), false),
        at(
            "/scratch",
            MountKind::Tmpfs {
                size: 1 << 20,
                mode: 0o1777,
            },
            false,
        ),
    ];
    pod.run_to_end(spec.clone()).await;
    let text = pod.log_text("c");
    for wanted in ["127.0.0.1 me", "deep", "Read-only", "/made", "tmpfs", "ok"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert_eq!(
        std::fs::read_to_string(volume.join("written")).unwrap(),
        "w\n"
    );
    spec.id = "d".into();
    spec.mounts = vec![at(
        "/x",
        bind(Some("escape/passwd"), Propagation::None),
        true,
    )];
    assert!(pod.shim.create(spec).await.is_err());
    pod.end().await;
}

#[tokio::test]
async fn a_sysctl_of_the_host_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let launcher = super::pod::launcher(dir.path());
    let (shim, _events) = launcher.spawn("a").await.unwrap();
    let spec = kabuki_runtime::PodSpec {
        uid: "x".into(),
        cgroup_parent: "/kabuki-test".into(),
        sysctls: vec![("kernel.sysrq".into(), "1".into())],
        ..kabuki_runtime::PodSpec::default()
    };
    let error = shim.setup(spec).await.unwrap_err().to_string();
    assert!(error.contains("kernel.sysrq"), "{error}");
    shim.shutdown().await.unwrap();
    assert!(!dir.path().join("run/a").exists());
}
