//! What Kubernetes fills in.

use k8s_openapi::api::core::v1::PodSpec;

/// Fills in a pod spec.
pub fn default_spec(_spec: &mut PodSpec) {}
