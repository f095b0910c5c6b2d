//! Addresses and node ports of services: who gets which, and that nobody else has it.

mod allocation;
mod races;
mod types;
mod world;
