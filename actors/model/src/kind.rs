//! The registry: one entry per kind. Storage, validation, defaulting, discovery, tables and
//! `explain` of a kind all come from its entry, so adding a kind is one [`KindRules`]
//! implementation and one line in the private list of `kind/registry.rs`.

mod address;
mod amounts;
mod any;
mod configmap;
mod deployment;
mod endpoints;
mod endpointslice;
mod event;
mod form;
mod lease;
mod metadata;
mod namespace;
mod node;
mod path;
pub mod pod;
mod registry;
mod replicaset;
mod rules;
mod runtimeclass;
mod secret;
pub mod service;
mod serviceaccount;
mod servicecidr;
mod workload;

pub use any::{AnyObject, Decoded};
pub use form::Form;
pub use metadata::{validate_annotations, validate_labels, validate_metadata};
pub use node::may_label_itself;
pub use path::Path;
pub use registry::{FieldValues, Kind, Scope, all, by_name, of};
pub use rules::{Column, KindRules, Names, Scale};
