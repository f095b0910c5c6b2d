//! Running, ending, logging, limits.

use kabuki_runtime::{
    ContainerSpec, ContainerState, LogSpec, Mount, MountKind, PodMount, Propagation, Resources,
    Rootfs, Seccomp, ShimError,
};

use super::pod::{TestPod, busybox_root, shared_pid, until};

#[tokio::test]
async fn output_and_exit_code_arrive_and_nothing_is_left() {
    let mut pod = TestPod::start().await;
    let spec = pod.container("c", "echo out; echo err >&2; printf tail; exit 7");
    let exit = pod.run_to_end(spec).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (7, 0, false));
    let mut log = pod.log("c");
    log.sort();
    let expected = [
        ("stderr F", "err"),
        ("stdout F", "out"),
        ("stdout P", "tail"),
    ];
    assert_eq!(
        log,
        expected.map(|(head, line)| (head.to_owned(), line.to_owned()))
    );
    pod.shim.delete("c").await.unwrap();
    assert!(pod.shim.status().await.unwrap().containers.is_empty());
    pod.end().await;
}

#[tokio::test]
async fn a_signal_ends_a_container_with_its_number() {
    let mut pod = TestPod::start().await;
    let spec = pod.container(
        "c",
        "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done",
    );
    pod.run(spec).await;
    until("the trap is set", || pod.log_text("c").contains("ready")).await;
    pod.shim.signal("c", 15, false).await.unwrap();
    assert_eq!(pod.exit_of("c").await.code, 3);
    let spec = pod.container("d", "sleep 1000");
    pod.run(spec).await;
    pod.shim.signal("d", 9, false).await.unwrap();
    let exit = pod.exit_of("d").await;
    assert_eq!((exit.code, exit.signal), (137, 9));
    pod.end().await;
}

#[tokio::test]
async fn running_out_of_memory_is_told_from_other_kills() {
    let mut pod = TestPod::start().await;
    let mut spec = pod.container("c", "dd if=/dev/zero of=/dev/null bs=64M count=1; exit $?");
    spec.args = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=64M"]
        .map(str::to_owned)
        .to_vec();
    spec.resources = Resources {
        memory_limit: Some(16 << 20),
        ..Resources::default()
    };
    let exit = pod.run_to_end(spec).await;
    assert_eq!((exit.code, exit.oom_killed), (137, true));
    pod.end().await;
}

#[tokio::test]
async fn a_program_that_cannot_run_is_an_error_with_its_name() {
    let pod = TestPod::start().await;
    let mut spec = pod.container("c", "");
    spec.args = vec!["no-such-program".into()];
    let error = pod.shim.create(spec.clone()).await.unwrap_err().to_string();
    assert!(
        error.contains("no-such-program") && error.contains("not found"),
        "{error}"
    );
    // Nothing of the failed one is in the way.
    spec.args = vec!["/etc/broken".into()];
    let Rootfs::Dir(root) = &spec.rootfs else {
        unreachable!()
    };
    std::fs::write(format!("{root}/etc/broken"), "#!/no/such/interpreter\n").unwrap();
    std::process::Command::new("chmod")
        .args(["755", &format!("{root}/etc/broken")])
        .status()
        .unwrap();
    pod.shim.create(spec).await.unwrap();
    let error = pod.shim.start("c").await.unwrap_err().to_string();
    assert!(error.contains("/etc/broken"), "{error}");
    pod.end().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_description_is_told_apart_from_what_cannot_be_started() {
    let pod = TestPod::start().await;
    let plain = pod.container("c", "true");
    let refused = async |change: &dyn Fn(&mut ContainerSpec)| {
        let mut spec = plain.clone();
        change(&mut spec);
        pod.shim.create(spec).await.unwrap_err()
    };
    let volume = pod.dir.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let volume = volume.display().to_string();
    let with = |spec: &mut ContainerSpec, source: &str, sub_path: Option<&str>| {
        let kind = MountKind::Bind {
            source: source.to_owned(),
            sub_path: sub_path.map(str::to_owned),
            propagation: Propagation::None,
            recursive_readonly: false,
        };
        spec.mounts = vec![Mount {
            destination: "/mnt".into(),
            kind,
            readonly: true,
        }];
    };
    let error = refused(&|spec| with(spec, &volume, Some("../out"))).await;
    assert!(matches!(error, ShimError::SubPath(_)), "{error:?}");
    for change in [
        &|spec: &mut ContainerSpec| spec.seccomp = Seccomp::Profile(b"{".to_vec()),
        &|spec: &mut ContainerSpec| spec.args.clear(),
    ] as [&dyn Fn(&mut ContainerSpec); 2]
    {
        let error = refused(change).await;
        assert!(matches!(error, ShimError::Description(_)), "{error:?}");
    }
    for (change, why) in [
        (
            &|spec: &mut ContainerSpec| spec.cwd = "bin".into(),
            "not absolute",
        ),
        (
            &|spec: &mut ContainerSpec| spec.cwd = "/bin/sh".into(),
            "working directory",
        ),
        (
            &|spec: &mut ContainerSpec| spec.args = vec!["/etc".into()],
            "is a directory",
        ),
        (
            &|spec: &mut ContainerSpec| with(spec, "/no/such/place", None),
            "/no/such/place",
        ),
    ] as [(&dyn Fn(&mut ContainerSpec), &str); 4]
    {
        let error = refused(change).await;
        assert!(matches!(error, ShimError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    pod.shim.create(plain.clone()).await.unwrap();
    pod.end().await;
}

#[tokio::test]
async fn a_created_container_waits_and_can_be_deleted() {
    let pod = TestPod::start().await;
    let spec = pod.container("c", "echo started");
    let (pid, _) = pod.shim.create(spec).await.unwrap();
    let status = pod.shim.status().await.unwrap();
    assert_eq!(status.containers[0].state, ContainerState::Created { pid });
    pod.shim.delete("c").await.unwrap();
    assert_eq!(pod.log("c"), []);
    pod.end().await;
}

#[tokio::test]
async fn limits_reach_the_cgroup_and_can_be_changed() {
    let mut pod = TestPod::start().await;
    let mut spec = pod.container("c", "sleep 1000");
    spec.resources = Resources {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_limit: Some(64 << 20),
        pids_limit: Some(20),
        ..Resources::default()
    };
    let warnings = pod.run(spec).await;
    assert_eq!(warnings, Vec::<String>::new());
    let (_, usage) = pod.shim.stats().await.unwrap();
    assert!(
        usage[0].1.pids == 1 && usage[0].1.memory_usage_bytes > 0,
        "{usage:?}"
    );
    let (output, _) = pod
        .exec(
            "c",
            "i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done 2>/dev/null; echo $?",
        )
        .await;
    assert_ne!(output.trim(), "0", "the limit on processes holds");
    let more = Resources {
        memory_limit: Some(128 << 20),
        ..Resources::default()
    };
    assert_eq!(
        pod.shim.update("c", more).await.unwrap(),
        Vec::<String>::new()
    );
    pod.end().await;
}

#[tokio::test]
async fn a_log_is_rotated_while_its_container_writes() {
    let mut pod = TestPod::start().await;
    let mut spec = pod.container(
        "c",
        "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done",
    );
    let path = pod.log_path("c");
    spec.log = Some(LogSpec {
        path: path.display().to_string(),
        max_size: 4096,
        max_files: 3,
    });
    assert_eq!(pod.run_to_end(spec).await.code, 0);
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        3
    );
    assert_eq!(pod.shim.status().await.unwrap().log_bytes_lost, 0);
    pod.end().await;
}

#[tokio::test]
async fn containers_of_a_shared_process_namespace_see_each_other() {
    let mut pod = TestPod::start_with(shared_pid).await;
    let first = pod.container("first", "exec sleep 4321");
    pod.run(first).await;
    let second = pod.container("second", "ps; (sleep 1000 &) ; exit 0");
    assert_eq!(pod.run_to_end(second).await.code, 0);
    assert!(
        pod.log_text("second").contains("sleep 4321"),
        "{}",
        pod.log_text("second")
    );
    // The process that the second left behind went with it, the first one stays.
    let (output, _) = pod.exec("first", "ps").await;
    assert!(
        output.contains("sleep 4321") && !output.contains("sleep 1000"),
        "{output}"
    );
    pod.end().await;
}

#[tokio::test]
async fn layers_are_stacked_and_writes_go_to_the_upper_directory() {
    let mut pod = TestPod::start().await;
    let at = |name: &str| pod.dir.path().join(name).display().to_string();
    let many = 70;
    for number in 0..many {
        let layer = at(&format!("layer-{number}-{}", "x".repeat(60)));
        std::fs::create_dir_all(format!("{layer}/etc")).unwrap();
        std::fs::write(format!("{layer}/etc/which"), number.to_string()).unwrap();
    }
    busybox_root(std::path::Path::new(&at("base")));
    for dir in ["upper", "work"] {
        std::fs::create_dir_all(at(dir)).unwrap();
    }
    let mut lower: Vec<String> = (0..many)
        .map(|number| at(&format!("layer-{number}-{}", "x".repeat(60))))
        .collect();
    lower.push(at("base"));
    let mut spec = pod.container("c", "cat /etc/which; echo written > /etc/new; pwd");
    let (upper, work) = (at("upper"), at("work"));
    spec.rootfs = Rootfs::Overlay {
        lower,
        upper: upper.clone(),
        work,
    };
    spec.cwd = "/srv/made".into();
    assert_eq!(pod.run_to_end(spec).await.code, 0);
    assert_eq!(pod.log_text("c"), "0/srv/made");
    assert_eq!(
        std::fs::read_to_string(format!("{upper}/etc/new")).unwrap(),
        "written\n"
    );
    pod.end().await;
}

#[tokio::test]
async fn a_pods_tmpfs_is_filled_from_outside_and_seen_by_its_containers_only() {
    let mut pod = TestPod::start().await;
    let path = pod.dir.path().join("secret");
    let mount = PodMount {
        path: path.display().to_string(),
        size: 1 << 20,
        mode: 0o755,
        ..PodMount::default()
    };
    pod.shim.mount(mount).await.unwrap();
    std::fs::write(pod.shim.inside(&path).join("key"), "hidden").unwrap();
    assert!(!path.join("key").exists());
    let mut spec = pod.container("c", "cat /secret/key; touch /secret/x || echo readonly");
    spec.mounts = vec![kabuki_runtime::Mount::bind(
        path.display().to_string(),
        "/secret",
        true,
    )];
    pod.run_to_end(spec).await;
    let text = pod.log_text("c");
    assert!(
        text.contains("hidden") && text.contains("readonly"),
        "{text}"
    );
    pod.end().await;
}
