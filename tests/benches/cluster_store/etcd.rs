//! Three etcd members like the servers they are compared with: each on a host of its own around a
//! switch, with its files on the same disk; and a client that speaks gRPC over one connection. Both
//! speak mutual TLS, as they do in a cluster of Kubernetes, or none at all.

use super::credentials::Credentials;
use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use kabuki_net::Netns;
use kabuki_tests::harness::{Host, Network, address};
use prost::Message;
use rustls_pki_types::ServerName;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// How many members there are.
const MEMBERS: usize = 3;
/// Until then the members must have a leader.
const LIMIT: Duration = Duration::from_secs(30);
/// Far more than answers take, so that no stream waits for the window.
const WINDOW: u32 = 1 << 20;
/// A message's prefix: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Three members.
pub struct Etcd {
    members: Vec<Member>,
    credentials: Option<Credentials>,
    _network: Network,
    _data: tempfile::TempDir,
}

struct Member {
    process: Child,
    host: Host,
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection to one member.
#[derive(Clone)]
pub struct Client {
    send: SendRequest<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    /// Off: reads are linearizable.
    #[prost(bool, tag = "7")]
    serializable: bool,
}

#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member_id: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
}

/// The version of the `etcd` on the PATH; `None` when there is none.
pub fn version() -> Option<String> {
    let output = std::process::Command::new("etcd").arg("--version").output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    Some(text.lines().next()?.replace("etcd Version: ", ""))
}

impl Etcd {
    /// Starts three members, with TLS or without, and waits until they have a leader, which is the
    /// first of them.
    pub async fn start(secured: bool) -> anyhow::Result<Self> {
        let network = Network::new();
        let data = tempfile::Builder::new().prefix("kbt").tempdir()?;
        let credentials = secured.then(|| Credentials::make(data.path(), MEMBERS));
        let credentials = credentials.transpose()?;
        let scheme = if secured { "https" } else { "http" };
        let clients = format!("{scheme}://127.0.0.1:2379");
        let peer = |n: usize| format!("{scheme}://{}:2380", address(n));
        let all: Vec<String> = (1..=MEMBERS).map(|n| format!("e{n}={}", peer(n))).collect();
        let mut members = Vec::new();
        for number in 1..=MEMBERS {
            let host = network.host(number);
            let log = std::fs::File::create(data.path().join(format!("e{number}.log")))?;
            let mut command = host.command("etcd");
            command.args(["--name", &format!("e{number}"), "--data-dir"]);
            command.arg(data.path().join(format!("e{number}")));
            command.args(["--listen-peer-urls", &peer(number)]);
            command.args(["--initial-advertise-peer-urls", &peer(number)]);
            command.args(["--listen-client-urls", &clients]);
            command.args(["--advertise-client-urls", &clients]);
            command.args(["--initial-cluster", &all.join(",")]);
            if let Some(credentials) = &credentials {
                credentials.demand(&mut command);
            }
            command
                .stdin(Stdio::null())
                .stderr(log.try_clone()?)
                .stdout(log);
            let process = command.spawn().context("etcd starts")?;
            members.push(Member { process, host });
        }
        let mut etcd = Self {
            members,
            credentials,
            _network: network,
            _data: data,
        };
        let leader = etcd.leader().await?;
        etcd.members.swap(0, leader);
        Ok(etcd)
    }

    /// The processes.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().map(|m| m.process.id()).collect()
    }

    /// Connections, spread over so many of the members, of which the first leads.
    pub async fn clients(&self, count: usize, over: usize) -> anyhow::Result<Vec<Client>> {
        let mut clients = Vec::new();
        for number in 0..count {
            clients.push(self.client(number % over).await?);
        }
        Ok(clients)
    }

    async fn client(&self, member: usize) -> anyhow::Result<Client> {
        let name = self.members[member].host.name();
        let host = Netns::open(format!("/run/netns/{name}"))?;
        let tcp = host.run(|| TcpStream::connect("127.0.0.1:2379")).await??;
        tcp.set_nonblocking(true)?;
        tcp.set_nodelay(true)?;
        let tcp = tokio::net::TcpStream::from_std(tcp)?;
        let Some(credentials) = &self.credentials else {
            return Client::over(tcp).await;
        };
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        Client::over(credentials.connector().connect(name, tcp).await?).await
    }

    async fn leader(&self) -> anyhow::Result<usize> {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            for number in 0..self.members.len() {
                let Ok(client) = self.client(number).await else {
                    continue;
                };
                if let Ok(true) = client.leads().await {
                    return Ok(number);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("etcd has no leader")
    }
}

impl Client {
    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> anyhow::Result<Self> {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW);
        builder.initial_connection_window_size(WINDOW);
        let (send, connection) = builder.handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { send })
    }

    /// Writes a value.
    pub async fn put(&self, key: &str, value: Bytes) -> anyhow::Result<()> {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let request = PutRequest { key, value };
        let answer: PutResponse = self.call("/etcdserverpb.KV/Put", &request).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        ensure!(revision > 0, "a write without a revision");
        Ok(())
    }

    /// Reads a value, linearizably.
    pub async fn get(&self, key: &str) -> anyhow::Result<Bytes> {
        let request = RangeRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            serializable: false,
        };
        let mut answer: RangeResponse = self.call("/etcdserverpb.KV/Range", &request).await?;
        Ok(answer.kvs.pop().context("the key is not there")?.value)
    }

    async fn leads(&self) -> anyhow::Result<bool> {
        let path = "/etcdserverpb.Maintenance/Status";
        let answer: StatusResponse = self.call(path, &StatusRequest {}).await?;
        let own = answer.header.map_or(0, |header| header.member_id);
        Ok(own != 0 && own == answer.leader)
    }

    async fn call<A: Message + Default>(
        &self,
        path: &str,
        question: &impl Message,
    ) -> anyhow::Result<A> {
        let request = http::Request::post(format!("http://etcd{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let length = question.encoded_len();
        let mut message = BytesMut::with_capacity(PREFIX_BYTES + length);
        message.put_u8(0);
        message.put_u32(u32::try_from(length)?);
        question.encode(&mut message)?;
        let mut send = self.send.clone().ready().await?;
        let (answer, mut body) = send.send_request(request, false)?;
        body.send_data(message.freeze(), true)?;
        let mut answer = answer.await?.into_body();
        let mut message = BytesMut::new();
        while let Some(part) = answer.data().await {
            let part = part?;
            answer.flow_control().release_capacity(part.len())?;
            message.extend_from_slice(&part);
        }
        let trailers = answer.trailers().await?.unwrap_or_default();
        let status = trailers.get("grpc-status").map(|s| s.as_bytes());
        ensure!(status == Some(b"0"), "etcd refused: {trailers:?}");
        let message = message.get(PREFIX_BYTES..).context("no answer")?;
        Ok(A::decode(message)?)
    }
}
