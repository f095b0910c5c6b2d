//! Restart policies of single containers (Kubernetes, "Container restart policy").

use super::super::super::path::Path;
use crate::status::Cause;
use k8s_openapi::api::core::v1::Container;

/// So many rules are looked at.
const RULES_MAX: usize = 20;
/// So many codes are looked at for one of them.
const CODES_MAX: usize = 255;

pub(super) fn policy(container: &Container, path: &Path, causes: &mut Vec<Cause>) {
    let rules = container
        .restart_policy_rules
        .as_deref()
        .unwrap_or_default();
    let policy = container
        .restart_policy
        .as_deref()
        .filter(|p| !p.is_empty());
    let at = path.child("restartPolicy");
    match policy {
        Some(_) => at.one_of(policy, &["Always", "OnFailure", "Never"], causes),
        None if !rules.is_empty() => {
            let why = "must specify restartPolicy when restart rules are used";
            causes.push(Cause::required(at, why));
        }
        None => {}
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > RULES_MAX {
        let why = format!("must have at most {RULES_MAX} items");
        causes.push(Cause::invalid(path, rules.len(), &why));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        path.child("action")
            .one_of(Some(rule.action.as_str()), &["Restart"], causes);
        let at = path.child("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            causes.push(Cause::required(at, "must be specified"));
            continue;
        };
        at.child("operator")
            .one_of(Some(codes.operator.as_str()), &["In", "NotIn"], causes);
        let values = codes.values.as_deref().unwrap_or_default();
        if values.is_empty() || values.len() > CODES_MAX {
            let why = format!("must have between 1 and {CODES_MAX} items");
            causes.push(Cause::invalid(at.child("values"), values.len(), &why));
        }
    }
}
