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
//! | `pod_gc` | pods of nodes that are gone or off, and too many ended ones |
//! | `node_lifecycle` | what a node's conditions mean: taints, pods that are not ready |
//! | `taint_eviction` | pods leave nodes whose taints they do not bear |
//! | `token_cleaner` | bootstrap tokens that have expired |
//! | `endpointslice` | the pods behind every service |
//! | `endpoints` | the same in its older form |
//! | `mirroring` | EndpointSlices of Endpoints that people make |
//! | `cluster_services` | the services `kubernetes` and `kube-dns`, and their range |
//! | `service_cidr` | ranges of services' addresses that are being deleted |
//! | `load_balancer` | services that the nodes answer for on their own addresses |
//! | `root_ca` | the cluster's certificates in every namespace |
//!
//! [`liveness`] is no controller: what the leader makes of nodes that it does not hear of.

mod cluster_services;
mod deployment;
mod endpoint;
mod endpoints;
mod endpointslice;
mod event_expiry;
mod garbage;
mod generated;
pub mod liveness;
mod load_balancer;
mod mirroring;
mod namespace;
mod node_lifecycle;
mod ownership;
mod pod_gc;
mod pods;
mod reconciler;
mod replicaset;
mod report;
mod requests;
mod root_ca;
mod service_cidr;
mod serviceaccount;
mod slices;
mod taint_eviction;
mod token_cleaner;
#[cfg(test)]
mod world;

pub use liveness::{DEFAULT_GRACE, Liveness, assess};
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
        Arc::new(node_lifecycle::NodeLifecycle),
        Arc::new(taint_eviction::TaintEviction),
        Arc::new(token_cleaner::TokenCleaner),
        Arc::new(endpointslice::EndpointSlices),
        Arc::new(endpoints::EndpointsObjects),
        Arc::new(mirroring::Mirroring),
        Arc::new(cluster_services::ClusterServices),
        Arc::new(service_cidr::ServiceCidrs),
        Arc::new(load_balancer::LoadBalancers),
        Arc::new(root_ca::RootCa),
    ]
}
