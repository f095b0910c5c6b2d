//! Registries that cannot be reached, do not have it, do not let one in, or lie.

use super::{LIMIT, files_below};
use kabuki_runtime::image::{Digest, ImageConfig, pack::Entry};
use kabuki_tests::harness::{Daemon, Registry, image_archive, until};
use std::path::PathBuf;

fn pod(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  \
         imagePullSecrets: [{{name: login}}]\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
         - {{name: main, image: \"{image}\"}}\n"
    )
}

/// Waits until a pod backs off, having said each of `reasons` and `words`.
fn backs_off(node: &Daemon, name: &str, words: &[&str]) {
    let pod = format!("pod/{name}");
    node.wait_value(
        &pod,
        "{.status.containerStatuses[0].state.waiting.reason}",
        "ImagePullBackOff",
    );
    let told = until(&format!("{pod} says why"), LIMIT, || {
        let told = node.ok(&["describe", "pod", name]);
        (told.contains("ErrImagePull") || told.contains("Failed to pull")).then_some(told)
    });
    for word in words {
        assert!(told.contains(word), "{name} does not say {word:?}:\n{told}");
    }
    assert_eq!(node.value(&pod, "{.status.phase}"), "Pending");
}

fn image(folder: &std::path::Path) -> PathBuf {
    // Bytes that do not compress, so that the layer is the largest blob.
    let mut state = 7u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    image_archive(
        folder,
        "example.com/noise:1",
        vec![Entry::file(
            "noise",
            0o755,
            noise.take(200_000).collect::<Vec<u8>>(),
        )],
        ImageConfig::default(),
    )
}

#[test]
fn a_pod_says_why_its_image_does_not_come() {
    let node = Daemon::start();
    let folder = tempfile::tempdir().expect("a folder");
    let archive = image(folder.path());
    let open = Registry::start(node.host(), 5000, None);
    let closed = Registry::start(node.host(), 5001, Some(("jo", "right")));
    let good = open.push(node.host(), &archive, "team/noise:1");
    let locked = closed.push(node.host(), &archive, "team/noise:1");
    node.ok(&[
        "create",
        "secret",
        "docker-registry",
        "login",
        "--docker-server=127.0.0.1:5001",
        "--docker-username=jo",
        "--docker-password=wrong-password",
    ]);
    let lying = spoil(&open, node.host(), folder.path());

    node.apply(&pod("unreachable", "127.0.0.1:5999/team/noise:1"));
    node.apply(&pod("unknown", "127.0.0.1:5000/team/nothing:1"));
    node.apply(&pod("locked", &locked));
    node.apply(&pod("lying", &lying));
    backs_off(
        &node,
        "unreachable",
        &["127.0.0.1:5999", "cannot be reached"],
    );
    backs_off(
        &node,
        "unknown",
        &["127.0.0.1:5000/team/nothing:1", "not found"],
    );
    backs_off(
        &node,
        "locked",
        &["127.0.0.1:5001/team/noise:1", "pull access denied"],
    );
    backs_off(&node, "lying", &["corrupt"]);
    let told = node.ok(&["describe", "pod", "locked"]);
    assert!(!told.contains("wrong-password"), "{told}");
    assert!(
        !node.log().contains("wrong-password"),
        "the log tells a password"
    );

    // The same layer from an honest place.
    node.ok(&["image", "pull", &good]);
    assert!(
        node.ok(&["image", "ls"])
            .contains("127.0.0.1:5000/team/noise")
    );
    let refused = node.refused(&["image", "pull", &lying]);
    assert!(refused.contains("corrupt"), "{refused}");
    let partial = files_below(&node.data_dir().join("images"));
    let partial = partial
        .iter()
        .filter(|p| p.to_string_lossy().contains("partial"))
        .count();
    assert_eq!(partial, 0, "an unfinished download is left");
}

/// Pushes an image, then alters its layer where the registry keeps it. Gives the image's name.
fn spoil(
    registry: &Registry,
    host: &kabuki_tests::harness::Host,
    folder: &std::path::Path,
) -> String {
    let entries = vec![Entry::file(
        "other",
        0o755,
        Digest::of(b"x").to_string().repeat(3000),
    )];
    let name = "example.com/lying:1";
    let archive = image_archive(folder, name, entries, ImageConfig::default());
    let before = files_below(registry.storage());
    let full = registry.push(host, &archive, "team/lying:1");
    let is_new = |p: &PathBuf| p.ends_with("data") && !before.contains(p);
    let layer = files_below(registry.storage())
        .into_iter()
        .filter(is_new)
        .find(|p| std::fs::read(p).is_ok_and(|b| b.starts_with(&[0x1f, 0x8b])));
    let layer = layer.expect("the registry keeps the layer");
    let mut bytes = std::fs::read(&layer).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&layer, bytes).expect("writes");
    full
}
