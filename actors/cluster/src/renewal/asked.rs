//! Renewing because an administrator asks: when [`RENEW`] of this node's object changes. The
//! change of the cluster's CA goes by this.

use super::Renewal;
use jiff::{SignedDuration, Timestamp};
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::request::ListRequest;
use kabuki_model::watch::{WatchRequest, WatchStart};
use kabuki_model::{Resource, StatusError, Stored};
use kabuki_protocol::ApiHandle;
use kabuki_protocol::join::MAX_CLOCK_SKEW_S;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The annotation by which a node is asked to renew its certificate: a time. A certificate that
/// was made before it is renewed.
pub const RENEW: &str = "cluster.kabuki.dev/renew";
/// How long to wait before a broken watch is taken up again.
const RETRY: Duration = Duration::from_millis(500);

impl Renewal {
    /// What a supervisor starts, beside [`Renewal::child`], so that this node renews its
    /// certificate when it is asked to.
    pub fn asked_child(&self, api: ApiHandle) -> ChildSpec {
        let renewal = self.clone();
        ChildSpec::worker("renewal-asked", &Slot::new("renewal-asked"), move |_| {
            let ear = Ear {
                renewal: renewal.clone(),
                api: api.clone(),
            };
            (ear, ())
        })
    }
}

#[derive(RactorMessage)]
enum EarMessage {}

struct Ear {
    renewal: Renewal,
    api: ApiHandle,
}

/// Ends the listening with the actor.
struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for Ear {
    type Msg = EarMessage;
    type State = Listening;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<EarMessage>,
        (): (),
    ) -> Result<Listening, ActorProcessingErr> {
        let (renewal, api) = (self.renewal.clone(), self.api.clone());
        Ok(Listening(tokio::spawn(async move {
            let mut heard = None;
            loop {
                if let Err(error) = listen(&renewal, &api, &mut heard).await {
                    tracing::debug!(error = %error, "this node's object cannot be followed now");
                }
                tokio::time::sleep(RETRY).await;
            }
        })))
    }
}

/// Follows this node's object until the watch ends.
async fn listen(
    renewal: &Renewal,
    api: &ApiHandle,
    heard: &mut Option<Timestamp>,
) -> Result<(), StatusError> {
    let mut selection = ListRequest::all(Resource::NODES, None);
    selection.fields = format!("metadata.name={}", renewal.credentials.name());
    let request = WatchRequest {
        selection,
        start: WatchStart::List,
        bookmarks: false,
    };
    let mut watch = api.watch(request).await?;
    while let Some(event) = watch.next().await {
        let event = event?;
        let Some(mark) = event.object().and_then(|node| mark(node)) else {
            continue;
        };
        if *heard == Some(mark) {
            continue;
        }
        *heard = Some(mark);
        if is_older(renewal.credentials.certificate_begins(), mark) {
            tracing::info!("this node is asked to renew its certificate");
            renewal.renew_now();
        }
    }
    Ok(())
}

fn mark(node: &Stored) -> Option<Timestamp> {
    let annotations = node.meta().annotations.as_ref()?;
    annotations.get(RENEW)?.parse().ok()
}

/// Whether a certificate was made before a time. It begins a little before it is made.
fn is_older(begins: Timestamp, mark: Timestamp) -> bool {
    let made = begins.checked_add(SignedDuration::from_secs(MAX_CLOCK_SKEW_S));
    made.is_ok_and(|made| made < mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_model::ObjectKey;

    fn node(annotations: &str) -> Stored {
        let json = format!(r#"{{"metadata":{{"name":"a","annotations":{annotations}}}}}"#);
        let key = ObjectKey::new(Resource::NODES, "", "a");
        Stored::new(key, "u".into(), 1, json.into_bytes().into())
    }

    #[test]
    fn a_certificate_that_was_made_before_the_mark_is_renewed() {
        let asked = node(r#"{"cluster.kabuki.dev/renew":"2030-01-01T00:00:00Z"}"#);
        let mark = mark(&asked).expect("a mark");
        let begins = |seconds| mark + SignedDuration::from_secs(seconds);
        assert!(is_older(begins(-MAX_CLOCK_SKEW_S - 1), mark));
        assert!(!is_older(begins(-MAX_CLOCK_SKEW_S), mark));
        assert!(!is_older(begins(0), mark));
    }

    #[test]
    fn what_is_no_time_asks_for_nothing() {
        assert_eq!(mark(&node("{}")), None);
        assert_eq!(mark(&node(r#"{"cluster.kabuki.dev/renew":"now"}"#)), None);
    }
}
