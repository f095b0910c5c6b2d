//! A pod's life, fact by fact.

mod health;
mod init;
mod life;
mod property;
mod resize;
mod resume;
mod start;
mod world;
