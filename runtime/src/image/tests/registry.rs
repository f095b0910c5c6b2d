//! The real registry and the real pushing tool, from Debian's packages.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use super::{
    super::{Keyring, PullOptions, Reference, RegistryConfig, StoreOptions},
    *,
};

/// A `docker-registry` process on a loopback port with its own directory.
struct Registry {
    process: Child,
    host: String,
    directory: TempDir,
}

impl Registry {
    fn start(login: Option<(&str, &str)>) -> Self {
        Self::start_with(login, None)
    }

    /// With a PEM file of certificate and key it speaks TLS.
    fn start_with(login: Option<(&str, &str)>, certificate: Option<&Path>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let host = format!("127.0.0.1:{port}");
        let data = directory.path().join("data");
        let mut config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: '{host}'\n",
            data.display()
        );
        if let Some(certificate) = certificate {
            let path = certificate.display();
            config.push_str(&format!("  tls: {{certificate: {path}, key: {path}}}\n"));
        }
        if let Some((user, password)) = login {
            let path = directory.path().join("htpasswd");
            let line = Command::new("htpasswd")
                .args(["-Bbn", user, password])
                .output()
                .unwrap();
            assert!(line.status.success());
            fs::write(&path, line.stdout).unwrap();
            let path = path.display();
            config.push_str(&format!(
                "auth: {{htpasswd: {{realm: test, path: {path}}}}}\n"
            ));
        }
        let path = directory.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut registry = Self {
            process,
            host,
            directory,
        };
        while TcpStream::connect(&registry.host).is_err() {
            assert!(
                registry.process.try_wait().unwrap().is_none(),
                "the registry has stopped"
            );
            std::thread::yield_now();
        }
        registry
    }

    fn push(&self, builder: &ImageBuilder, name: &str, arguments: &[&str]) {
        let archive = self.directory.path().join("push.tar");
        fs::write(&archive, packed(builder, &[])).unwrap();
        let output = Command::new("skopeo")
            .args([
                "copy",
                "--quiet",
                "--insecure-policy",
                "--dest-tls-verify=false",
            ])
            .args(arguments)
            .arg(format!("oci-archive:{}", archive.display()))
            .arg(format!("docker://{}/{name}", self.host))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn reference(&self, name: &str) -> Reference {
        Reference::parse(&format!("{}/{name}", self.host)).unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn images_are_pulled_from_a_real_registry_in_all_formats() {
    let registry = Registry::start(None);
    let builder = image(&[&[("a", "low"), ("b", "low")], &[("a", "top")]]);
    registry.push(&builder, "team/demo:oci", &[]);
    registry.push(
        &builder,
        "team/demo:zstd",
        &["--dest-compress-format", "zstd"],
    );
    registry.push(&builder, "team/demo:docker", &["--format", "v2s2"]);
    let test = TestStore::new();
    for tag in ["oci", "zstd", "docker"] {
        let reference = registry.reference(&format!("team/demo:{tag}"));
        let pulled = test
            .store
            .pull(&reference, PullOptions::default())
            .await
            .unwrap();
        assert!(
            pulled.repo_tags.contains(&reference.to_string()),
            "{pulled:?}"
        );
        assert_eq!(
            fs::read_to_string(pulled.layers[0].join("a")).unwrap(),
            "top"
        );
    }
    // The content is the same whatever its wrapping.
    assert_eq!(test.names("layers").len(), 2);

    let pulled = test
        .store
        .resolve(&registry.reference("team/demo:oci").to_string())
        .unwrap();
    let by_digest = Reference::parse(&pulled.unwrap().repo_digests[0]).unwrap();
    let other = TestStore::new();
    let pulled = other
        .store
        .pull(&by_digest, PullOptions::default())
        .await
        .unwrap();
    assert_eq!(pulled.repo_digests, [by_digest.to_string()]);
    assert_eq!(
        other.store.resolve(&by_digest.to_string()).unwrap(),
        Some(pulled)
    );

    let missing = registry.reference("team/demo:none");
    let error = other
        .store
        .pull(&missing, PullOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
    let foreign = image(&[&[("a", "x")]]).architecture("s390x");
    registry.push(&foreign, "foreign:v1", &[]);
    let reference = registry.reference("foreign:v1");
    let error = other
        .store
        .pull(&reference, PullOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ImageError::NoPlatform { .. }), "{error}");
}

#[tokio::test]
async fn a_pull_secret_opens_a_registry_that_wants_a_password() {
    let registry = Registry::start(Some(("me", "s3cret")));
    registry.push(
        &image(&[&[("a", "1")]]),
        "demo:v1",
        &["--dest-creds", "me:s3cret"],
    );
    let reference = registry.reference("demo:v1");
    let secret = |password: &str| {
        let mut keyring = Keyring::default();
        let host = &registry.host;
        let json =
            format!(r#"{{"auths": {{"{host}": {{"username": "me", "password": "{password}"}}}}}}"#);
        keyring.add_docker_config_json(json.as_bytes()).unwrap();
        PullOptions {
            keyring,
            ..PullOptions::default()
        }
    };
    let test = TestStore::new();
    for options in [PullOptions::default(), secret("wrong")] {
        let error = test.store.pull(&reference, options).await.unwrap_err();
        assert!(matches!(error, ImageError::Unauthorized { .. }), "{error}");
        assert!(!error.to_string().contains("wrong"));
    }
    test.store.pull(&reference, secret("s3cret")).await.unwrap();
}

#[tokio::test]
async fn an_own_certificate_authority_can_be_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let pem = directory.path().join("registry.pem");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=registry",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-addext", "extendedKeyUsage=serverAuth"])
        .args([
            "-keyout".as_ref(),
            pem.as_os_str(),
            "-out".as_ref(),
            pem.as_os_str(),
        ])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let text = fs::read_to_string(&pem).unwrap();
    let ca_file = directory.path().join("ca.pem");
    fs::write(
        &ca_file,
        &text[text.find("-----BEGIN CERTIFICATE").unwrap()..],
    )
    .unwrap();
    let registry = Registry::start_with(None, Some(&pem));
    registry.push(&image(&[&[("a", "1")]]), "demo:v1", &[]);

    let pull = async |skip_verify: bool, plain_http: Option<bool>, ca_file: Option<&Path>| {
        let store = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            registries: vec![RegistryConfig {
                host: registry.host.clone(),
                plain_http,
                skip_verify,
                mirrors: Vec::new(),
            }],
            ca_file: ca_file.map(Path::to_owned),
            ..StoreOptions::default()
        };
        let store = ImageStore::open_with(store.path(), options).unwrap();
        store
            .pull(&registry.reference("demo:v1"), PullOptions::default())
            .await
    };
    pull(false, Some(false), Some(&ca_file)).await.unwrap();
    pull(true, Some(false), None).await.unwrap();
    let error = pull(false, Some(false), None).await.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().to_lowercase().contains("certificate"),
        "{error}"
    );
    assert!(pull(false, None, None).await.is_err());
}
