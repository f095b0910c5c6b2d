//! A cluster of ports on the loopback: one CA, nodes with credentials, and a directory that tests
//! change.

use kabuki_cluster::authority::{Authority, Issued};
use kabuki_cluster::credentials::{Credentials, NodeKey};
use kabuki_cluster::seams::{Directory, Door, Visitor};
use kabuki_cluster::{Doors, Port, certificate};
use kabuki_kit::{ChildSpec, Root, Strategy, SupervisorSpec, Tree};
use kabuki_protocol::join::{Role, ServerAddress};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsConnector, rustls};

pub const LIMIT: Duration = Duration::from_secs(20);

/// One CA, a folder, and who is where.
pub struct World {
    pub authority: Authority,
    pub map: Arc<Map>,
    dir: tempfile::TempDir,
}

/// Who is where, as every node of the test knows it.
#[derive(Default)]
pub struct Map {
    inner: Mutex<Places>,
}

#[derive(Default)]
pub struct Places {
    pub servers: BTreeMap<String, String>,
    pub addresses: BTreeMap<String, String>,
    pub members: BTreeSet<(String, String)>,
    pub leader: Option<String>,
}

impl Map {
    pub fn places(&self) -> MutexGuard<'_, Places> {
        self.inner.lock().expect("the map")
    }

    pub fn server(&self, name: &str, address: SocketAddr) {
        let mut places = self.places();
        places.servers.insert(name.into(), address.to_string());
        places.addresses.insert(name.into(), address.to_string());
    }
}

impl Directory for Map {
    fn servers(&self) -> Vec<ServerAddress> {
        let places = self.places();
        let servers = places.servers.iter().enumerate();
        let servers = servers.map(|(n, (name, address))| ServerAddress {
            name: name.clone(),
            address: address.clone(),
            server_id: n as u64 + 1,
        });
        servers.collect()
    }

    fn address(&self, node: &str) -> Option<String> {
        self.places().addresses.get(node).cloned()
    }

    fn is_member(&self, node: &str, key_sha256: &str) -> bool {
        let member = (node.to_string(), key_sha256.to_string());
        self.places().members.contains(&member)
    }

    fn leader(&self) -> Option<String> {
        self.places().leader.clone()
    }
}

impl World {
    pub fn new() -> Self {
        Self::of(Authority::generate().expect("a CA"))
    }

    pub fn of(authority: Authority) -> Self {
        Self {
            authority,
            map: Arc::default(),
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A member with its credentials.
    pub fn node(&self, name: &str, role: Role) -> Credentials {
        let credentials = self.stranger(name, role);
        let member = (name.to_string(), credentials.key_sha256().to_string());
        self.map.places().members.insert(member);
        credentials
    }

    /// Somebody with a good certificate who is no member.
    pub fn stranger(&self, name: &str, role: Role) -> Credentials {
        let dir = self
            .dir
            .path()
            .join(format!("{name}-{}", rand::random::<u32>()));
        let key = NodeKey::of(&dir).expect("a key");
        let csr = key.csr_pem(name).expect("a request");
        let certificate = self.authority.node_certificate(&csr, name, role, &[]);
        let certificate = certificate.expect("a certificate");
        let bundle = self.authority.certificate_pem();
        Credentials::create(&dir, key, &certificate, bundle, &[7; 32]).expect("credentials")
    }

    pub fn doors(&self) -> Doors {
        Doors::new(self.map.clone())
    }

    pub fn admin(&self) -> Issued {
        let issued = self.authority.client("kabuki-admin", &["system:masters"]);
        issued.expect("a certificate")
    }
}

/// A running port.
pub struct Running {
    pub address: SocketAddr,
    pub tree: Tree,
    pub port: Port,
    _root: Root,
}

pub async fn open(credentials: Credentials, doors: Doors) -> Running {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let port = Port::bind(loopback, credentials, doors)
        .await
        .expect("a port");
    let (tree, root) = run(port.child()).await;
    Running {
        address: port.address().expect("bound"),
        tree,
        port,
        _root: root,
    }
}

/// Runs an actor under a supervisor, for as long as the root lives.
pub async fn run(child: ChildSpec) -> (Tree, Root) {
    let tree = Tree::new();
    let spec = SupervisorSpec::new(Strategy::OneForOne)
        .never_give_up()
        .child(child);
    let root = Root::start(&tree, "node", spec).await.expect("it starts");
    (tree, root)
}

/// A door that keeps who comes.
pub struct Hall(mpsc::UnboundedSender<Visitor>);

pub fn hall() -> (Arc<dyn Door>, mpsc::UnboundedReceiver<Visitor>) {
    let (sender, visitors) = mpsc::unbounded_channel();
    (Arc::new(Hall(sender)), visitors)
}

impl Door for Hall {
    fn enter(&self, visitor: Visitor) {
        let _ = self.0.send(visitor);
    }
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen"),
    }
}

/// Dials as a client that trusts one CA, with a certificate or without.
pub async fn dial(
    address: SocketAddr,
    ca_pem: &str,
    client: Option<&Issued>,
    name: &str,
    alpns: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(certificate::only_of_pem(ca_pem).expect("a CA"))
        .expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match client {
        Some(issued) => {
            let chain = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes());
            let chain = vec![chain.expect("a certificate")];
            let with = builder.with_client_auth_cert(chain, key.expect("a key"));
            with.expect("they fit")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpns.iter().map(|a| a.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_string()).expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}
