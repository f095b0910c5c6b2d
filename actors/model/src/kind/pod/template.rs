//! The pod template of workloads.

use crate::status::Cause;
use k8s_openapi::api::core::v1::PodTemplateSpec;

/// Fills in the defaults of a template's pod.
pub fn default_template(template: &mut PodTemplateSpec) {
    super::defaults::default_spec(template.spec.get_or_insert_default());
}

/// Everything that is wrong with a template. `path` is the template's own, for example
/// `spec.template`.
pub fn validate_template(_template: &PodTemplateSpec, _path: &str, _causes: &mut Vec<Cause>) {}
