//! `v1` `Pod` (Kubernetes, "Pod v1 core"), and what every kind with a pod template shares.
//!
//! | module | what |
//! |---|---|
//! | `defaults` | what Kubernetes fills in |
//! | `unsupported` | the fields that this version refuses by name |

mod defaults;
mod template;

pub use template::{default_template, validate_template};

use super::rules::{Column, KindRules, Names};
use crate::status::Cause;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

pub(super) struct PodRules;

impl KindRules for PodRules {
    type Object = Pod;

    const NAMES: Names = Names {
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short: &["po"],
        categories: &["all"],
        group: "",
        version: "v1",
        namespaced: true,
    };

    const HAS_STATUS: bool = true;

    fn validate(_object: &Pod) -> Vec<Cause> {
        Vec::new()
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("READY"),
            Column::new("STATUS"),
            Column::new("RESTARTS"),
            Column::new("AGE"),
            Column::wide("IP"),
            Column::wide("NODE"),
            Column::wide("NOMINATED NODE"),
            Column::wide("READINESS GATES"),
        ];
        COLUMNS
    }

    fn row(object: &Pod, _now: Timestamp) -> Vec<String> {
        vec![object.metadata.name.clone().unwrap_or_default()]
    }
}
