//! Kinds and their metadata, the stored-object envelope, and the rules that every kind shares.
//! Nothing here performs I/O, reads a clock or draws a random number: time and entropy are
//! arguments, so that the cores which stand on this crate can run under a simulated clock.
//!
//! | module | what |
//! |---|---|
//! | [`allocation`] | the ranges of services' addresses and ports, and what a service holds of them |
//! | [`bootstrap_token`] | the Secrets by which machines join |
//! | [`codec`] | the binary format of frames and log entries |
//! | [`object`] | keys, resources and the stored object with its lazily decoded form |
//! | [`status`] | refusals in the shape of Kubernetes' `Status` |
//! | [`request`] | what a client or controller asks of the API, and the answers |
//! | [`command`] | what the store applies, and what it says of it |
//! | [`watch`] | watch requests and events |
//! | [`view`] | reading the state at one revision |
//! | [`kind`] | the registry: one entry per kind |
//! | [`identity`] | who asks |
//! | [`quantity`] | exact arithmetic on resource quantities |
//! | [`schema`] | the fields of each type: protobuf numbers, how lists merge |
//! | [`selector`] | label and field selectors, compiled list requests |
//! | [`percent`] | numbers that may be percentages, bounds of rolling updates |
//! | [`managed_fields`] | who owns which fields, and server-side apply |
//! | [`manifest`] | streams of objects as people write them |
//! | [`patch`] | JSON, merge and strategic patches, and the three-way patch of `apply` |
//! | [`event`] | recording what happened to an object |
//! | [`explain`] | what the fields of a kind mean |
//! | [`hash`] | the hash of a pod template |
//! | [`jsonpath`] | `kubectl`'s JSONPath templates |
//! | [`reference`] | owners, and references for events |
//! | [`review`] | objects that are answered at once and never stored |
//! | [`service_token`] | the tokens of service accounts |
//! | [`service`] | Services and endpoints as nodes keep them |
//! | [`printing`] | cells and rows of tables |
//! | [`syntax`] | the syntaxes of names and keys |
//! | [`taint`] | taints, and which pods bear them |

pub mod allocation;
pub mod bootstrap_token;
pub mod codec;
pub mod command;
pub mod duration;
pub mod event;
pub mod explain;
pub mod hash;
pub mod identity;
pub mod jsonpath;
pub mod kind;
pub mod managed_fields;
pub mod manifest;
pub mod object;
pub mod patch;
pub mod percent;
pub mod printing;
pub mod quantity;
pub mod reference;
pub mod request;
pub mod review;
pub mod schema;
pub mod selector;
pub mod service;
pub mod service_token;
pub mod status;
pub mod syntax;
pub mod taint;
pub mod view;
pub mod watch;

pub use k8s_openapi;
pub use object::{ObjectKey, Resource, Stored};
pub use quantity::Quantity;
pub use selector::{LabelSelector, Selection};
pub use status::StatusError;

/// The Kubernetes minor version whose API is served: the newest that the typed objects know.
pub const KUBERNETES_VERSION: &str = "v1.37";
