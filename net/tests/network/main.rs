//! The pod network in real network namespaces. Needs root; touches nothing of the host.

mod connectivity;
mod lifecycle;
mod repair;
mod world;
