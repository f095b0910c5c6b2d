//! `portforward`: connections to ports inside a pod's network, many over one client's connection.

mod channels;
mod pairs;
mod pipe;
mod tunnel;

use super::target;
use super::upgrade::{Chosen, Offer, begin};
use crate::request::Context;
use crate::response::Response;
use hyper::body::Incoming;
use kabuki_model::StatusError;
use kabuki_protocol::FrontHandle;
use kabuki_protocol::NodeStream;
use kabuki_protocol::front::Authenticated;
use kabuki_protocol::node::{NodeRequest, PodRef};

/// SPDY as it is, or in a WebSocket.
const STREAMS: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Two channels for each port, which is named when the WebSocket is opened.
const CHANNELS: &str = "v4.channel.k8s.io";

const OFFER: Offer = Offer {
    websocket: &[TUNNEL, CHANNELS],
    spdy: &[STREAMS],
};

/// Opens connections to the pod of a request, as its caller.
#[derive(Clone)]
struct Dial {
    front: FrontHandle,
    who: Authenticated,
    pod: PodRef,
}

impl Dial {
    async fn open(&self, port: u16) -> Result<NodeStream, StatusError> {
        let request = NodeRequest::PortForward {
            pod: self.pod.clone(),
            port,
        };
        self.front.open(&self.who.who, None, request).await
    }

    /// What a client is told when a port cannot be reached.
    fn failure(&self, port: u16, error: &StatusError) -> String {
        let pod = &self.pod;
        format!(
            "error forwarding port {port} to pod {}/{}: {error}",
            pod.namespace, pod.name
        )
    }
}

/// Serves `portforward`.
pub(super) async fn serve(
    context: &Context,
    request: http::Request<Incoming>,
) -> Result<Response, StatusError> {
    let (response, chosen) = match OFFER.choose(&context.headers)? {
        Ok(agreed) => agreed,
        Err(response) => return Ok(response),
    };
    let dial = Dial {
        front: context.front.clone(),
        who: context.who.clone(),
        pod: target::pod(context),
    };
    target::exists(context).await?;
    let ports = match chosen {
        Chosen::WebSocket(CHANNELS) => channels::ports(context)?,
        _ => Vec::new(),
    };
    begin(context, request, move |stream| async move {
        match chosen {
            Chosen::WebSocket(CHANNELS) => channels::serve(stream, &dial, &ports).await,
            Chosen::WebSocket(_) => tunnel::serve(stream, &dial).await,
            Chosen::Spdy(_) => pairs::serve(stream, &dial).await,
        }
    })
    .await?;
    Ok(response)
}

#[cfg(test)]
mod tests;
