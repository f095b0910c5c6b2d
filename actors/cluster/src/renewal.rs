//! Renews this node's certificate while it runs, with the same key, at two thirds of its life.
//!
//! Who talks to it: nobody must; [`Renewal::renew_now`] hurries it (the CAs changed, an
//! administrator asks). It asks a server through [`Certify`].
//!
//! Invariants: the old certificate is used until a new one is installed; a failure is tried again,
//! later and later but never later than a minute; what little is left is said, louder as it
//! shrinks.

mod actor;
mod asked;
mod schedule;

pub use asked::RENEW;

use crate::credentials::Credentials;
use actor::{RenewalActor, RenewalMessage};
use futures::future::BoxFuture;
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::StatusError;
use std::sync::Arc;

/// Who signs this node's certificate anew.
pub trait Certify: Send + Sync + 'static {
    /// A certificate for the key of this request, and every CA that the cluster trusts, in PEM.
    fn certify(&self, csr_pem: String) -> BoxFuture<'_, Result<(String, String), StatusError>>;
}

/// The renewal of this node's certificate.
#[derive(Clone)]
pub struct Renewal {
    slot: Slot<RenewalMessage>,
    credentials: Credentials,
    certify: Arc<dyn Certify>,
}

impl Renewal {
    /// Renews `credentials` through `certify`, once its child runs.
    pub fn new(credentials: Credentials, certify: Arc<dyn Certify>) -> Self {
        Self {
            slot: Slot::new("renewal"),
            credentials,
            certify,
        }
    }

    /// What a supervisor starts.
    pub fn child(&self) -> ChildSpec {
        let (credentials, certify) = (self.credentials.clone(), self.certify.clone());
        ChildSpec::worker("renewal", &self.slot, move |_place| {
            let actor = RenewalActor {
                credentials: credentials.clone(),
                certify: certify.clone(),
            };
            (actor, ())
        })
    }

    /// Renews now: the next connection should use another CA, or know of one. While the actor is
    /// down, its restart looks at the certificate anyway.
    pub fn renew_now(&self) {
        let _ = self.slot.cast(RenewalMessage::RenewNow);
    }

    /// The cluster trusts other CAs from now on. The certificate stays.
    pub fn bundle_changed(&self, bundle_pem: String) {
        if bundle_pem == self.credentials.bundle_pem() {
            return;
        }
        match self.credentials.install_bundle(&bundle_pem) {
            Ok(()) => tracing::info!("the cluster's CA certificates changed"),
            Err(error) => {
                tracing::error!(%error, "the cluster's new CA certificates are not taken over")
            }
        }
    }
}
