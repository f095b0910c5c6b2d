use std::{collections::HashSet, fs, os::unix::fs::MetadataExt};

use super::{
    super::{Digest, Rootfs, resolve_user},
    *,
};

#[tokio::test]
async fn a_loaded_image_has_its_configuration_names_and_layers() {
    let test = TestStore::new();
    let builder = image(&[&[("a", "low"), ("b", "low")], &[("a", "top")]]);
    let loaded = test
        .load(packed(&builder, &["demo:v1", "example.com/x/demo:v2"]))
        .await;
    let [image] = loaded.as_slice() else {
        panic!("{loaded:?}");
    };
    assert_eq!(
        image.repo_tags,
        ["docker.io/library/demo:v1", "example.com/x/demo:v2"]
    );
    assert_eq!(image.repo_digests.len(), 2);
    assert_eq!(
        (image.config.cmd.as_slice(), image.size_bytes),
        (&["/hello".to_owned()][..], 9)
    );
    assert_eq!(image.layers.len(), 2);
    assert_eq!(
        fs::read_to_string(image.layers[0].join("a")).unwrap(),
        "top"
    );
    assert_eq!(
        fs::read_to_string(image.layers[1].join("a")).unwrap(),
        "low"
    );
    let id = image.id.to_string();
    for name in [
        "demo:v1",
        "example.com/x/demo:v2",
        &image.repo_digests[0],
        &id,
        &id[7..19],
    ] {
        assert_eq!(
            test.store.resolve(name).unwrap().as_ref(),
            Some(image),
            "{name}"
        );
    }
    assert_eq!(test.store.resolve("demo").unwrap(), None);
    assert!(test.store.resolve("Demo").is_err());
    test.assert_nothing_unfinished();
}

#[tokio::test]
async fn images_survive_a_restart_and_leftovers_do_not() {
    let test = TestStore::new();
    let loaded = test
        .load(packed(&image(&[&[("a", "1")]]), &["demo:v1"]))
        .await;
    fs::create_dir_all(test.path().join("tmp/half/fs")).unwrap();
    fs::create_dir_all(test.path().join("layers/half/fs")).unwrap();
    let test = test.reopen();
    assert_eq!(test.store.list(), loaded);
    test.assert_nothing_unfinished();
    assert_eq!(test.names("layers").len(), 1);
}

#[tokio::test]
async fn an_image_whose_layer_is_gone_is_not_offered() {
    let test = TestStore::new();
    let loaded = test
        .load(packed(&image(&[&[("a", "1")]]), &["demo:v1"]))
        .await;
    fs::remove_file(
        fs::canonicalize(&loaded[0].layers[0])
            .unwrap()
            .join("../layer.json"),
    )
    .unwrap();
    let test = test.reopen();
    assert_eq!(test.store.resolve("demo:v1").unwrap(), None);
    let again = test
        .load(packed(&image(&[&[("a", "1")]]), &["demo:v1"]))
        .await;
    assert_eq!(again[0].id, loaded[0].id);
}

#[tokio::test]
async fn a_damaged_index_is_refused_with_its_name_and_a_remedy() {
    let test = TestStore::new();
    test.load(packed(&image(&[&[("a", "1")]]), &["demo:v1"]))
        .await;
    let TestStore { store, directory } = test;
    drop(store);
    let index = directory.path().join("index.json");
    let whole = fs::read(&index).unwrap();
    for damaged in [
        &whole[..whole.len() / 2],
        b"",
        b"{\"version\":9,\"images\":[]}",
    ] {
        fs::write(&index, damaged).unwrap();
        let text = ImageStore::open(directory.path())
            .err()
            .unwrap()
            .to_string();
        assert!(
            text.contains("index.json") && text.contains("move it away"),
            "{text}"
        );
        assert_eq!(fs::read(&index).unwrap(), damaged);
    }
    fs::write(&index, whole).unwrap();
    assert_eq!(ImageStore::open(directory.path()).unwrap().list().len(), 1);
}

#[test]
fn a_store_is_used_by_one_process_at_a_time() {
    let test = TestStore::new();
    let text = ImageStore::open(test.path()).err().unwrap().to_string();
    assert!(text.contains("another process"), "{text}");
}

#[tokio::test]
async fn a_tag_moves_to_the_image_that_was_loaded_last() {
    let test = TestStore::new();
    let old = test
        .load(packed(&image(&[&[("a", "1")]]), &["demo:v1"]))
        .await;
    let new = test
        .load(packed(&image(&[&[("a", "2")]]), &["demo:v1"]))
        .await;
    assert_eq!(
        test.store.resolve("demo:v1").unwrap().unwrap().id,
        new[0].id
    );
    let old = test.store.resolve(&old[0].id.to_string()).unwrap().unwrap();
    assert_eq!(old.repo_tags, Vec::<String>::new());
}

#[tokio::test]
async fn images_share_layers_and_removal_keeps_what_others_need() {
    let test = TestStore::new();
    let base: &[(&str, &str)] = &[("base", "shared")];
    let one = test
        .load(packed(
            &image(&[base, &[("a", "1")]]),
            &["one:v1", "uno:v1"],
        ))
        .await;
    test.load(packed(&image(&[base, &[("a", "22")]]), &["two:v1"]))
        .await;
    assert_eq!(
        (test.names("layers").len(), test.store.used_bytes()),
        (3, 9)
    );

    let none = HashSet::new();
    let used = HashSet::from([one[0].id]);
    let untagged = test.store.remove("uno:v1", &used).await.unwrap();
    assert_eq!(untagged.untagged, ["docker.io/library/uno:v1"]);
    assert!(untagged.deleted.is_empty());
    let error = test.store.remove("one:v1", &used).await.unwrap_err();
    assert!(matches!(error, ImageError::InUse { .. }), "{error}");
    let removed = test.store.remove("one:v1", &none).await.unwrap();
    assert_eq!((removed.deleted, removed.freed_bytes), (vec![one[0].id], 1));
    assert_eq!((test.names("layers").len(), test.names("l").len()), (2, 2));
    let error = test.store.remove("one:v1", &none).await.unwrap_err();
    assert!(matches!(error, ImageError::NotPresent(_)), "{error}");
    let two = test.store.resolve("two:v1").unwrap().unwrap();
    assert_eq!(
        fs::read_to_string(two.layers[1].join("base")).unwrap(),
        "shared"
    );
    test.store.remove(&two.id.to_string(), &none).await.unwrap();
    assert_eq!(
        (test.names("layers").len(), test.names("blobs").len()),
        (0, 0)
    );
    assert_eq!(test.reopen().store.list().len(), 0);
}

#[tokio::test]
async fn garbage_collection_takes_the_longest_unused_first_and_nothing_in_use() {
    let test = TestStore::new();
    let mut ids: Vec<Digest> = Vec::new();
    for name in ["used", "old", "young"] {
        let builder = image(&[&[("file", &name.repeat(10))]]);
        ids.push(test.load(packed(&builder, &[name])).await[0].id);
    }
    let index = test.path().join("index.json");
    let TestStore { store, directory } = test;
    drop(store);
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    for entry in json["images"].as_array_mut().unwrap() {
        let position = ids
            .iter()
            .position(|id| entry["id"] == id.to_string())
            .unwrap();
        entry["lastUsedS"] = position.into();
    }
    fs::write(&index, json.to_string()).unwrap();
    fs::write(
        directory
            .path()
            .join(format!("blobs/{}.partial", ids[0].hex())),
        "x",
    )
    .unwrap();
    let store = ImageStore::open(directory.path()).unwrap();

    let in_use = HashSet::from([ids[0]]);
    let removed = store.collect_garbage(&in_use, 10).await.unwrap();
    assert_eq!((removed.deleted, removed.freed_bytes), (vec![ids[1]], 31));
    let removed = store.collect_garbage(&in_use, u64::MAX).await.unwrap();
    assert_eq!(removed.deleted, [ids[2]]);
    assert_eq!(
        store
            .list()
            .iter()
            .map(|image| image.id)
            .collect::<Vec<_>>(),
        [ids[0]]
    );
}

#[tokio::test]
async fn directories_without_an_entry_look_like_those_below() {
    let test = TestStore::new();
    let builder = ImageBuilder::new(ImageConfig::default())
        .layer(vec![
            Entry::directory("tmp", 0o1777),
            Entry::directory("srv", 0o750).owned_by(5, 6),
        ])
        .layer(vec![
            Entry::file("tmp/a", 0o644, "x"),
            Entry::file("srv/b", 0o644, "x"),
        ])
        .layer(vec![Entry::file("srv/new/c", 0o644, "x")]);
    let loaded = test.load(packed(&builder, &["demo"])).await;
    let looks = |layer: usize, path: &str| {
        let found = fs::metadata(loaded[0].layers[layer].join(path)).unwrap();
        (found.mode() & 0o7777, found.uid(), found.gid())
    };
    assert_eq!(looks(1, "tmp"), (0o1777, 0, 0));
    assert_eq!(looks(1, "srv"), (0o750, 5, 6));
    assert_eq!(looks(0, "srv"), (0o750, 5, 6));
    assert_eq!(looks(0, "srv/new"), (0o755, 0, 0));
}

#[tokio::test]
async fn a_container_root_is_made_of_the_layers_and_users_are_found_in_it() {
    let test = TestStore::new();
    let builder = ImageBuilder::new(ImageConfig::default())
        .layer(vec![Entry::file(
            "etc/passwd",
            0o644,
            "app:x:10:20::/srv:/bin/sh\n",
        )])
        .layer(vec![Entry::file(
            "etc/group",
            0o644,
            "app:x:20:\nextra:x:30:app\n",
        )]);
    let loaded = test.load(packed(&builder, &["demo"])).await;
    let user = resolve_user(&loaded[0].layers, "app").unwrap();
    assert_eq!(
        (user.uid, user.gid, user.groups, user.home.as_str()),
        (10, 20, vec![30], "/srv")
    );
    let container = test.path().join("container");
    let rootfs = Rootfs::create(&loaded[0], &container).unwrap();
    assert_eq!(rootfs.lower, loaded[0].layers);
    let mount = rootfs.overlay_options().unwrap();
    assert_eq!(mount.working_dir, test.path().join("l"));
    for layer in &rootfs.lower {
        let name = layer.file_name().unwrap().to_str().unwrap();
        assert!(mount.options.to_str().unwrap().contains(name));
    }
    let empty = test
        .load(packed(
            &ImageBuilder::new(ImageConfig::default()),
            &["empty"],
        ))
        .await;
    let rootfs = Rootfs::create(&empty[0], &test.path().join("other")).unwrap();
    assert_eq!(rootfs.lower.len(), 1);
}

#[tokio::test]
async fn a_cancelled_load_leaves_nothing_and_can_be_repeated() {
    let test = TestStore::new();
    let text = "x".repeat(4 << 20);
    let archive = packed(&image(&[&[("a", &text)], &[("b", &text)]]), &["demo:v1"]);
    for _ in 0..5 {
        let load = test
            .store
            .load_bytes(Bytes::from(archive.clone()), LoadOptions::default());
        tokio::select! {
            biased;
            _ = load => {}
            () = tokio::task::yield_now() => {}
        }
    }
    test.load(archive).await;
    assert_eq!(test.store.list().len(), 1);
    test.assert_nothing_unfinished();
}
