//! Membership, the control plane's side: who is admitted, whose certificate is signed, what a
//! cluster is founded with, and how its CA is changed.
//!
//! ```text
//!   JoinDoor ──> Admitting ──> the leader's Admitting ──> decide (pure) ──> Gateway
//!   sessions ──> Admitting::sign ──> the CA of the state
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`decide`](mod@decide) | whether a machine may join, and as what |
//! | [`charter`] | the cluster's own objects: ranges, CA, seal key |
//! | [`blocks`] | the pods' range, cut into blocks |
//! | [`node`] | the Node object of a member |
//! | [`found`](mod@found) | the first server of a cluster, and one that is restored |
//! | [`rotation`] | another CA, while the cluster runs |
//!
//! Invariants: only the leader decides, one machine at a time, on a state that includes all that
//! was ever acknowledged; its writes are bound to its term. So no two nodes have one name, block
//! or number. A machine that asks again with the same key gets what it was given before.

pub mod blocks;
pub mod charter;
pub mod decide;
pub mod found;
mod ground;
pub mod node;
pub mod rotation;
mod signing;

#[cfg(test)]
mod tests;

pub use found::{Founding, bootstrap_cluster, found};
pub use ground::{Ground, PlaneGround};

use crate::session::SignNode;
use decide::{Admission, Given, decide};
use futures::future::BoxFuture;
use jiff::Timestamp;
use kabuki_cluster::authority::request_key_sha256;
use kabuki_cluster::remote::Remote;
use kabuki_cluster::seams::{Admit, Directory};
use kabuki_model::StatusError;
use kabuki_model::status::Reason;
use kabuki_protocol::join::{JoinHello, JoinRefusal, JoinRequest, Joined, VersionRange};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a joiner waits for a leader before it is told that there is none.
const LEADER_WAIT: Duration = Duration::from_secs(10);
/// How often it is looked for one meanwhile.
const LOOK: Duration = Duration::from_millis(100);
/// How often a decision is made anew because the state moved on under its writes.
const MAX_ATTEMPTS: u32 = 16;

/// What a server says of itself to those who join.
#[derive(Debug, Clone)]
pub struct Own {
    /// Which cluster this is.
    pub cluster_id: String,
    /// This server's node.
    pub node: String,
    /// The program's version, for people.
    pub program: String,
    /// What it speaks.
    pub versions: VersionRange,
}

/// Admits nodes and signs their certificates. Clones share everything.
#[derive(Clone)]
pub struct Admitting {
    own: Arc<Own>,
    ground: Arc<dyn Ground>,
    /// The way to the leader; none for requests that were handed on already.
    others: Option<(Remote, Arc<dyn Directory>)>,
    /// Held while a machine is admitted.
    turn: Arc<Mutex<()>>,
}

impl Admitting {
    /// On this server's state; what another must do is handed on through `remote`.
    pub fn new(
        own: Own,
        ground: Arc<dyn Ground>,
        remote: Remote,
        directory: Arc<dyn Directory>,
    ) -> Self {
        Self {
            own: Arc::new(own),
            ground,
            others: Some((remote, directory)),
            turn: Arc::default(),
        }
    }

    /// The same for requests that another server handed on: they are not handed on again.
    pub fn here(&self) -> Self {
        Self {
            others: None,
            ..self.clone()
        }
    }

    async fn admit_somewhere(&self, request: JoinRequest) -> Result<Joined, JoinRefusal> {
        let until = Instant::now() + LEADER_WAIT;
        loop {
            let outcome = match self.ground.term() {
                Some(term) => self.admit_here(&request, term).await,
                None => self.hand_on(&request).await,
            };
            match outcome {
                // Whoever handed a request on looks for the leader again by itself.
                Err(JoinRefusal::Unavailable(_))
                    if self.others.is_some() && Instant::now() < until =>
                {
                    tokio::time::sleep(LOOK).await;
                }
                other => return other,
            }
        }
    }

    async fn hand_on(&self, request: &JoinRequest) -> Result<Joined, JoinRefusal> {
        let Some((remote, directory)) = &self.others else {
            return Err(no_leader());
        };
        let leader = directory.leader().filter(|l| *l != self.own.node);
        let leader = leader.ok_or_else(no_leader)?;
        let unavailable = |why: String| {
            JoinRefusal::Unavailable(format!("the leader {leader} does not answer: {why}"))
        };
        let client = remote.server(&leader).await;
        let client = client.map_err(|e| unavailable(e.message))?;
        match client.join(request.clone()).await {
            Ok(outcome) => outcome,
            Err(failure) => Err(unavailable(StatusError::from(failure).message)),
        }
    }

    async fn admit_here(&self, request: &JoinRequest, term: u64) -> Result<Joined, JoinRefusal> {
        let key = request_key_sha256(&request.csr_pem)
            .map_err(|why| JoinRefusal::Invalid(format!("its certificate request: {why}")))?;
        let _turn = self.turn.lock().await;
        let api = self.ground.api(Some(term));
        'attempts: for _ in 0..MAX_ATTEMPTS {
            let view = self.ground.newest().await.map_err(unavailable)?;
            let given = Given {
                request,
                key: &key,
                now: Timestamp::now(),
                entropy: rand::random(),
                versions: self.own.versions,
                program: &self.own.program,
            };
            let Admission { facts, writes } = decide(&*view, &given)?;
            for write in writes {
                match api.request(write).await {
                    Ok(_) => {}
                    Err(error) if moved_on(&error) => continue 'attempts,
                    Err(error) => return Err(refused(error)),
                }
            }
            let view = self.ground.newest().await.map_err(unavailable)?;
            return signing::welcome(&*view, &facts, &request.csr_pem);
        }
        Err(JoinRefusal::Unavailable(
            "the nodes are being changed by others all the time; try again".to_string(),
        ))
    }

    async fn sign_anew(&self, node: &str, csr_pem: &str) -> Result<(String, String), StatusError> {
        // A node that was removed must not be signed for by a server that has not heard of it.
        let view = self.ground.newest().await?;
        let (signed, note) = signing::renew(&*view, node, csr_pem)?;
        if let Some(note) = note {
            // Before the certificate is given: the CA is changed by what is noted.
            self.ground.api(None).request(note).await?;
        }
        Ok(signed)
    }
}

fn no_leader() -> JoinRefusal {
    JoinRefusal::Unavailable(
        "the servers have no leader at the moment; try again, and see `kabuki members`".to_string(),
    )
}

fn unavailable(error: StatusError) -> JoinRefusal {
    JoinRefusal::Unavailable(error.message)
}

/// Whether what a decision was made from has changed.
fn moved_on(error: &StatusError) -> bool {
    matches!(
        error.reason,
        Reason::Conflict | Reason::AlreadyExists | Reason::NotFound
    )
}

fn refused(error: StatusError) -> JoinRefusal {
    match error.reason {
        Reason::Invalid | Reason::BadRequest | Reason::Forbidden => {
            JoinRefusal::Invalid(error.message)
        }
        _ => unavailable(error),
    }
}

impl Admit for Admitting {
    fn hello(&self) -> JoinHello {
        JoinHello {
            cluster_id: self.own.cluster_id.clone(),
            node: self.own.node.clone(),
            now_s: Timestamp::now().as_second(),
            program: self.own.program.clone(),
            versions: self.own.versions,
        }
    }

    fn admit(&self, request: JoinRequest) -> BoxFuture<'_, Result<Joined, JoinRefusal>> {
        Box::pin(self.admit_somewhere(request))
    }
}

impl SignNode for Admitting {
    fn sign(
        &self,
        node: String,
        csr_pem: String,
    ) -> BoxFuture<'_, Result<(String, String), StatusError>> {
        Box::pin(async move { self.sign_anew(&node, &csr_pem).await })
    }
}
