//! The controllers' cores: one file per resource kind, each a pure function from the state at
//! one revision, a key and the time to the actions that bring the actual closer to the desired.
//!
//! A controller reads the newest state itself, and its writes are committed before it is asked
//! again about the same key, so no core keeps expectations or caches of its own: what it decides
//! depends on its arguments alone. That is what makes every one of them restartable at any point
//! and testable under a simulated clock.
//!
//! | module | what |
//! |---|---|
//! | `deployment` | rollouts: ReplicaSets of old and new templates |
//! | `replicaset` | as many pods as wanted |
//! | `namespace` | emptying a namespace that is being deleted |
//! | `garbage` | dependents of owners that are gone or going |
//! | `serviceaccount` | the default account of every namespace |
//! | `event_expiry` | events that nobody will look at any more |
//! | `pod_gc` | pods of nodes that are gone, and too many ended ones |

mod deployment;
mod event_expiry;
mod garbage;
mod namespace;
mod ownership;
mod pod_gc;
mod pods;
mod reconciler;
mod replicaset;
mod report;
mod requests;
mod serviceaccount;
#[cfg(test)]
mod world;

pub use reconciler::{Action, Outcome, Reconciler};

use std::sync::Arc;

/// Every controller core.
pub fn all() -> Vec<Arc<dyn Reconciler>> {
    vec![
        Arc::new(deployment::Deployments),
        Arc::new(replicaset::ReplicaSets),
        Arc::new(namespace::Namespaces),
        Arc::new(garbage::GarbageCollector),
        Arc::new(serviceaccount::ServiceAccounts),
        Arc::new(event_expiry::EventExpiry),
        Arc::new(pod_gc::PodGarbage),
    ]
}
