//! Where a connection to a service would go: `kabuki service trace`.

use super::actors::answer;
use crate::services::Services;
use kabuki_model::StatusError;
use kabuki_model::service::Protocol;
use kabuki_net::plan::services::{Primary, SCTP, TCP, UDP};
use kabuki_net::{Fate, ServiceTrace};
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{ConnectionFate, ConnectionTrace, EndpointShare, FromNode};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Asks the kernel's own table.
pub(super) async fn open(
    services: &Services,
    to: SocketAddr,
    protocol: &str,
    from: Option<IpAddr>,
) -> Result<NodeStream, StatusError> {
    let number = match Protocol::parse(protocol) {
        Some(Protocol::Tcp) => TCP,
        Some(Protocol::Udp) => UDP,
        Some(Protocol::Sctp) => SCTP,
        None => {
            let why = format!("protocol {protocol:?}: use TCP, UDP or SCTP");
            return Err(StatusError::bad_request(why));
        }
    };
    let primary = Primary {
        address: ipv4(to.ip())?,
        protocol: number,
        port: to.port(),
    };
    let from = from.map(ipv4).transpose()?;
    let traced = services.proxy.trace(primary, from).await;
    let traced = traced.map_err(StatusError::unavailable)?;
    Ok(answer(FromNode::Connection(shown(traced))))
}

fn ipv4(address: IpAddr) -> Result<Ipv4Addr, StatusError> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => Err(StatusError::bad_request(format!(
            "{address}: services have IPv4 addresses only"
        ))),
    }
}

fn shown(trace: ServiceTrace) -> ConnectionTrace {
    let fate = match trace.fate {
        Fate::Untouched => ConnectionFate::Untouched,
        Fate::Refused(why) => ConnectionFate::Refused(why),
        Fate::Dropped(why) => ConnectionFate::Dropped(why),
        Fate::Again(target) => {
            ConnectionFate::Again(SocketAddr::new(target.address.into(), target.port))
        }
        Fate::Sent(picks) => {
            let share = |pick: kabuki_net::Pick| EndpointShare {
                endpoint: SocketAddr::new(pick.target.address.into(), pick.target.port),
                one_in: pick.one_in,
            };
            ConnectionFate::Sent(picks.into_iter().map(share).collect())
        }
    };
    ConnectionTrace {
        service: trace.service,
        steps: trace.steps,
        fate,
    }
}
