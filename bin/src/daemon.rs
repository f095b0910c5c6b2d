//! `kabuki node`: a node of the cluster. Control plane and agent in one process, under one
//! supervision tree.

mod addresses;
mod config;
mod demo;
mod descriptors;
mod http;
mod journal;
mod kubeconfig;
mod lock;
mod membership;
mod node;
mod serve;
mod server;
mod worker;

pub use config::NodeArgs;
pub use serve::run;
