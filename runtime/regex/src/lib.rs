//! The small engine of the authors of the published crate, under the large one's name: the same
//! expressions, with ASCII's classes and without tables for Unicode or compiled automata.
//!
//! oci-spec and libcontainer bring two or three expressions, for fields of a container that are
//! hardly ever set. The large engine was half a megabyte of every binary and of every shim's file.

pub use regex_lite::*;
