//! Real daemons, real containers, the real CLI. Each test has a host and data directory of its
//! own.

#[path = "end_to_end/acceptance.rs"]
mod acceptance;
#[path = "end_to_end/apply_server_side.rs"]
mod apply_server_side;
#[path = "end_to_end/cluster.rs"]
mod cluster;
#[path = "end_to_end/debugged.rs"]
mod debugged;
#[path = "end_to_end/deployment.rs"]
mod deployment;
#[path = "end_to_end/faults.rs"]
mod faults;
#[path = "end_to_end/fields.rs"]
mod fields;
#[path = "end_to_end/host.rs"]
mod host;
#[path = "end_to_end/identities.rs"]
mod identities;
#[path = "end_to_end/kubectl.rs"]
mod kubectl;
#[path = "end_to_end/kubectl_operating.rs"]
mod kubectl_operating;
#[path = "end_to_end/lease.rs"]
mod lease;
#[path = "end_to_end/life.rs"]
mod life;
#[path = "end_to_end/names.rs"]
mod names;
#[path = "end_to_end/old_kernel.rs"]
mod old_kernel;
#[path = "end_to_end/pod.rs"]
mod pod;
#[path = "end_to_end/pressure.rs"]
mod pressure;
#[path = "end_to_end/probes.rs"]
mod probes;
#[path = "end_to_end/prometheus.rs"]
mod prometheus;
#[path = "end_to_end/protobuf.rs"]
mod protobuf;
#[path = "end_to_end/python.rs"]
mod python;
#[path = "end_to_end/resources.rs"]
mod resources;
#[path = "end_to_end/same_answers.rs"]
mod same_answers;
#[path = "end_to_end/security.rs"]
mod security;
#[path = "end_to_end/start_errors.rs"]
mod start_errors;
#[path = "end_to_end/streams.rs"]
mod streams;
#[path = "end_to_end/streams_http.rs"]
mod streams_http;
#[path = "end_to_end/survival.rs"]
mod survival;
#[path = "end_to_end/transcripts.rs"]
mod transcripts;
#[path = "end_to_end/verbs.rs"]
mod verbs;
