//! How strategic patches treat each list (API reference, `patch strategy` and `patch merge key`).
//!
//! A list is known by the names of its field and of the field that holds it, because the same
//! field (`ports`, `conditions`) merges differently in different types. A list that is not here
//! is replaced whole.

/// How a list of objects or of plain values is patched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListRule {
    /// The field by which items are told apart; `None` for lists of plain values.
    pub(super) key: Option<&'static str>,
    /// Items may use `$retainKeys`.
    pub(super) retain_keys: bool,
}

/// The place where a value is: the names of its field and of the ones around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    field: &'a str,
}

impl<'a> Place<'a> {
    pub(super) const ROOT: Place<'static> = Place {
        parent: None,
        field: "",
    };

    pub(super) fn child(&'a self, field: &'a str) -> Place<'a> {
        Place {
            parent: Some(self),
            field,
        }
    }

    fn parent_field(&self) -> &str {
        self.parent.map_or("", |p| p.field)
    }

    pub(super) fn path(&self) -> String {
        match self.parent.map(Place::path) {
            Some(path) if !path.is_empty() => format!("{path}.{}", self.field),
            _ => self.field.to_string(),
        }
    }

    /// The rule of the list here; `None` when it is replaced whole.
    pub(super) fn list(&self) -> Option<ListRule> {
        let (field, parent) = (self.field, self.parent_field());
        let fits = |rule: &&(&str, &[&str], &'static str)| {
            rule.0 == field && (rule.1.is_empty() || rule.1.contains(&parent))
        };
        if let Some((_, _, key)) = MERGED.iter().find(fits) {
            return Some(ListRule {
                key: Some(key),
                retain_keys: field == "volumes",
            });
        }
        let plain = PLAIN.iter().any(|(f, p)| *f == field && *p == parent);
        plain.then_some(ListRule {
            key: None,
            retain_keys: false,
        })
    }
}

const CONTAINERS: &[&str] = &["containers", "initContainers", "ephemeralContainers"];

/// Lists of objects: field, the fields that may hold it (any when empty), merge key.
const MERGED: &[(&str, &[&str], &str)] = &[
    ("ownerReferences", &["metadata"], "uid"),
    ("containers", &["spec"], "name"),
    ("initContainers", &["spec"], "name"),
    ("ephemeralContainers", &["spec"], "name"),
    ("volumes", &["spec"], "name"),
    ("imagePullSecrets", &[], "name"),
    ("hostAliases", &["spec"], "ip"),
    ("topologySpreadConstraints", &["spec"], "topologyKey"),
    ("schedulingGates", &["spec"], "name"),
    ("resourceClaims", &["spec"], "name"),
    ("env", CONTAINERS, "name"),
    ("volumeMounts", CONTAINERS, "mountPath"),
    ("volumeDevices", CONTAINERS, "devicePath"),
    ("ports", CONTAINERS, "containerPort"),
    ("ports", &["spec"], "port"),
    ("conditions", &["status"], "type"),
    ("addresses", &["status"], "type"),
    ("podIPs", &["status"], "ip"),
    ("hostIPs", &["status"], "ip"),
    ("resourceClaimStatuses", &["status"], "name"),
    ("secrets", &[""], "name"),
];

/// Lists of plain values that merge: field, the field that holds it.
const PLAIN: &[(&str, &str)] = &[("finalizers", "metadata"), ("podCIDRs", "spec")];
