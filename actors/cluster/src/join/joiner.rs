//! The joiner's side.

use super::verifier::{TokenVerifier, Verdict, good_at};
use super::{ADMIT_LIMIT, JoinError, MAX_FRAME_BYTES, Token};
use crate::authority::PkiError;
use crate::certificate;
use crate::credentials::{Credentials, NodeKey, provider};
use crate::member::{self, Member};
use crate::socket;
use kabuki_protocol::frame;
use kabuki_protocol::join::{
    ALPN, JoinHello, JoinRefusal, JoinRequest, Joined, MAX_CLOCK_SKEW_S, Role, VersionRange,
};
use rustls_pki_types::ServerName;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{self, ClientConfig};

/// How long a member may take to answer at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long TLS and the hello may take.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// What a machine wants to be.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Where its credentials and its membership will lie.
    pub data_dir: PathBuf,
    /// The name that it wants.
    pub name: String,
    /// The role that it wants; `None` leaves it to the cluster.
    pub role: Option<Role>,
    /// The host under which others reach it; `None` is the address from which it reaches the
    /// cluster.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// Every address of the machine, for a server's certificate.
    pub host_addresses: Vec<IpAddr>,
    /// Labels for its Node object.
    pub labels: BTreeMap<String, String>,
    /// Taints for its Node object, as JSON.
    pub taints_json: Vec<String>,
    /// The program's version, for people.
    pub program: String,
    /// What the program speaks.
    pub versions: VersionRange,
}

/// A node that has just joined: everything is on disk.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// Its membership.
    pub member: Member,
    /// Its credentials.
    pub credentials: Credentials,
    /// Where others reach it: `HOST:PORT`.
    pub address: String,
    /// What the cluster granted.
    pub joined: Joined,
}

/// Joins through the first of `addresses` (`HOST:PORT`) that works. A refusal by the cluster is
/// final; anything else is tried with the next address.
pub async fn join(addresses: &[String], token: &Token, wish: &Wish) -> Result<Newcomer, JoinError> {
    let key = NodeKey::of(&wish.data_dir)?;
    let csr_pem = key.csr_pem(&wish.name)?;
    let mut failures = Vec::new();
    let mut granted = None;
    for address in addresses {
        match ask(address, token, wish, &csr_pem).await {
            Ok(answer) => {
                granted = Some(answer);
                break;
            }
            Err(error) if error.is_final() => return Err(error),
            Err(error) => failures.push(error),
        }
    }
    let Some((joined, address)) = granted else {
        return Err(match failures.len() {
            0 => JoinError::NoAddress,
            1 => failures.remove(0),
            _ => JoinError::All(failures),
        });
    };
    let (certificate, bundle) = (&joined.certificate_pem, &joined.bundle_pem);
    let named = certificate::only_of_pem(certificate).ok();
    let named = named.and_then(|certificate| certificate::identity_of(&certificate));
    if named
        .and_then(|who| who.node_name().map(str::to_string))
        .as_ref()
        != Some(&wish.name)
    {
        let why = "it does not name this node".to_string();
        return Err(PkiError::Misfit { why }.into());
    }
    let credentials =
        Credentials::create(&wish.data_dir, key, certificate, bundle, &joined.seal_key)?;
    let member = Member {
        version: member::VERSION,
        cluster_id: joined.cluster_id.clone(),
        name: wish.name.clone(),
        role: joined.role,
        server_id: joined.server_id,
        pod_cidr: joined.pod_cidr.clone(),
        cluster_cidr: joined.cluster_cidr.clone(),
        service_cidr: joined.service_cidr.clone(),
        servers: joined.servers.clone(),
    };
    member.save(&wish.data_dir)?;
    Ok(Newcomer {
        member,
        credentials,
        address,
        joined,
    })
}

/// Asks one member. Gives what was granted, and where others reach this node.
async fn ask(
    address: &str,
    token: &Token,
    wish: &Wish,
    csr_pem: &str,
) -> Result<(Joined, String), JoinError> {
    let stream = connect(address).await?;
    let own_ip = stream.local_addr().map(|own| own.ip());
    let hello = tokio::time::timeout(HELLO_LIMIT, greet(address, token, stream)).await;
    let (mut stream, hello) = hello.unwrap_or_else(|_| {
        Err(JoinError::NotKabuki {
            address: address.to_string(),
            why: format!("it said nothing for {} s", HELLO_LIMIT.as_secs()),
        })
    })?;
    let lost = |why: String| JoinError::Lost {
        address: address.to_string(),
        why,
    };
    let now_s = jiff::Timestamp::now().as_second();
    check_clock(now_s, &hello)?;
    check_versions(wish, &hello)?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    good_at(chain, token.ca_sha256(), hello.now_s).map_err(|why| JoinError::Certificate {
        address: address.to_string(),
        why,
    })?;
    let own_address = match &wish.host {
        Some(host) => host_port(host, wish.port),
        None => {
            let ip = own_ip.map_err(|e| lost(e.to_string()))?;
            std::net::SocketAddr::new(ip.to_canonical(), wish.port).to_string()
        }
    };
    let request = JoinRequest {
        token_id: token.id().to_string(),
        token_secret: token.secret().to_string(),
        name: wish.name.clone(),
        role: wish.role,
        csr_pem: csr_pem.to_string(),
        now_s,
        program: wish.program.clone(),
        versions: wish.versions,
        address: own_address.clone(),
        host_addresses: wish.host_addresses.clone(),
        labels: wish.labels.clone(),
        taints_json: wish.taints_json.clone(),
    };
    let exchange = async {
        frame::write(&mut stream, &request)
            .await
            .map_err(|e| lost(described(&e)))?;
        let answer = read::<Result<Joined, JoinRefusal>>(&mut stream).await;
        answer.map_err(lost)
    };
    let answer = tokio::time::timeout(ADMIT_LIMIT + HELLO_LIMIT, exchange).await;
    let answer = answer.unwrap_or_else(|_| Err(lost("it did not answer in time".to_string())))?;
    Ok((answer?, own_address))
}

async fn connect(address: &str) -> Result<TcpStream, JoinError> {
    let unreachable = |why: String| JoinError::Unreachable {
        address: address.to_string(),
        why,
    };
    let not_an_address = |why: String| JoinError::Address {
        address: address.to_string(),
        why,
    };
    let connecting = async {
        let found = tokio::net::lookup_host(address).await;
        let found: Vec<_> = found.map_err(|e| not_an_address(e.to_string()))?.collect();
        if found.is_empty() {
            return Err(not_an_address("its name has no address".to_string()));
        }
        TcpStream::connect(found.as_slice())
            .await
            .map_err(|error| match error.kind() {
                ErrorKind::ConnectionRefused => JoinError::ConnectionRefused {
                    address: address.to_string(),
                },
                _ => unreachable(error.to_string()),
            })
    };
    let stream = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
    let stream = stream.unwrap_or_else(|_| {
        let seconds = CONNECT_LIMIT.as_secs();
        Err(unreachable(format!("nothing answers within {seconds} s")))
    })?;
    socket::tune(&stream);
    Ok(stream)
}

/// TLS by the token, and the server's first word.
async fn greet(
    address: &str,
    token: &Token,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, JoinHello), JoinError> {
    let not_kabuki = |why: String| JoinError::NotKabuki {
        address: address.to_string(),
        why,
    };
    let verifier = Arc::new(TokenVerifier::new(token.ca_sha256()));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| not_kabuki(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Any name will do: the verifier does not look at it, because the joiner knows none.
    let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let mut stream = match (connecting.await, verifier.verdict()) {
        (Ok(stream), _) => stream,
        (Err(_), Some(Verdict::OtherCluster)) => {
            return Err(JoinError::OtherCluster {
                address: address.to_string(),
            });
        }
        (Err(_), Some(Verdict::NotAServer)) => {
            return Err(JoinError::NotAServer {
                address: address.to_string(),
            });
        }
        (Err(error), None) => return Err(not_kabuki(error.to_string())),
    };
    let hello = read::<JoinHello>(&mut stream).await.map_err(not_kabuki)?;
    Ok((stream, hello))
}

async fn read<T: DeserializeOwned>(stream: &mut TlsStream<TcpStream>) -> Result<T, String> {
    let message = frame::read(&mut stream.take(MAX_FRAME_BYTES)).await;
    match message {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err("it closed the connection".to_string()),
        Err(error) => Err(described(&error)),
    }
}

/// An error with its causes.
fn described(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn check_clock(now_s: i64, hello: &JoinHello) -> Result<(), JoinRefusal> {
    let ahead = now_s.saturating_sub(hello.now_s);
    let seconds = ahead.saturating_abs();
    if seconds <= MAX_CLOCK_SKEW_S {
        return Ok(());
    }
    let direction = match ahead > 0 {
        true => "ahead of",
        false => "behind",
    };
    Err(JoinRefusal::ClockSkew {
        seconds,
        direction: direction.to_string(),
    })
}

fn check_versions(wish: &Wish, hello: &JoinHello) -> Result<(), JoinRefusal> {
    let (own, theirs) = (wish.versions, hello.versions);
    if own.oldest <= theirs.newest && theirs.oldest <= own.newest {
        return Ok(());
    }
    Err(JoinRefusal::Version {
        joiner: wish.program.clone(),
        joiner_oldest: own.oldest,
        joiner_newest: own.newest,
        cluster: hello.program.clone(),
        oldest: theirs.oldest,
        newest: theirs.newest,
    })
}

fn host_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => std::net::SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}
