//! The API in process, under one identity: objects and events pass as pointers.

use super::GatewayHandle;
use futures::future::BoxFuture;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Request};
use kabuki_model::watch::WatchRequest;
use kabuki_protocol::{Api, Watch};

/// The gateway under one identity.
pub struct LocalApi {
    gateway: GatewayHandle,
    who: Identity,
}

impl LocalApi {
    pub(super) fn new(gateway: GatewayHandle, who: Identity) -> Self {
        Self { gateway, who }
    }
}

impl Api for LocalApi {
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Answer, StatusError>> {
        Box::pin(self.gateway.request(self.who.clone(), request))
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<Watch, StatusError>> {
        Box::pin(self.gateway.watch(&self.who, request))
    }
}
