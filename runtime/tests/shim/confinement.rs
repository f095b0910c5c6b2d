//! What a container may not do.

use kabuki_runtime::{Capabilities, Device, Rlimit, Seccomp};

use super::pod::TestPod;

#[tokio::test]
async fn the_default_filter_holds_for_the_first_process_and_for_execs() {
    for no_new_privs in [false, true] {
        let mut pod = TestPod::start().await;
        // Capable of it, were it not for the filter.
        let mut spec = pod.container(
            "c",
            "grep Seccomp: /proc/self/status; unshare -U true || echo denied; sleep 1000",
        );
        spec.seccomp = Seccomp::RuntimeDefault;
        spec.no_new_privs = no_new_privs;
        pod.run(spec).await;
        super::pod::until("its verdict", || pod.log_text("c").contains("denied")).await;
        assert!(
            pod.log_text("c").contains("Seccomp:\t2"),
            "{}",
            pod.log_text("c")
        );
        let (output, _) =
            pod.exec("c", "grep -E 'Seccomp:|CapEff|NoNewPrivs' /proc/self/status; unshare -U true 2>&1 || echo denied").await;
        assert!(
            output.contains("Seccomp:\t2") && output.contains("denied"),
            "{output}"
        );
        assert!(output.contains("CapEff:\t00000000a80425fb"), "{output}");
        assert!(
            output.contains(&format!("NoNewPrivs:\t{}", u8::from(no_new_privs))),
            "{output}"
        );
        pod.end().await;
    }
}

#[tokio::test]
async fn a_profile_from_a_file_is_applied() {
    let mut pod = TestPod::start().await;
    let mut spec = pod.container("c", "mkdir /tmp/x || echo refused");
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW",
        "syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
    spec.seccomp = Seccomp::Profile(profile.into());
    pod.run_to_end(spec).await;
    assert!(pod.log_text("c").contains("refused"));
    let mut spec = pod.container("d", "true");
    spec.seccomp = Seccomp::Profile(b"not json".to_vec());
    assert!(
        pod.shim
            .create(spec)
            .await
            .unwrap_err()
            .to_string()
            .contains("seccomp profile")
    );
    pod.end().await;
}

#[tokio::test]
async fn identity_and_capabilities_are_as_asked() {
    let mut pod = TestPod::start().await;
    let mut spec = pod.container("c", "id -u; id -g; id -G; umask; grep -E 'CapEff|CapBnd' /proc/self/status; echo > /dev/stdout again");
    (spec.uid, spec.gid, spec.supplemental_gids) = (1000, 2000, vec![3000, 4000]);
    spec.umask = Some(0o027);
    spec.capabilities = Capabilities::Exactly(vec!["CAP_NET_ADMIN".into()]);
    let exit = pod.run_to_end(spec).await;
    let text = pod.log_text("c");
    assert_eq!(exit.code, 0, "{text}");
    let bounding = "CapEff:\t0000000000000000\nCapBnd:\t0000000000001000";
    assert!(
        text.starts_with("1000\n2000\n2000 3000 4000\n0027\n"),
        "{text}"
    );
    assert!(text.contains(bounding) && text.ends_with("again"), "{text}");
    pod.end().await;
}

#[tokio::test]
async fn what_the_host_cannot_give_becomes_a_warning() {
    let pod = TestPod::start().await;
    let mut spec = pod.container("c", "sleep 1000");
    spec.oom_score_adj = -900;
    spec.rlimits = vec![Rlimit {
        name: "RLIMIT_NOFILE".into(),
        soft: 1 << 40,
        hard: 1 << 40,
    }];
    let bounding = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = bounding
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:\t"))
        .unwrap();
    let capable = u64::from_str_radix(bounding, 16).unwrap() & (1 << 24) != 0;
    if capable {
        spec.rlimits.clear();
    }
    let (pid, warnings) = pod.shim.create(spec).await.unwrap();
    assert_eq!(warnings.is_empty(), capable, "{warnings:?}");
    let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score.trim() == "-900", capable);
    let mut spec = pod.container("d", "sleep 1000");
    spec.oom_score_adj = 700;
    let (pid, _) = pod.shim.create(spec).await.unwrap();
    let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score.trim(), "700");
    pod.end().await;
}

#[tokio::test]
async fn the_root_and_kernel_interfaces_are_protected() {
    let mut pod = TestPod::start().await;
    let mut spec = pod.container(
        "c",
        "touch /x && echo wrote; touch /proc/sys/kernel/x; echo 1 > /proc/sys/kernel/sysrq && echo sysrq; \
         wc -c < /proc/kcore; mknod /tmp/d c 10 1 && cat /tmp/d; touch /sys/x && echo sys; echo done",
    );
    spec.readonly_root = true;
    pod.run_to_end(spec).await;
    let text = pod.log_text("c");
    assert!(text.contains("done"), "{text}");
    for bad in ["wrote", "sysrq\n", "sys\n"] {
        assert!(!text.contains(&format!("\n{bad}")), "{text}");
    }
    assert!(text.contains("Read-only file system"), "{text}");
    pod.end().await;
}

#[tokio::test]
async fn a_device_of_the_manifest_is_usable_and_others_are_not() {
    let mut pod = TestPod::start().await;
    let mut spec = pod.container(
        "c",
        "head -c 3 /dev/nothing | wc -c; mknod /tmp/k c 1 11 && head -c1 /tmp/k || echo barred",
    );
    spec.devices = vec![Device {
        host_path: "/dev/zero".into(),
        path: "/dev/nothing".into(),
        permissions: "r".into(),
    }];
    pod.run_to_end(spec).await;
    let text = pod.log_text("c");
    assert!(text.contains('3') && text.contains("barred"), "{text}");
    pod.end().await;
}

#[tokio::test]
async fn a_privileged_container_has_the_hosts_capabilities_and_devices() {
    let mut pod = TestPod::start().await;
    let mut spec = pod.container(
        "c",
        "grep CapEff /proc/self/status; ls /dev/kmsg; mount -t tmpfs none /tmp && echo mounted",
    );
    spec.privileged = true;
    assert_eq!(pod.run_to_end(spec).await.code, 0, "{}", pod.log_text("c"));
    let text = pod.log_text("c");
    assert!(
        text.contains("mounted") && text.contains("/dev/kmsg"),
        "{text}"
    );
    pod.end().await;
}
