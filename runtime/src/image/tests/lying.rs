use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    super::{Credential, Digest, Keyring, PullOptions, Reference, RegistryConfig, StoreOptions},
    fake::{Answer, Request, serve},
    *,
};

/// The blobs of an image, as a registry holds them: path under `/v2/demo/` to content.
fn contents(builder: &ImageBuilder) -> Vec<(String, Vec<u8>)> {
    let archive = packed(builder, &["demo"]);
    let mut tar = tar::Archive::new(archive.as_slice());
    let mut found = Vec::new();
    let mut manifest = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        if let Some(hex) = path.strip_prefix("blobs/sha256/") {
            found.push((format!("/v2/demo/blobs/sha256:{hex}"), bytes.clone()));
            if manifest.is_empty() {
                manifest = bytes;
            }
        }
    }
    found.push(("/v2/demo/manifests/v1".into(), manifest));
    found
}

/// The path of the only layer: the longest blob.
fn layer_path(contents: &[(String, Vec<u8>)]) -> String {
    contents
        .iter()
        .max_by_key(|(_, bytes)| bytes.len())
        .unwrap()
        .0
        .clone()
}

/// What does not compress, so that a layer is long.
fn noise(length: usize) -> String {
    let mut state = 1u64;
    let step = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b' ' + (state >> 40) as u8 % 90)
    };
    (0..length).map(step).collect()
}

fn find(contents: &[(String, Vec<u8>)], request: &Request) -> Answer {
    match contents.iter().find(|(path, _)| *path == request.path) {
        Some((_, bytes)) => Answer::ok(bytes.clone()),
        None => Answer::status(
            404,
            r#"{"errors":[{"code":"X","message":"manifest unknown"}]}"#,
        ),
    }
}

async fn pull(store: &ImageStore, host: &str) -> Result<Arc<Image>, ImageError> {
    let reference = Reference::parse(&format!("{host}/demo:v1")).unwrap();
    store.pull(&reference, PullOptions::default()).await
}

#[tokio::test]
async fn a_cut_download_is_resumed_where_it_stopped() {
    let contents = contents(&image(&[&[("a", &noise(300_000))]]));
    let layer = layer_path(&contents);
    let asked: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let seen = asked.clone();
    let host = serve(move |request: Request| {
        let mut answer = find(&contents, &request);
        if request.path == layer {
            let range = request.header("range").map(str::to_owned);
            let start = range.as_deref().map_or(0, |range| {
                range
                    .trim_start_matches("bytes=")
                    .trim_end_matches('-')
                    .parse()
                    .unwrap()
            });
            let total = answer.body.len();
            if start > 0 {
                answer.status = 206;
                let value = format!("bytes {start}-{}/{total}", total - 1);
                answer = answer.header("Content-Range", value);
                answer.body.drain(..start);
            }
            answer.cut = Some(answer.body.len().min(100_000));
            seen.lock().unwrap().push(range);
        }
        async move { answer }
    })
    .await;
    let test = TestStore::new();
    let pulled = pull(&test.store, &host).await.unwrap();
    assert_eq!(pulled.size_bytes, 300_000);
    let asked = asked.lock().unwrap();
    assert!(asked.len() >= 3 && asked[0].is_none(), "{asked:?}");
    assert!(
        asked[1..]
            .iter()
            .all(|range| range.as_deref() != Some("bytes=0-")),
        "{asked:?}"
    );
    assert_eq!(test.names("blobs"), [pulled.id.hex()]);
}

#[tokio::test]
async fn a_registry_without_ranges_is_asked_for_the_whole_again() {
    let contents = contents(&image(&[&[("a", &noise(200_000))]]));
    let layer = layer_path(&contents);
    let attempts = AtomicUsize::new(0);
    let host = serve(move |request: Request| {
        let mut answer = find(&contents, &request);
        if request.path == layer && attempts.fetch_add(1, Ordering::SeqCst) == 0 {
            answer.cut = Some(70_000);
        }
        async move { answer }
    })
    .await;
    let test = TestStore::new();
    assert_eq!(pull(&test.store, &host).await.unwrap().size_bytes, 200_000);
}

#[tokio::test]
async fn content_with_a_wrong_digest_is_refused_and_leaves_nothing() {
    let good = contents(&image(&[&[("a", &noise(100_000))]]));
    for (position, (path, _)) in good.iter().enumerate() {
        for change in ["flip", "shorten", "lengthen"] {
            let mut bad = good.clone();
            let bytes = &mut bad[position].1;
            match change {
                "flip" => bytes[20] ^= 1,
                "shorten" => bytes.truncate(bytes.len() - 1),
                _ => bytes.push(b' '),
            }
            // A manifest by tag has no digest to check, and a space after it changes nothing.
            if path.contains("manifests") && change == "lengthen" {
                continue;
            }
            let host = serve(move |request| {
                let answer = find(&bad, &request);
                async move { answer }
            })
            .await;
            let test = TestStore::new();
            if path == &layer_path(&good) && change == "shorten" {
                // Indistinguishable from a bad connection, so it is tried again for seconds.
                continue;
            }
            let result = pull(&test.store, &host).await;
            let tag = path.contains("manifests")
                || path.ends_with(&Digest::of(&good.last().unwrap().1).hex());
            match result {
                Err(error) => assert!(
                    matches!(
                        error,
                        ImageError::Corrupt { .. } | ImageError::BadManifest { .. }
                    ),
                    "{path} {change}: {error}"
                ),
                Ok(_) => assert!(tag, "{path} {change} was accepted"),
            }
            test.assert_nothing_unfinished();
            if !tag {
                assert_eq!(test.names("blobs").len(), 0, "{path} {change}");
            }
        }
    }
}

#[tokio::test]
async fn answers_without_end_are_cut_off() {
    let host = serve(|_| async {
        let mut answer = Answer::ok(vec![b' '; 64 << 10]);
        answer.endless = true;
        answer
    })
    .await;
    let test = TestStore::new();
    let text = pull(&test.store, &host).await.unwrap_err().to_string();
    assert!(text.contains("larger than"), "{text}");
}

#[tokio::test]
async fn errors_say_what_a_user_can_do_something_about() {
    let cases = [
        (
            404,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            "not found: manifest unknown",
        ),
        (401, "", "pull access denied"),
        (
            403,
            r#"{"errors":[{"code":"DENIED","message":"no"}]}"#,
            "pull access denied",
        ),
        (
            429,
            r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#,
            "TOOMANYREQUESTS",
        ),
        (500, "<html>", "500"),
        (200, "<html>", "cannot be used"),
    ];
    for (status, body, part) in cases {
        let host = serve(move |_| async move { Answer::status(status, body) }).await;
        let test = TestStore::new();
        let text = pull(&test.store, &host).await.unwrap_err().to_string();
        assert!(text.contains(part), "{status}: {text}");
    }
    let test = TestStore::new();
    let error = pull(&test.store, "127.0.0.1:1").await.unwrap_err();
    assert_eq!(error.waiting_reason(), "RegistryUnavailable");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_token_is_fetched_with_the_right_credentials_and_scope() {
    let contents = contents(&image(&[&[("a", "1")]]));
    let host: Arc<std::sync::OnceLock<String>> = Arc::default();
    let own = host.clone();
    let address = serve(move |request: Request| {
        let answer = if request.path.starts_with("/token?") {
            let scope = request.path.contains("scope=repository%3Ademo%3Apull");
            // base64 of me:secret
            match request.header("authorization") {
                Some("Basic bWU6c2VjcmV0") if scope => Answer::ok(r#"{"access_token":"abc"}"#),
                _ => Answer::status(401, ""),
            }
        } else if request.header("authorization") == Some("Bearer abc") {
            find(&contents, &request)
        } else {
            let realm = format!("http://{}/token", own.get().unwrap());
            let challenge = format!(r#"Bearer realm="{realm}",service="s""#);
            Answer::status(401, "").header("WWW-Authenticate", challenge)
        };
        async move { answer }
    })
    .await;
    host.set(address.clone()).unwrap();
    let test = TestStore::new();
    let error = pull(&test.store, &address).await.unwrap_err();
    assert!(matches!(error, ImageError::Unauthorized { .. }), "{error}");

    let mut keyring = Keyring::default();
    let basic = |password: &str| Credential::Basic {
        username: "me".into(),
        password: password.into(),
    };
    keyring.add(&address, basic("wrong"));
    keyring.add(&address, basic("secret"));
    let options = PullOptions {
        keyring,
        ..PullOptions::default()
    };
    let reference = Reference::parse(&format!("{address}/demo:v1")).unwrap();
    test.store.pull(&reference, options).await.unwrap();
}

#[tokio::test]
async fn pulls_at_the_same_time_share_the_download() {
    let contents = contents(&image(&[&[("a", &noise(100_000))]]));
    let layer = layer_path(&contents);
    let downloads = Arc::new(AtomicUsize::new(0));
    let counter = downloads.clone();
    let host = serve(move |request: Request| {
        if request.path == layer {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        let answer = find(&contents, &request);
        async move { answer }
    })
    .await;
    let test = TestStore::new();
    let pulls = (0..8).map(|_| pull(&test.store, &host));
    for result in futures::future::join_all(pulls).await {
        result.unwrap();
    }
    assert_eq!(downloads.load(Ordering::SeqCst), 1);
    test.assert_nothing_unfinished();
}

#[tokio::test]
async fn a_cancelled_pull_is_finished_by_the_next_one() {
    let contents = contents(&image(&[&[("a", &noise(400_000))]]));
    let layer = layer_path(&contents);
    let asked = Arc::new(tokio::sync::Notify::new());
    let (told, attempts) = (asked.clone(), AtomicUsize::new(0));
    let host = serve(move |request: Request| {
        let mut answer = find(&contents, &request);
        let stuck = request.path == layer && attempts.fetch_add(1, Ordering::SeqCst) == 0;
        if stuck {
            answer.cut = Some(1000);
            told.notify_one();
        }
        async move {
            if stuck {
                std::future::pending::<()>().await;
            }
            answer
        }
    })
    .await;
    let test = TestStore::new();
    tokio::select! {
        result = pull(&test.store, &host) => panic!("{result:?}"),
        () = asked.notified() => {}
    }
    pull(&test.store, &host).await.unwrap();
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_the_registry_when_it_has_nothing() {
    let contents = contents(&image(&[&[("a", "1")]]));
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = asked.clone();
    let mirror = serve(move |request: Request| {
        seen.lock().unwrap().push(request.path);
        async { Answer::status(404, "") }
    })
    .await;
    let host = serve(move |request| {
        let answer = find(&contents, &request);
        async move { answer }
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        registries: vec![RegistryConfig {
            host: host.clone(),
            mirrors: vec![mirror],
            ..RegistryConfig::default()
        }],
        ..StoreOptions::default()
    };
    let store = ImageStore::open_with(directory.path(), options).unwrap();
    pull(&store, &host).await.unwrap();
    assert_eq!(
        *asked.lock().unwrap(),
        [format!("/v2/demo/manifests/v1?ns={host}")]
    );
}
