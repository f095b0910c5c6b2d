//! A control plane in memory, for tests: one token, one administrator, and nodes as the test has
//! them.

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use kabuki_model::StatusError;
use kabuki_model::identity::{GROUP_MASTERS, Identity};
use kabuki_model::request::{Answer, Request};
use kabuki_model::status::Reason;
use kabuki_protocol::front::{
    AccessAttributes, Authenticated, Decision, Freshness, Front, HealthCheck, Measure,
};
use kabuki_protocol::node::NodeRequest;
use kabuki_protocol::session::VersionInfo;
use kabuki_protocol::{ApiHandle, NodeStream};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// The one token that is believed.
pub(crate) const TOKEN: &str = "a.good.token";

/// What a node was asked, and its ends of the stream.
pub(crate) type Opened = (NodeRequest, mpsc::Receiver<ToNode>, mpsc::Sender<FromNode>);
pub(crate) use kabuki_protocol::node::{FromNode, ToNode};

/// A control plane; streams that are opened come out of the receiver.
pub(crate) struct FakeFront {
    opened: mpsc::Sender<Opened>,
    /// What was asked to be authorised.
    pub(crate) asked: Mutex<Vec<AccessAttributes>>,
}

/// The control plane, and the streams that are opened through it.
pub(crate) fn front() -> (Arc<FakeFront>, mpsc::Receiver<Opened>) {
    let (opened, streams) = mpsc::channel(64);
    let asked = Mutex::default();
    (Arc::new(FakeFront { opened, asked }), streams)
}

/// A stream, and the node's ends of it.
pub(crate) fn stream() -> (NodeStream, mpsc::Receiver<ToNode>, mpsc::Sender<FromNode>) {
    let depth = kabuki_protocol::node::STREAM_DEPTH;
    let (input, from_client) = mpsc::channel(depth);
    let (to_client, output) = mpsc::channel(depth);
    (NodeStream { input, output }, from_client, to_client)
}

impl Front for FakeFront {
    fn api(&self, _who: &Identity) -> ApiHandle {
        unreachable!("no test of streams and callers asks for objects")
    }

    fn fresh(&self, _freshness: Freshness) -> BoxFuture<'_, Result<u64, StatusError>> {
        async { Ok(1) }.boxed()
    }

    fn read<'a>(
        &'a self,
        _who: &'a Identity,
        request: Request,
        _freshness: Freshness,
    ) -> BoxFuture<'a, Result<Answer, StatusError>> {
        async move { Err(StatusError::bad_request(format!("not faked: {request:?}"))) }.boxed()
    }

    fn open<'a>(
        &'a self,
        _who: &'a Identity,
        _node: Option<&'a str>,
        request: NodeRequest,
    ) -> BoxFuture<'a, Result<NodeStream, StatusError>> {
        async move {
            if let NodeRequest::PortForward { port: 1, .. } = request {
                return Err(StatusError::internal("connection refused"));
            }
            let (caller, input, output) = stream();
            let told = self.opened.send((request, input, output)).await;
            told.map_err(|_| StatusError::unavailable("nobody listens"))?;
            Ok(caller)
        }
        .boxed()
    }

    fn authenticate<'a>(
        &'a self,
        token: &'a str,
        _audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Authenticated, StatusError>> {
        async move {
            match token {
                TOKEN => {
                    let who = Identity::service_account("default", "robot");
                    Ok(Authenticated::new(who))
                }
                _ => Err(StatusError::new(Reason::Unauthorized, "Unauthorized")),
            }
        }
        .boxed()
    }

    fn openid(&self) -> Result<(Bytes, Bytes), StatusError> {
        Ok((Bytes::from_static(b"{}"), Bytes::from_static(b"{}")))
    }

    fn authorize(&self, who: &Identity, attributes: &AccessAttributes) -> Decision {
        let public = matches!(attributes.path.as_str(), "/livez" | "/version");
        self.asked
            .lock()
            .expect("not poisoned")
            .push(attributes.clone());
        Decision {
            allowed: public || who.in_group(GROUP_MASTERS),
            reason: String::new(),
        }
    }

    fn checks(&self) -> Vec<HealthCheck> {
        Vec::new()
    }

    fn measures(&self) -> BoxFuture<'_, Vec<Measure>> {
        async { Vec::new() }.boxed()
    }

    fn version(&self) -> VersionInfo {
        VersionInfo {
            kabuki: "0".to_string(),
            kubernetes: "v1.0".to_string(),
            node: "a".to_string(),
            platform: "linux/amd64".to_string(),
        }
    }
}
