//! Hostile and broken clients of the client port: each is shut out, none costs much, and the
//! others are served meanwhile.

use super::rss_kib;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kabuki_model::Resource;
use kabuki_model::request::ListRequest;
use kabuki_model::watch::{WatchRequest, WatchStart};
use kabuki_net::{Netns, dial};
use kabuki_plane::pki::{Authority, Issued};
use kabuki_protocol::client::Client;
use kabuki_protocol::frame;
use kabuki_protocol::session::{ALPN, Call, ClientFrame, MAX_OPEN_CALLS, ServerFrame, VERSION};
use kabuki_tests::harness::{Daemon, Session};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto, version};

/// What the daemon may grow by whatever clients do to it.
const MAX_GROWTH_KIB: u64 = 48 << 10;
/// More than the daemon gives a client for its handshake or first word.
const PATIENCE: Duration = Duration::from_secs(25);

async fn connect(node: &Daemon) -> TcpStream {
    let netns = Netns::open(format!("/run/netns/{}", node.host().name())).expect("the host");
    dial(&netns, node.address(), Duration::from_secs(5))
        .await
        .expect("connects")
}

/// TLS with the node, which is who it says; `who` is the client's certificate.
async fn tls(
    node: &Daemon,
    who: Option<&Issued>,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let ca = std::fs::read(node.data_dir().join("pki/ca.crt")).expect("the CA");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&ca).expect("a certificate"))
        .expect("a CA");
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    let mut config = match who {
        None => config.with_no_client_auth(),
        Some(issued) => {
            let chain = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("a key");
            let chain = vec![chain.expect("a certificate")];
            config.with_client_auth_cert(chain, key).expect("they fit")
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::from(node.address().ip());
    TlsConnector::from(Arc::new(config))
        .connect(name, connect(node).await)
        .await
}

/// Whether someone gets as far as a session.
async fn is_let_in(node: &Daemon, who: Option<&Issued>, alpn: &[u8]) -> bool {
    match tls(node, who, alpn).await {
        Err(_) => false,
        Ok(stream) => Client::open(stream, "stranger").await.is_ok(),
    }
}

fn issue(node: &Daemon, user: &str, groups: &[&str]) -> Issued {
    let part = |name: &str| {
        let path = format!("jsonpath={{.data.{}}}", name.replace('.', "\\."));
        let args = [
            "get",
            "secret",
            "kabuki-ca",
            "-n",
            "kube-system",
            "-o",
            &path,
        ];
        let pem = STANDARD.decode(node.ok(&args)).expect("base64");
        String::from_utf8(pem).expect("PEM")
    };
    let authority = Authority::from_pem(&part("ca.crt"), &part("ca.key")).expect("the CA");
    authority.client(user, groups).expect("a certificate")
}

/// Opens a session by hand, up to the welcome.
async fn greeted(node: &Daemon, who: &Issued) -> TlsStream<TcpStream> {
    let mut stream = tls(node, Some(who), ALPN).await.expect("a handshake");
    let hello = ClientFrame::Hello {
        version: VERSION,
        agent: "raw".into(),
    };
    frame::write(&mut stream, &hello).await.expect("writes");
    let welcome = frame::read::<ServerFrame>(&mut stream)
        .await
        .expect("reads");
    assert!(
        matches!(welcome, Some(ServerFrame::Welcome { .. })),
        "{welcome:?}"
    );
    stream
}

/// What the daemon says before it closes.
async fn goodbye(stream: &mut TlsStream<TcpStream>) -> String {
    loop {
        let next = tokio::time::timeout(PATIENCE, frame::read::<ServerFrame>(stream)).await;
        match next.expect("the daemon ends it") {
            Ok(Some(ServerFrame::Goodbye { reason })) => return reason,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return String::new(),
        }
    }
}

/// Waits until the daemon has closed a connection.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the daemon keeps the connection");
}

/// Does something to a node while another client works, and looks at the cost.
fn under_watch<F: Future<Output = ()>>(node: &Daemon, attack: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let before = rss_kib(node);
        let other = Session::open(node).await.expect("a session");
        let work = async {
            let mut served = 0u32;
            loop {
                let read = other.get(Resource::NAMESPACES, "default");
                let read = tokio::time::timeout(Duration::from_secs(5), read).await;
                assert!(
                    read.is_ok_and(|r| r.is_ok_and(|o| o.is_some())),
                    "not served meanwhile"
                );
                served += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
                if served.is_multiple_of(20) {
                    let newcomer =
                        tokio::time::timeout(Duration::from_secs(5), Session::open(node));
                    assert!(
                        newcomer.await.is_ok_and(|s| s.is_ok()),
                        "nobody new is let in"
                    );
                }
            }
        };
        tokio::select! {
            () = attack() => {}
            () = work => {}
        }
        let grown = rss_kib(node).saturating_sub(before);
        assert!(grown < MAX_GROWTH_KIB, "the daemon grew by {grown} KiB");
        Session::open(node).await.expect("a new session afterwards");
    });
}

#[test]
fn only_certificates_of_the_cluster_are_let_in() {
    let node = Daemon::start();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let stranger = Authority::open(elsewhere.path()).expect("another CA");
    let stranger = stranger
        .client("kabuki-admin", &["system:masters"])
        .expect("a certificate");
    let good = issue(&node, "jo", &[]);
    under_watch(&node, || async {
        assert!(is_let_in(&node, Some(&good), ALPN).await);
        assert!(!is_let_in(&node, None, ALPN).await, "without a certificate");
        assert!(
            !is_let_in(&node, Some(&stranger), ALPN).await,
            "of another CA"
        );
        assert!(
            !is_let_in(&node, Some(&good), b"h2").await,
            "another protocol"
        );
        assert!(
            !is_let_in(&node, Some(&good), b"kabuki/9").await,
            "an unknown protocol"
        );
    });
}

#[test]
fn garbage_and_slow_handshakes_cost_only_their_own_connection() {
    let node = Daemon::start();
    under_watch(&node, || async {
        let mut slow = Vec::new();
        for _ in 0..600 {
            slow.push(connect(&node).await);
        }
        // The first bytes of a TLS record, and never the rest.
        for stream in slow.iter_mut().take(300) {
            let _ = stream
                .write_all(&[0x16, 0x03, 0x01, 0x40, 0x00, 0x01])
                .await;
        }
        for _ in 0..20 {
            let mut stream = connect(&node).await;
            let _ = stream
                .write_all(&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2000))
                .await;
            closed(&mut stream).await;
        }
        for stream in &mut slow {
            closed(stream).await;
        }
    });
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_so_and_shut_out() {
    let node = Daemon::start();
    let jo = issue(&node, "jo", &[]);
    under_watch(&node, || async {
        for length in [u32::MAX, 1 << 30, (4 << 20) + 1] {
            let mut stream = greeted(&node, &jo).await;
            stream
                .write_all(&length.to_be_bytes())
                .await
                .expect("writes");
            let why = goodbye(&mut stream).await;
            assert!(why.contains("larger than the limit"), "{length}: {why:?}");
        }
        let mut stream = greeted(&node, &jo).await;
        stream
            .write_all(&[0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff])
            .await
            .expect("writes");
        let why = goodbye(&mut stream).await;
        assert!(why.contains("no message of the protocol"), "{why:?}");
    });
}

#[test]
fn a_client_with_too_many_calls_is_shut_out() {
    let node = Daemon::start();
    let jo = issue(&node, "jo", &[]);
    under_watch(&node, || async {
        let mut stream = greeted(&node, &jo).await;
        for id in 0..=MAX_OPEN_CALLS as u32 {
            let selection = ListRequest::all(Resource::PODS, None);
            let watch = WatchRequest {
                selection,
                start: WatchStart::List,
                bookmarks: true,
            };
            let call = ClientFrame::Call {
                id,
                call: Call::Watch(watch),
            };
            if frame::write(&mut stream, &call).await.is_err() {
                break;
            }
        }
        let why = goodbye(&mut stream).await;
        assert!(
            why.contains(&format!("more than {MAX_OPEN_CALLS} calls")),
            "{why:?}"
        );
    });
}

/// A kubeconfig for a certificate.
fn kubeconfig(node: &Daemon, who: &Issued) -> String {
    let ca = std::fs::read_to_string(node.data_dir().join("pki/ca.crt")).expect("the CA");
    let encoded = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster:\n    \
         server: https://{}\n    certificate-authority-data: {}\ncontexts:\n- name: c\n  context: \
         {{cluster: c, user: u}}\nusers:\n- name: u\n  user:\n    client-certificate-data: {}\n    \
         client-key-data: {}\n",
        node.address(),
        encoded(&ca),
        encoded(&who.certificate_pem),
        encoded(&who.key_pem)
    )
}

#[test]
fn a_user_who_is_no_administrator_reads_but_does_not_write() {
    let node = super::node_with_busybox();
    node.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: steady}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - name: main\n    image: busybox\n    \
         imagePullPolicy: IfNotPresent\n    command: [sh, -c, 'echo hello; sleep 1000']\n",
    );
    node.ok(&[
        "wait",
        "--for=condition=Ready",
        "pod/steady",
        "--timeout=30s",
    ]);
    node.ok(&[
        "create",
        "secret",
        "generic",
        "keys",
        "--from-literal=token=hunter2",
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jo.kubeconfig");
    std::fs::write(&path, kubeconfig(&node, &issue(&node, "jo", &["readers"]))).expect("writes");
    let path = super::text(&path);
    let as_jo = |args: &[&str]| node.cli(&[&["--kubeconfig", path], args].concat());

    for may in [
        &["get", "pods"] as &[&str],
        &["get", "nodes", "-o", "wide"],
        &["get", "configmaps", "-A"],
    ] {
        let outcome = as_jo(may);
        assert_eq!(outcome.code, 0, "{may:?}: {outcome:?}");
    }
    for may_not in [
        &["create", "configmap", "mine"] as &[&str],
        &["delete", "pod", "steady"],
        &["label", "pod", "steady", "a=b"],
        &["get", "secrets"],
        &["get", "secret", "keys", "-o", "yaml"],
        &["exec", "steady", "--", "true"],
        &["image", "pull", "127.0.0.1:5000/x"],
        &["actors", "--kill", "node/plane/gateway"],
    ] {
        let outcome = as_jo(may_not);
        assert_ne!(outcome.code, 0, "{may_not:?}: {outcome:?}");
        assert!(
            outcome.err.contains("\"jo\" cannot"),
            "{may_not:?}: {outcome:?}"
        );
        assert!(!outcome.out.contains("hunter2"));
    }
    assert_eq!(node.value("pod/steady", "{.metadata.labels.a}"), "");
}
