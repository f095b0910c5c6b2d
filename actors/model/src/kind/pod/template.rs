//! The pod template of workloads (Kubernetes, "Pod templates").

use super::super::metadata::{validate_annotations, validate_labels};
use super::super::path::Path;
use super::defaults::default_spec;
use super::validate::{Context, annotations, validate_spec};
use crate::status::Cause;
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};

/// Fills in the defaults of a template's pod spec.
pub fn default_template(template: &mut PodTemplateSpec) {
    default_spec(template.spec.get_or_insert_default());
}

/// Everything that is wrong with a template that has its defaults. `path` is the template's own,
/// for example `spec.template`.
pub fn validate_template(template: &PodTemplateSpec, path: &str, causes: &mut Vec<Cause>) {
    let path = Path::Root(path);
    let empty = PodSpec::default();
    if let Some(meta) = &template.metadata {
        // Kubernetes names these two without `metadata`.
        validate_labels(meta.labels.as_ref(), &path.child("labels"), causes);
        let path = path.child("annotations");
        validate_annotations(meta.annotations.as_ref(), &path, causes);
        annotations(
            meta,
            template.spec.as_ref().unwrap_or(&empty),
            &path,
            causes,
        );
    }
    let at = path.child("spec");
    match &template.spec {
        Some(spec) => validate_spec(
            Context {
                spec,
                is_pod: false,
            },
            &at,
            causes,
        ),
        None => causes.push(Cause::required(at.child("containers"), "")),
    }
}
