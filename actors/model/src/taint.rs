//! Taints and tolerations (Kubernetes, "Taints and Tolerations"): the keys that the control plane
//! sets by itself, how people write a taint, and which toleration lets a pod bear one.

use crate::syntax;
use k8s_openapi::api::core::v1::{Taint, Toleration};

/// The node says that it is not ready.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Nothing is heard of the node.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The node is closed to new pods (`spec.unschedulable`).
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// The node has little memory left.
pub const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
/// The node has little disk space left.
pub const DISK_PRESSURE: &str = "node.kubernetes.io/disk-pressure";
/// The node has few process numbers left.
pub const PID_PRESSURE: &str = "node.kubernetes.io/pid-pressure";
/// The node has no pod network.
pub const NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";
/// People say that the node is off and will not come back as it was.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// New pods stay away.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// New pods stay away, and those that are there leave.
pub const NO_EXECUTE: &str = "NoExecute";
/// All effects.
pub const EFFECTS: &[&str] = &[NO_SCHEDULE, "PreferNoSchedule", NO_EXECUTE];

/// Why a text is no taint. The words are Kubernetes'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaintError {
    /// It has the wrong form.
    #[error("invalid taint spec: {0}")]
    Form(String),
    /// Its key or value has the wrong form.
    #[error("invalid taint spec: {text}, {why}")]
    Part {
        /// The whole text.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// Its effect does not exist.
    #[error("invalid taint effect: {0}, unsupported taint effect")]
    Effect(String),
}

/// Reads `KEY=VALUE:EFFECT`, `KEY:EFFECT` or `KEY`; the last has no effect.
pub fn parse(text: &str) -> Result<Taint, TaintError> {
    let form = || TaintError::Form(text.to_string());
    let (name, effect) = match text.split_once(':') {
        None => (text, ""),
        Some((_, effect)) if effect.contains(':') => return Err(form()),
        Some((_, effect)) if !EFFECTS.contains(&effect) => {
            return Err(TaintError::Effect(effect.to_string()));
        }
        Some((name, effect)) => (name, effect),
    };
    let (key, value) = match name.split_once('=') {
        // Without an effect there is no value either: it names taints to be removed.
        _ if effect.is_empty() => (name, None),
        None => (name, None),
        Some((_, value)) if value.contains('=') => return Err(form()),
        Some((key, value)) => (key, Some(value)),
    };
    let wrong = syntax::qualified_name(key).or_else(|| value.and_then(syntax::label_value));
    if let Some(why) = wrong {
        let text = text.to_string();
        return Err(TaintError::Part { text, why });
    }
    Ok(Taint {
        key: key.to_string(),
        value: value.map(str::to_string),
        effect: effect.to_string(),
        time_added: None,
    })
}

/// As people write it: the reverse of [`parse`].
pub fn written(taint: &Taint) -> String {
    let value = taint.value.as_deref().filter(|v| !v.is_empty());
    match (value, taint.effect.as_str()) {
        (None, "") => taint.key.clone(),
        (None, effect) => format!("{}:{effect}", taint.key),
        (Some(value), "") => format!("{}={value}:", taint.key),
        (Some(value), effect) => format!("{}={value}:{effect}", taint.key),
    }
}

/// Whether both are the same taint: of one key and effect there is only one.
pub fn is_same(one: &Taint, other: &Taint) -> bool {
    one.key == other.key && one.effect == other.effect
}

/// The first toleration that lets a pod bear the taint.
pub fn tolerating<'a>(tolerations: &'a [Toleration], taint: &Taint) -> Option<&'a Toleration> {
    fn text(field: &Option<String>) -> &str {
        field.as_deref().unwrap_or_default()
    }
    tolerations.iter().find(|t| {
        let (key, effect) = (text(&t.key), text(&t.effect));
        let value = || text(&t.value) == text(&taint.value);
        (effect.is_empty() || effect == taint.effect)
            && (key.is_empty() || key == taint.key)
            && match text(&t.operator) {
                "Exists" => true,
                "" | "Equal" => !key.is_empty() && value(),
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_read_and_written_in_every_form() {
        for text in ["a=b:NoSchedule", "x.io/a:NoExecute", "a"] {
            assert_eq!(written(&parse(text).expect("a taint")), text);
        }
        let empty = parse("a=:NoSchedule").expect("a taint");
        assert_eq!(empty.value.as_deref(), Some(""));
        assert_eq!(written(&empty), "a:NoSchedule");
    }

    #[test]
    fn what_is_no_taint_is_refused_with_its_reason() {
        for (text, why) in [
            ("a=b:NoSchedule:x", "invalid taint spec: a=b:NoSchedule:x"),
            ("a=b=c:NoSchedule", "invalid taint spec: a=b=c:NoSchedule"),
            (
                "a:Never",
                "invalid taint effect: Never, unsupported taint effect",
            ),
            ("a:", "invalid taint effect: , unsupported taint effect"),
        ] {
            assert_eq!(parse(text).expect_err("refused").to_string(), why);
        }
        for text in [
            "a b:NoSchedule",
            "a=b c:NoSchedule",
            "",
            "a=b",
            "-a:NoExecute",
        ] {
            let error = parse(text).expect_err("refused").to_string();
            assert!(error.starts_with("invalid taint spec: "), "{error}");
        }
    }

    #[test]
    fn the_first_toleration_that_fits_counts() {
        let toleration = |key: &str, operator: &str, value: &str, effect: &str| Toleration {
            key: Some(key.into()),
            operator: Some(operator.into()),
            value: Some(value.into()),
            effect: Some(effect.into()),
            toleration_seconds: None,
        };
        let taint = parse("gpu=yes:NoExecute").expect("a taint");
        let fits = |t: Toleration| tolerating(std::slice::from_ref(&t), &taint).is_some();
        assert!(fits(toleration("gpu", "Exists", "", "")));
        assert!(fits(toleration("", "Exists", "", "NoExecute")));
        assert!(fits(toleration("gpu", "", "yes", "NoExecute")));
        assert!(!fits(toleration("gpu", "Equal", "no", "NoExecute")));
        assert!(!fits(toleration("gpu", "Exists", "", "NoSchedule")));
        assert!(!fits(toleration("", "Equal", "yes", "")));
        assert!(!fits(toleration("cpu", "Exists", "", "")));
    }
}
