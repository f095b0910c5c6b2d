use super::*;
use crate::spec::{Capabilities, Mount};

fn container() -> ContainerSpec {
    ContainerSpec {
        id: "c1".into(),
        rootfs: Rootfs::Dir("/image".into()),
        args: vec!["/bin/true".into()],
        cwd: "/".into(),
        ..ContainerSpec::default()
    }
}

fn around() -> Surroundings<'static> {
    Surroundings {
        rootfs: "/image",
        cgroup_path: "/pods/c1",
        pid: PidMode::Container,
        processes: None,
        shm: "/run/shm",
        binds: Binds::default(),
        cgroup_v2: true,
        cgroup_view: None,
        users: None,
    }
}

#[test]
fn a_mount_of_the_manifest_replaces_the_default_one() {
    let spec = ContainerSpec {
        mounts: vec![Mount::bind("/data", "/dev/shm", true)],
        ..container()
    };
    let around = Surroundings {
        binds: Binds {
            sources: vec![None],
            follows_host: false,
        },
        ..around()
    };
    let (oci, _) = build(&spec, &around).unwrap();
    let mounts = oci.mounts().as_deref().unwrap();
    let shm: Vec<_> = mounts
        .iter()
        .filter(|mount| mount.destination().as_os_str() == "/dev/shm")
        .collect();
    assert_eq!(shm.len(), 1);
    assert_eq!(
        shm[0].source().as_deref(),
        Some(std::path::Path::new("/data"))
    );
}

#[test]
fn a_privileged_container_is_not_masked_nor_filtered() {
    let spec = ContainerSpec {
        privileged: true,
        seccomp: Seccomp::RuntimeDefault,
        ..container()
    };
    let (oci, _) = build(&spec, &around()).unwrap();
    let linux = oci.linux().as_ref().unwrap();
    assert!(linux.seccomp().is_none());
    assert_eq!(linux.masked_paths().as_deref(), Some(&[][..]));
}

#[test]
fn a_capability_that_nobody_knows_is_named_in_a_warning() {
    let spec = ContainerSpec {
        capabilities: Capabilities::Exactly(vec!["CAP_MAGIC".into(), "CAP_CHOWN".into()]),
        ..container()
    };
    let (_, warnings) = build(&spec, &around()).unwrap();
    assert_eq!(warnings, ["the host cannot give CAP_MAGIC"]);
}

#[test]
fn an_id_that_could_leave_its_directory_is_refused() {
    for id in ["", "..", ".hidden", "a/b", "a b"] {
        let spec = ContainerSpec {
            id: id.into(),
            ..container()
        };
        assert!(
            matches!(build(&spec, &around()), Err(OciError::Invalid { .. })),
            "{id:?}"
        );
    }
}
