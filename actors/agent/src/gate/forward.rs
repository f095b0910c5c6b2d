//! One TCP connection to a port inside a pod's network.

use super::{Ends, container, stream};
use crate::services::Services;
use bytes::Bytes;
use kabuki_model::StatusError;
use kabuki_net::{Netns, dial};
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{CHUNK_BYTES, FromNode, Outcome, PodRef, ToNode};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connecting within one machine takes far less.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// Connects to the pod's own localhost.
pub(super) async fn open(
    services: &Services,
    pod: &PodRef,
    port: u16,
) -> Result<NodeStream, StatusError> {
    let entry = container::pod(services, pod).await?;
    let shim = entry
        .shim()
        .ok_or_else(|| StatusError::bad_request("the pod does not run"))?;
    let host_network = entry.pod().spec.as_ref().and_then(|s| s.host_network) == Some(true);
    let netns = match host_network {
        true => Netns::current(),
        false => Netns::open(shim.netns_path()),
    };
    let failed = |error: kabuki_net::NetError| {
        StatusError::internal(format!("port forwarding to port {port}: {error}"))
    };
    let netns = netns.map_err(failed)?;
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
    let connected = match dial(&netns, v4, DIAL_LIMIT).await {
        Ok(connected) => connected,
        // Some servers listen on IPv6 only; the first refusal tells more.
        Err(error) => match dial(&netns, v6, DIAL_LIMIT).await {
            Ok(connected) => connected,
            Err(_) => return Err(failed(error)),
        },
    };
    let (caller, ends) = stream();
    tokio::spawn(serve(connected, ends));
    Ok(caller)
}

async fn serve(connection: TcpStream, ends: Ends) {
    let Ends { mut input, output } = ends;
    let (mut read, mut write) = connection.into_split();
    let feed = async {
        while let Some(chunk) = input.recv().await {
            let done = match chunk {
                ToNode::Input(bytes) => write.write_all(&bytes).await,
                ToNode::EndOfInput => write.shutdown().await,
                ToNode::Resize(_) => Ok(()),
            };
            if done.is_err() {
                break;
            }
        }
        output.closed().await;
    };
    let drain = async {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match read.read(&mut buffer).await {
                Ok(0) | Err(_) => return true,
                Ok(count) => {
                    let chunk = Bytes::copy_from_slice(&buffer[..count]);
                    if output.send(FromNode::Output(chunk)).await.is_err() {
                        return false;
                    }
                }
            }
        }
    };
    let there = tokio::select! {
        there = drain => there,
        () = feed => false,
    };
    if there {
        let _ = output.send(FromNode::Done(Ok(Outcome::Complete))).await;
    }
}
