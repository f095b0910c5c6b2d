//! The registry: one entry per kind. Storage, validation, defaulting, discovery, tables and
//! `explain` of a kind all come from its entry, so adding a kind is one [`KindRules`]
//! implementation and one line in the private list of `kind/registry.rs`.

mod any;
mod configmap;
pub mod pod;
mod registry;
mod rules;

pub use any::{AnyObject, Decoded};
pub use registry::{Kind, Scope, all, by_name, of};
pub use rules::{Column, KindRules, Names, Scale};
