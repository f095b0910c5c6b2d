use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use tar::{EntryType, Header};

use super::{
    super::{Digest, Phase, Progress},
    *,
};

/// A tar archive of the members given.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A `docker save` archive, its one layer as given.
fn docker_archive(layer: &[u8], tags: &[&str]) -> Vec<u8> {
    let config = json!({
        "architecture": "", "os": "linux", "config": {"Cmd": ["/x"], "Volumes": null},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer)]},
    })
    .to_string();
    let id = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let manifest = json!([{"Config": id, "RepoTags": tags, "Layers": ["abc/layer.tar"]}]);
    archive(&[
        ("abc/layer.tar", layer),
        (&id, config.as_bytes()),
        ("manifest.json", manifest.to_string().as_bytes()),
    ])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn docker_archives_are_loaded_plain_and_compressed() {
    let layer = archive(&[("hello", b"hi")]);
    let plain = docker_archive(&layer, &["demo:v1", "demo:v2"]);
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    for bytes in [plain.clone(), gzip(&plain), zstd] {
        let test = TestStore::new();
        let loaded = test.load(bytes.clone()).await;
        assert_eq!(
            loaded[0].repo_tags,
            ["docker.io/library/demo:v1", "docker.io/library/demo:v2"]
        );
        let hello = std::fs::read(loaded[0].layers[0].join("hello")).unwrap();
        assert_eq!(hello, b"hi");
        test.assert_nothing_unfinished();

        let test = TestStore::new();
        let file = test.path().join("archive");
        std::fs::write(&file, &bytes).unwrap();
        let options = LoadOptions::default();
        assert_eq!(
            test.store.load_file(&file, options.clone()).await.unwrap(),
            test.store.list()
        );
        let reader = Cursor::new(bytes);
        assert_eq!(
            test.store.load_reader(reader, options).await.unwrap().len(),
            1
        );
    }
}

#[tokio::test]
async fn links_between_members_are_followed_inside_the_archive_only() {
    let layer = archive(&[("hello", b"hi")]);
    let with_link = |target: &str| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder
            .append_link(&mut header, "abc/layer.tar", target)
            .unwrap();
        let mut bytes = builder.get_ref().clone();
        let rest = docker_archive(&layer, &["demo"]);
        // The first member, with its header and padding, is the layer.
        let member = 512 + layer.len().next_multiple_of(512);
        let mut moved = rest[..member].to_vec();
        moved[..13].copy_from_slice(b"def/layer.tar");
        let mut header = Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(&moved[..512]);
        header.set_cksum();
        moved[..512].copy_from_slice(header.as_bytes());
        bytes.extend(moved);
        bytes.extend(&rest[member..]);
        bytes
    };
    let test = TestStore::new();
    assert_eq!(test.load(with_link("../def/layer.tar")).await.len(), 1);
    for target in [
        "../../def/layer.tar",
        "/def/layer.tar",
        "../../../../etc/passwd",
    ] {
        let text = TestStore::new().refuse(with_link(target)).await.to_string();
        assert!(text.contains("outside"), "{target}: {text}");
    }
    let text = TestStore::new()
        .refuse(with_link("layer.tar"))
        .await
        .to_string();
    assert!(text.contains("missing"), "{text}");
}

#[tokio::test]
async fn a_name_can_be_given_and_replaces_those_in_the_archive() {
    let test = TestStore::new();
    let bytes = Bytes::from(packed(&image(&[&[("a", "1")]]), &["demo:v1"]));
    let named = |name: &str| LoadOptions {
        name: Some(name.into()),
        ..LoadOptions::default()
    };
    let loaded = test
        .store
        .load_bytes(bytes.clone(), named("other:v2"))
        .await
        .unwrap();
    assert_eq!(loaded[0].repo_tags, ["docker.io/library/other:v2"]);
    let error = test
        .store
        .load_bytes(bytes, named("Bad Name"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ImageError::InvalidReference { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_not_an_image_archive_is_refused_and_leaves_nothing() {
    let good = packed(&image(&[&[("a", "1")]]), &["demo:v1"]);
    let layer = archive(&[("hello", b"hi")]);
    let mut wrong_layer = docker_archive(&layer, &["demo"]);
    let at = wrong_layer
        .windows(2)
        .position(|pair| pair == b"hi")
        .unwrap();
    wrong_layer[at] = b'H';
    let evil = {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..6].copy_from_slice(b"../../");
        header.as_old_mut().name[6] = b'x';
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
        builder.into_inner().unwrap()
    };
    let large = archive(&[("index.json", &vec![b' '; 9 << 20])]);
    let cases: [(Vec<u8>, &str); 11] = [
        (b"this is not an archive at all".to_vec(), "header"),
        (vec![0; 4096], "neither an index.json"),
        (archive(&[("x", b"y")]), "neither an index.json"),
        (archive(&[("index.json", b"{")]), "index.json"),
        (archive(&[("manifest.json", b"[{}]")]), "manifest.json"),
        (archive(&[("manifest.json", b"[]")]), "no image"),
        (good[..good.len() / 2].to_vec(), ""),
        (gzip(&good)[..200].to_vec(), ""),
        (wrong_layer, "corrupt"),
        (evil, "outside of the archive"),
        (large, "larger than"),
    ];
    for (bytes, part) in cases {
        let test = TestStore::new();
        let text = test.refuse(bytes).await.to_string();
        assert!(text.contains(part), "{part}: {text}");
        assert_eq!(
            (test.store.list().len(), test.names("layers").len()),
            (0, 0)
        );
    }
    // A layer that is evil inside of a good archive.
    let text = TestStore::new()
        .refuse(docker_archive(&evil_layer(), &["demo"]))
        .await
        .to_string();
    assert!(text.contains("\"..\""), "{text}");
}

fn evil_layer() -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..9].copy_from_slice(b"../escape");
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[tokio::test]
async fn every_flipped_byte_is_noticed_or_harmless() {
    let good = packed(
        &image(&[&[("a", "content")], &[("b", "more")]]),
        &["demo:v1"],
    );
    let expected = TestStore::new().load(good.clone()).await[0].id;
    for at in (0..good.len()).step_by(97) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x20;
        let test = TestStore::new();
        let options = LoadOptions::default();
        if let Ok(images) = test.store.load_bytes(Bytes::from(bytes), options).await {
            assert!(images.iter().all(|image| image.id == expected), "byte {at}");
        }
        test.assert_nothing_unfinished();
    }
}

#[tokio::test]
async fn progress_ends_with_every_layer_complete_or_present() {
    let test = TestStore::new();
    let bytes = Bytes::from(packed(&image(&[&[("a", "1")], &[("b", "2")]]), &["demo"]));
    for expected in [Phase::Complete, Phase::Present] {
        let seen = Arc::new(std::sync::Mutex::new(Vec::<Progress>::new()));
        let sink = seen.clone();
        let options = LoadOptions {
            progress: Some(Arc::new(move |progress| {
                sink.lock().unwrap().push(progress)
            })),
            ..LoadOptions::default()
        };
        test.store.load_bytes(bytes.clone(), options).await.unwrap();
        let seen = seen.lock().unwrap();
        let ended = seen.iter().filter(|progress| progress.phase == expected);
        assert!(
            ended
                .clone()
                .all(|p| p.done_bytes == p.total_bytes && p.total_bytes > 0)
        );
        assert_eq!(ended.count(), 2);
    }
}
