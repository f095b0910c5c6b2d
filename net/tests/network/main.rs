//! The pod network in real network namespaces. Needs root; touches nothing of the host.

mod cluster;
mod connectivity;
mod guard;
mod lifecycle;
mod overlay;
mod repair;
mod services;
mod shortcut;
mod world;
