//! What the gateway is asked.

use super::Others;
use kabuki_kit::Permit;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Request};
use ractor::RpcReplyPort;
use ractor_cluster::RactorMessage;

/// Messages of the gateway.
#[derive(RactorMessage)]
pub enum GatewayMessage {
    /// Perform a write.
    Perform {
        /// Who asks.
        who: Identity,
        /// What for.
        request: Request,
        /// Only while this server leads in this term; `None` is whenever, by whoever leads.
        term: Option<u64>,
        /// Whom it is handed to when this server does not lead.
        others: Others,
        /// Room among the writes under way; given back when the write is done.
        permit: Permit,
        /// The answer.
        reply: RpcReplyPort<Result<Answer, StatusError>>,
    },
}
