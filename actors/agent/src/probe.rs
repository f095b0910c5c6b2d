//! Probes and hooks, performed.
//!
//! | module | what |
//! |---|---|
//! | `action` | what a manifest asks to be done, with ports and addresses found |
//! | `http` | one GET, as Kubernetes' prober does it |
//! | `grpc` | one health check over HTTP/2 |
//! | `exec` | one command in a container |
//! | `work` | a task for each probe that is to run, and their thread |
//!
//! What is due and what results mean is decided in `lifecycle::probe`. Each probe is a task of its
//! own with a limit on every attempt, so one that hangs holds nobody up. The pod's actor hears
//! only of results that turn something.

mod action;
mod exec;
mod grpc;
mod http;
mod tls;
mod work;

pub(crate) use action::{Action, Around};
pub(crate) use work::{ProbeThread, Probes};

/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 10 << 10;

/// The minor version of Kubernetes whose prober this one stands in for.
const USER_AGENT: &str = "kube-probe/1.37";

/// An error of the system as other programs word it: no capital, no number.
fn worded(error: &std::io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = plain.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => text,
    }
}

/// `host:port`, with brackets where they are needed.
fn joined(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}
