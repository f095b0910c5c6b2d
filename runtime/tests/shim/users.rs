//! Pods with users of their own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use kabuki_runtime::{
    Capabilities, ContainerSpec, ExecSpec, ExecUser, IdRange, Mount, PidMode, PodMount, Rootfs,
};

use super::pod::{TestPod, read_all, until};

const RANGE: IdRange = IdRange {
    first: 1 << 30,
    count: 65_536,
};

/// The pod's root is nobody to the host: it must be let through to what is its own.
async fn pod() -> TestPod {
    start(|_| {}).await
}

async fn start(change: impl FnOnce(&mut kabuki_runtime::PodSpec)) -> TestPod {
    TestPod::start_in(
        |dir| fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).unwrap(),
        |spec| {
            spec.users = Some(RANGE);
            change(spec);
        },
    )
    .await
}

fn outside(pid: i32) -> u32 {
    fs::metadata(format!("/proc/{pid}")).unwrap().uid()
}

#[tokio::test]
async fn root_inside_is_nobody_outside() {
    let mut pod = pod().await;
    let secret = pod.dir.path().join("secret");
    fs::write(&secret, "the host's").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let mut spec = pod.container("c", "id -u; cat /proc/self/uid_map; sleep 1000");
    spec.capabilities = Capabilities::Exactly(vec!["CAP_SYS_ADMIN".into(), "CAP_CHOWN".into()]);
    spec.seccomp = kabuki_runtime::Seccomp::RuntimeDefault;
    spec.tty = false;
    pod.run(spec).await;
    until("its words", || pod.log("c").len() == 2).await;
    let text = pod.log_text("c");
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "1073741824", "65536"]);
    let status = pod.shim.status().await.unwrap();
    let kabuki_runtime::ContainerState::Running { pid, .. } = status.containers[0].state else {
        panic!("{status:?}");
    };
    assert_eq!(outside(pid), RANGE.first);
    // Its network is its own as well, so that its root has power over it, but not the host's.
    let (script, _) = pod
        .exec(
            "c",
            "id -u; cat /proc/self/uid_map; mount -t tmpfs none /tmp && echo mounted; \
             hostname other && echo named; echo 1 > /proc/sys/kernel/sysrq || echo refused; \
             mknod /tmp/sda b 8 0 2>/dev/null || echo no device",
        )
        .await;
    let words: Vec<&str> = script.split_whitespace().collect();
    let expected = "0 0 1073741824 65536 mounted named refused no device";
    assert_eq!(words.join(" "), expected, "{script}");
    pod.end().await;
}

#[tokio::test]
async fn files_belong_to_whom_the_container_sees() {
    let mut pod = pod().await;
    let volume = pod.dir.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("of-root"), "r").unwrap();
    fs::write(volume.join("of-app"), "a").unwrap();
    chown(volume.join("of-app"), Some(1000), Some(2000)).unwrap();
    chown(&volume, Some(1000), Some(2000)).unwrap();
    fs::set_permissions(volume.join("of-root"), fs::Permissions::from_mode(0o600)).unwrap();
    let memory = pod.run_dir().join("a/memory").display().to_string();
    pod.shim
        .mount(PodMount {
            path: memory.clone(),
            mode: 0o700,
            uid: 1000,
            gid: 1000,
            ..PodMount::default()
        })
        .await
        .unwrap();
    let mut spec = pod.container(
        "c",
        "stat -c '%u %g' /v/of-root /v/of-app / /bin/busybox /dev/shm /m; \
         cat /v/of-root || echo hidden; echo new > /v/new; echo > /m/new; stat -c %u /m/new",
    );
    spec.uid = 1000;
    spec.gid = 1000;
    spec.mounts = vec![
        Mount::bind(volume.display().to_string(), "/v", false),
        Mount::bind(memory, "/m", false),
    ];
    pod.run_to_end(spec).await;
    let text = pod.log_text("c");
    let lines: Vec<&str> = text.lines().filter(|l| !l.contains("cat:")).collect();
    let expected = [
        "0 0",
        "1000 2000",
        "0 0",
        "0 0",
        "0 0",
        "1000 1000",
        "hidden",
        "1000",
    ];
    assert_eq!(lines, expected);
    assert_eq!(fs::metadata(volume.join("new")).unwrap().uid(), 1000);
    pod.end().await;
}

#[tokio::test]
async fn an_image_is_seen_as_it_is_and_only_the_pods_own_files_are_its_users() {
    let mut pod = pod().await;
    let spec = overlay(
        &pod,
        "stat -c '%u' / /bin/busybox /work .; echo x > /etc/new; chmod 700 /bin/busybox; stat -c %u /etc/new /bin/busybox",
    );
    let upper = pod.dir.path().join("upper");
    pod.run_to_end(ContainerSpec {
        cwd: "/work".into(),
        ..spec
    })
    .await;
    let text = pod.log_text("c");
    assert_eq!(
        text.split_whitespace().collect::<Vec<_>>(),
        ["0"; 6],
        "{text}"
    );
    let owner = |path: &str| fs::metadata(upper.join(path)).unwrap().uid();
    assert_eq!([owner("etc/new"), owner("bin/busybox")], [RANGE.first; 2]);
    let image = pod.dir.path().join("root-c/bin/busybox");
    assert_eq!(fs::metadata(image).unwrap().uid(), 0);
    pod.end().await;
}

fn overlay(pod: &TestPod, script: &str) -> ContainerSpec {
    let mut spec = pod.container("c", script);
    let Rootfs::Dir(image) = &spec.rootfs else {
        panic!("{spec:?}");
    };
    let [upper, work] = ["upper", "work"].map(|name| {
        let path = pod.dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path.display().to_string()
    });
    // Layers have short names, which are links.
    let (links, short) = (pod.dir.path().join("l"), "../root-c");
    fs::create_dir(&links).unwrap();
    std::os::unix::fs::symlink(short, links.join("S")).unwrap();
    assert!(fs::canonicalize(links.join("S")).unwrap() == fs::canonicalize(image).unwrap());
    spec.rootfs = Rootfs::Overlay {
        lower: vec![links.join("S").display().to_string()],
        upper,
        work,
    };
    spec
}

#[tokio::test]
async fn further_processes_are_the_pods_users_too() {
    let mut pod = start(|spec| spec.pid = PidMode::Pod).await;
    let mut spec = pod.container("c", "sleep 1000");
    spec.uid = 7;
    pod.run(spec).await;
    let spec = ExecSpec {
        container: "c".into(),
        args: ["sh", "-c", "id -u; id -g; grep Groups /proc/self/status; grep CapEff /proc/self/status; echo end > /dev/stdout"]
            .map(str::to_owned)
            .to_vec(),
        user: Some(ExecUser {
            uid: 8,
            gid: 9,
            supplemental_gids: vec![10],
        }),
        stdout: true,
        ..ExecSpec::default()
    };
    let exec = pod.shim.exec(spec).await.unwrap();
    let output = read_all(exec.stdout.unwrap()).await;
    pod.exec_exit(exec.exec_id).await;
    let words: Vec<&str> = output.split_whitespace().collect();
    let none = "0000000000000000";
    assert_eq!(words, ["8", "9", "Groups:", "10", "CapEff:", none, "end"]);
    let (output, _) = pod.exec("c", "cat /proc/1/comm; id -u").await;
    assert_eq!(output, "kabuki-infra\n7\n");
    pod.end().await;
}

#[tokio::test]
async fn a_user_beyond_the_range_is_refused() {
    let pod = pod().await;
    let mut spec = pod.container("c", "true");
    spec.uid = 70_000;
    let error = pod.shim.create(spec).await.unwrap_err().to_string();
    assert!(
        error.contains("id 70000 is not one of the 65536"),
        "{error}"
    );
    pod.end().await;
}
