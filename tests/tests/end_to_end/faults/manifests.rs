//! Manifests that are wrong, and ones that are merely large.

use super::{rss_kib, text};
use kabuki_tests::harness::Daemon;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("writes");
    path
}

/// What `apply -f` of a file with this content says, which must be a refusal.
fn refused(node: &Daemon, folder: &Path, content: &str) -> String {
    node.refused(&["apply", "-f", text(&file(folder, "wrong.yaml", content))])
}

#[test]
fn wrong_manifests_are_refused_with_the_place() {
    let node = Daemon::start();
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let fine = map.replace("{name: a}", "{name: fine}");
    let cases = [
        (
            format!("{map}data: {{k: [}}\n"),
            vec!["wrong.yaml", "line 4"],
        ),
        (
            format!("{fine}---\n{map}data:\n\tk: v\n"),
            vec!["wrong.yaml", "document 2", "line 9"],
        ),
        (
            format!("{map}data:\n  k: v\n  k: w\n"),
            vec!["wrong.yaml", "line 5", "key \"k\" already set"],
        ),
        (
            map.replace("ConfigMap", "ConfigMop"),
            vec!["wrong.yaml", "no matches for kind \"ConfigMop\""],
        ),
        (
            format!("{map}date: {{k: v}}\n"),
            vec!["unknown field \"date\""],
        ),
        (
            format!("{map}data: {{k: 7}}\n"),
            vec!["data.k: invalid type"],
        ),
        (
            "just words\n".to_string(),
            vec!["wrong.yaml", "not an object"],
        ),
        (
            "a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
          d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
                .to_string(),
            vec!["wrong.yaml"],
        ),
        (
            format!("{}{}\n", "[".repeat(100_000), "]".repeat(100_000)),
            vec!["wrong.yaml"],
        ),
    ];
    for (content, expected) in cases {
        let said = refused(&node, folder, &content);
        for word in expected {
            assert!(
                said.to_lowercase().contains(&word.to_lowercase()),
                "{word:?}: {said}\n{:.200}",
                content
            );
        }
    }
    let binary = folder.join("wrong.yaml");
    std::fs::write(
        &binary,
        [b"apiVersion: ".as_slice(), &[0xff, 0xfe]].concat(),
    )
    .expect("writes");
    let said = node.refused(&["apply", "-f", text(&binary)]);
    assert!(said.contains("not UTF-8"), "{said}");
    let stored = node.ok(&["get", "configmaps", "-o", "name"]);
    assert_eq!(
        stored, "configmap/fine\nconfigmap/kube-root-ca.crt\n",
        "only what is well may be stored"
    );
}

#[test]
fn objects_that_are_too_large_are_refused() {
    let node = Daemon::start();
    let folder = tempfile::tempdir().expect("a folder");
    let pod = |bytes: usize| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: large}}\nspec:\n  containers:\n  - name: \
             main\n    image: busybox\n    args: [\"{}\"]\n",
            "x".repeat(bytes)
        )
    };
    // More than an object may have, and more than fits into a message.
    for bytes in [1_700_000, 3_500_000, 6_000_000] {
        let path = file(folder.path(), "large.yaml", &pod(bytes));
        let said = node.refused(&["create", "-f", text(&path)]);
        assert!(
            said.contains("RequestEntityTooLarge") && said.contains("the limit is"),
            "{bytes}: {said}"
        );
    }
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: large}}\ndata: {{k: {}}}\n",
        "x".repeat(1_100_000)
    );
    let said = node.refused(&[
        "create",
        "-f",
        text(&file(folder.path(), "large.yaml", &map)),
    ]);
    assert!(said.contains("1048576"), "{said}");
}

#[test]
fn a_manifest_of_100_megabytes_is_refused_without_harm() {
    let node = Daemon::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("huge.yaml");
    let mut file = std::fs::File::create(&path).expect("makes");
    write!(
        file,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: huge}}\ndata:\n"
    )
    .expect("writes");
    let line = format!("  k: {}\n", "x".repeat(1_000_000 - 6));
    for _ in 0..100 {
        file.write_all(line.as_bytes()).expect("writes");
    }
    let before = rss_kib(&node);
    let begun = Instant::now();
    let said = node.refused(&["apply", "-f", text(&path)]);
    assert!(
        said.contains("huge.yaml") && said.contains("more than the 16777216"),
        "{said}"
    );
    let grown = rss_kib(&node).saturating_sub(before);
    assert!(grown < 32 << 10, "the daemon grew by {grown} KiB");
    println!(
        "100 MB refused after {:?}; the daemon grew by {grown} KiB",
        begun.elapsed()
    );
}

#[test]
fn ten_thousand_documents_are_applied() {
    const COUNT: usize = 10_000;
    let node = Daemon::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut all = String::new();
    for number in 0..COUNT {
        let _ = write!(
            all,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{number}}}\ndata: {{n: '{number}'}}\n"
        );
    }
    let path = file(folder.path(), "many.yaml", &all);
    let begun = Instant::now();
    let said = node.ok(&["apply", "-f", text(&path)]);
    let took = begun.elapsed();
    assert_eq!(
        said.lines().filter(|l| l.ends_with(" created")).count(),
        COUNT
    );
    assert_eq!(
        node.ok(&["get", "configmaps", "-o", "name"])
            .matches("configmap/c")
            .count(),
        COUNT
    );
    assert_eq!(node.value("configmap/c9999", "{.data.n}"), "9999");
    println!("{COUNT} documents applied in {took:?}");
}
