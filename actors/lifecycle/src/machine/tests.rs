//! A pod's life, fact by fact.

mod life;
mod property;
mod resume;
mod world;
