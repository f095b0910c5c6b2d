//! What hostile bytes may meet, as functions from bytes that must never panic.
//!
//! | target | bytes are | what must hold beside not crashing |
//! |---|---|---|
//! | [`manifest`] | a manifest | what admission stores is settled, see [`world`] |
//! | [`frames`] | what a peer sends, either way | a frame survives the codec; its request is answered |
//! | [`layer`] | a layer, plain or compressed | nothing outside of the layer's directory changes |
//! | [`patch`] | two objects, or a patch of a stored one | merge patches do what they are made for |
//! | [`expression`] | templates, selectors, amounts, image names | what is printed reads back as the same |
//! | [`names`] | a packet to or from a name server | its answer is a message, and not too long |
//! | [`representation`] | protobuf, entries of managers | what was read once reads back as the same |
//! | [`streams`] | an upgraded connection, or a token | pieces do not matter; what is read survives |
//!
//! A target panics when something does not hold. `tests/fuzz/run` drives the targets with coverage
//! as guide; the tests of this crate replay each target's seeds and whatever was once found.

pub mod expression;
pub mod frames;
pub mod layer;
pub mod manifest;
pub mod names;
pub mod patch;
pub mod representation;
pub mod streams;
mod target;
pub mod world;

pub use target::{Target, dictionary};
