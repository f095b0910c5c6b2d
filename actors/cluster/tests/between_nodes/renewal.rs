//! The renewal of a certificate while the node runs.

use crate::world::{World, run, within};
use futures::FutureExt;
use futures::future::BoxFuture;
use kabuki_cluster::authority::Authority;
use kabuki_cluster::renewal::{Certify, Renewal};
use kabuki_model::StatusError;
use kabuki_protocol::join::Role;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Signs, after it has refused so many times.
struct Signer {
    authority: Authority,
    refusals: AtomicUsize,
    asked: mpsc::UnboundedSender<()>,
}

impl Certify for Signer {
    fn certify(&self, csr_pem: String) -> BoxFuture<'_, Result<(String, String), StatusError>> {
        async move {
            let _ = self.asked.send(());
            let left = self.refusals.load(Ordering::SeqCst);
            if left > 0 {
                self.refusals.store(left - 1, Ordering::SeqCst);
                return Err(StatusError::unavailable("no leader"));
            }
            let signed = self
                .authority
                .node_certificate(&csr_pem, "w", Role::Worker, &[]);
            let signed = signed.map_err(|e| StatusError::bad_request(e.to_string()))?;
            Ok((signed, self.authority.certificate_pem().to_string()))
        }
        .boxed()
    }
}

fn signer(world: &World, refusals: usize) -> (Arc<Signer>, mpsc::UnboundedReceiver<()>) {
    let (asked, questions) = mpsc::unbounded_channel();
    let ca = world.authority.certificate_pem();
    let signer = Signer {
        authority: Authority::from_pem(ca, &world.authority.key_pem()).expect("the CA"),
        refusals: AtomicUsize::new(refusals),
        asked,
    };
    (Arc::new(signer), questions)
}

async fn changed(credentials: &kabuki_cluster::Credentials, before: &str) {
    within("the renewal", async {
        while credentials.certificate_pem() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_certificate_near_its_end_is_renewed_and_a_refusal_is_tried_again() {
    let authority = Authority::generate().expect("a CA");
    // Past two thirds of its life from the start: it begins five minutes in the past.
    let world = World::of(authority.with_node_lifetime(Duration::from_secs(60)));
    let credentials = world.node("w", Role::Worker);
    let before = credentials.certificate_pem();
    let (signer, mut questions) = signer(&world, 1);
    let renewal = Renewal::new(credentials.clone(), signer);
    let (_tree, _root) = run(renewal.child()).await;
    changed(&credentials, &before).await;
    assert!(questions.recv().await.is_some());
    assert!(questions.recv().await.is_some());
    assert!(questions.try_recv().is_err());
}

#[tokio::test]
async fn a_fresh_certificate_is_left_alone_until_it_is_asked_for() {
    let world = World::new();
    let credentials = world.node("w", Role::Worker);
    let before = credentials.certificate_pem();
    let (signer, mut questions) = signer(&world, 0);
    let renewal = Renewal::new(credentials.clone(), signer);
    let (tree, _root) = run(renewal.child()).await;
    // A restart looks at the clock again, and finds nothing to do.
    tree.kill("node/renewal").expect("it runs");
    within("the restart", async {
        while tree
            .get("node/renewal")
            .is_none_or(|actor| actor.starts < 2)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(questions.try_recv().is_err());
    renewal.renew_now();
    changed(&credentials, &before).await;
}

#[tokio::test]
async fn another_bundle_is_taken_over_and_nonsense_is_not() {
    let world = World::new();
    let other = World::new();
    let credentials = world.node("w", Role::Worker);
    let (signer, _questions) = signer(&world, 0);
    let renewal = Renewal::new(credentials.clone(), signer);
    let (old, new) = (
        world.authority.certificate_pem(),
        other.authority.certificate_pem(),
    );
    renewal.bundle_changed(format!("{old}{new}"));
    let both = [world.authority.sha256(), other.authority.sha256()];
    assert_eq!(credentials.bundle_sha256(), both);
    renewal.bundle_changed("nonsense".to_string());
    assert_eq!(credentials.bundle_sha256(), both);
}
