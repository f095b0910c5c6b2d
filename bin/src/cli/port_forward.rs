//! `port-forward`: local ports that lead into a pod.

use super::failure::{Failure, Outcome, fail};
use super::interact::feed;
use super::pods::{self, PodHandle};
use super::session::Session;
use bytes::Bytes;
use kabuki_protocol::node::{CHUNK_BYTES, FromNode, NodeRequest};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Arguments of `port-forward`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Local port 8080 leads to port 80 of the pod\n  \
    kabuki port-forward pod/web-1 8080:80\n\n  \
    # Any free local port, of a Deployment's pod\n  \
    kabuki port-forward deploy/web :80")]
pub struct ForwardArgs {
    /// POD, or TYPE/NAME of a workload
    #[arg(value_name = "POD")]
    what: String,
    /// PORT, LOCAL:REMOTE or :REMOTE; REMOTE may be the name of a container's port
    #[arg(required = true, value_name = "PORT")]
    ports: Vec<String>,
    /// Where to listen: addresses or `localhost`
    #[arg(
        long,
        default_value = "localhost",
        value_delimiter = ',',
        value_name = "ADDRESS"
    )]
    address: Vec<String>,
}

/// Runs `port-forward`.
pub async fn run(session: &Session, args: ForwardArgs) -> Outcome {
    let pod = pods::one_of(session, std::slice::from_ref(&args.what)).await?;
    if pod.phase() != "Running" {
        fail!(
            "unable to forward port because pod is not running. Current status={}",
            pod.phase()
        );
    }
    let mut listeners = Vec::new();
    for written in &args.ports {
        let (local, remote) = ports(&pod, written)?;
        for address in &args.address {
            listeners.extend(listen(session, address, local, remote).await?);
        }
    }
    let accepting = listeners.into_iter().map(|(listener, local, remote)| {
        let pod = &pod;
        async move { accept(session, pod, &listener, local, remote).await }
    });
    futures::future::try_join_all(accepting).await.map(drop)
}

/// The local and the remote port of `PORT`, `LOCAL:REMOTE` or `:REMOTE`.
fn ports(pod: &PodHandle, written: &str) -> Outcome<(u16, u16)> {
    let number = |text: &str| {
        let port: Option<u16> = text.parse().ok().filter(|p| *p > 0);
        port.ok_or_else(|| Failure::new(format!("{written:?} is no PORT, LOCAL:REMOTE or :REMOTE")))
    };
    let remote = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => number(text),
        false => named_port(pod, text),
    };
    match written.split_once(':') {
        None => {
            let port = remote(written)?;
            Ok((port, port))
        }
        Some(("" | "0", to)) => Ok((0, remote(to)?)),
        Some((from, to)) => Ok((number(from)?, remote(to)?)),
    }
}

fn named_port(pod: &PodHandle, name: &str) -> Outcome<u16> {
    let containers = pod.object.spec.iter().flat_map(|s| s.containers.iter());
    let mut ports = containers.flat_map(|c| c.ports.iter().flatten());
    let found = ports.find(|p| p.name.as_deref() == Some(name));
    let missing = || Failure::new(format!("pod {} has no port named {name:?}", pod.pod.name));
    found
        .and_then(|p| u16::try_from(p.container_port).ok())
        .ok_or_else(missing)
}

/// Listens on one address, or for `localhost` on both loopbacks, of which one must work.
async fn listen(
    session: &Session,
    address: &str,
    local: u16,
    remote: u16,
) -> Outcome<Vec<(TcpListener, u16, u16)>> {
    let both = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let addresses = match address.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) if address == "localhost" => both.to_vec(),
        Err(_) => fail!("--address {address:?} is neither an address nor localhost"),
    };
    let (mut listeners, mut port, mut failure) = (Vec::new(), local, None);
    for address in addresses {
        match TcpListener::bind(SocketAddr::new(address, port)).await {
            Ok(listener) => {
                let at = listener.local_addr()?;
                // Where any port will do, both loopbacks get the same.
                port = at.port();
                session
                    .out
                    .line(format!("Forwarding from {at} -> {remote}"))?;
                listeners.push((listener, port, remote));
            }
            Err(error) => failure = Some(error),
        }
    }
    match (listeners.is_empty(), failure) {
        (true, Some(error)) => fail!(
            "unable to listen on port {local} of {address}: {error}; choose another local port, \
             or let one be chosen with :{remote}"
        ),
        _ => Ok(listeners),
    }
}

async fn accept(
    session: &Session,
    pod: &PodHandle,
    listener: &TcpListener,
    local: u16,
    remote: u16,
) -> Outcome {
    loop {
        let (socket, _) = listener.accept().await?;
        session
            .out
            .line(format!("Handling connection for {local}"))?;
        let request = NodeRequest::PortForward {
            pod: pod.pod.clone(),
            port: remote,
        };
        let stream = session.stream(Some(pod.node()?), request).await?;
        let out = session.out.clone();
        let name = pod.pod.name.clone();
        tokio::spawn(async move {
            if let Err(why) = carry(socket, stream).await {
                out.note(format!(
                    "an error occurred forwarding {local} -> {remote} of pod {name}: {why}"
                ));
            }
        });
    }
}

/// Carries bytes both ways until the pod's side ends.
async fn carry(socket: TcpStream, stream: kabuki_protocol::NodeStream) -> Result<(), String> {
    let (mut from_local, mut to_local) = socket.into_split();
    let mut output = stream.output;
    let (chunks, read) = mpsc::channel(4);
    let reading = tokio::spawn(async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = from_local.read(&mut buffer).await {
            if chunks
                .send(Bytes::copy_from_slice(&buffer[..count]))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    let feeding = tokio::spawn(feed(read, stream.input));
    let outcome = loop {
        match output.recv().await {
            Some(FromNode::Output(bytes)) => {
                // The local side has gone: nobody is left to tell.
                if to_local.write_all(&bytes).await.is_err() {
                    break Ok(());
                }
            }
            Some(FromNode::Done(Ok(_))) => break Ok(()),
            Some(FromNode::Done(Err(error))) => break Err(error.to_string()),
            Some(_) => {}
            None => break Err("the connection to the node was lost".to_string()),
        }
    };
    let _ = to_local.shutdown().await;
    reading.abort();
    feeding.abort();
    outcome
}
