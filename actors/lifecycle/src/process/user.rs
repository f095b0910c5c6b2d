//! Which user a container runs as (Kubernetes, "Configure a Security Context").

use super::ConfigError;
use k8s_openapi::api::core::v1::{Container, Pod};

/// Where the user comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserChoice {
    /// What to look up in the image: `user`, `user:group` or numbers; empty is root.
    pub user: String,
    /// The primary group, when the manifest names one.
    pub group: Option<u32>,
    /// Groups in addition to those of the image's group file.
    pub supplemental: Vec<u32>,
    /// Whether the image's group file counts (`supplementalGroupsPolicy` other than `Strict`).
    pub image_groups: bool,
    /// Whether the manifest names the user.
    explicit: bool,
    /// Whether it must not be root.
    non_root: bool,
}

/// A user as found in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Whether the image names it by number.
    pub numeric: bool,
}

/// Reads the choice from the manifest, over the image's user.
///
/// # Errors
/// When a number is not one that users and groups have.
pub fn choose_user(
    pod: &Pod,
    container: &Container,
    image_user: &str,
) -> Result<UserChoice, ConfigError> {
    let own = container.security_context.as_ref();
    let shared = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let user = own
        .and_then(|c| c.run_as_user)
        .or(shared.and_then(|c| c.run_as_user));
    let group = own
        .and_then(|c| c.run_as_group)
        .or(shared.and_then(|c| c.run_as_group));
    let non_root = own
        .and_then(|c| c.run_as_non_root)
        .or(shared.and_then(|c| c.run_as_non_root))
        .unwrap_or(false);
    let mut supplemental = Vec::new();
    let listed = shared
        .iter()
        .flat_map(|c| c.supplemental_groups.iter().flatten());
    for id in listed.chain(shared.and_then(|c| c.fs_group.as_ref())) {
        let id = number("group", *id)?;
        if !supplemental.contains(&id) {
            supplemental.push(id);
        }
    }
    let policy = shared.and_then(|c| c.supplemental_groups_policy.as_deref());
    Ok(UserChoice {
        user: match user {
            Some(id) => number("user", id)?.to_string(),
            None => image_user.to_string(),
        },
        group: group.map(|id| number("group", id)).transpose()?,
        supplemental,
        image_groups: policy != Some("Strict"),
        explicit: user.is_some(),
        non_root,
    })
}

fn number(what: &str, id: i64) -> Result<u32, ConfigError> {
    u32::try_from(id).map_err(|_| ConfigError::new(format!("{what} id {id} is not possible")))
}

/// Refuses root where the manifest forbids it, in kubelet's words.
///
/// # Errors
/// When the user is root, or may be.
pub fn check_non_root(
    pod: &Pod,
    container: &str,
    choice: &UserChoice,
    found: Identity,
) -> Result<(), ConfigError> {
    if !choice.non_root {
        return Ok(());
    }
    let meta = &pod.metadata;
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let pod = format!(
        "{}_{}({})",
        of(&meta.name),
        of(&meta.namespace),
        of(&meta.uid)
    );
    let place = format!("(pod: {pod:?}, container: {container})");
    let refused = if choice.explicit && found.uid == 0 {
        format!("container's runAsUser breaks non-root policy {place}")
    } else if choice.explicit {
        return Ok(());
    } else if found.uid == 0 {
        format!("container has runAsNonRoot and image will run as root {place}")
    } else if !found.numeric {
        let user = choice.user.split(':').next().unwrap_or_default();
        format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify \
             user is non-root {place}"
        )
    } else {
        return Ok(());
    };
    Err(ConfigError::new(refused))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(pod: serde_json::Value, own: serde_json::Value, found: Identity) -> String {
        let pod = json!({"metadata": {"name": "web", "namespace": "d", "uid": "u"},
            "spec": {"securityContext": pod, "containers": []}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let own = json!({"name": "c", "securityContext": own});
        let own: Container = serde_json::from_value(own).expect("a container");
        let choice = choose_user(&pod, &own, "app").expect("a choice");
        let checked = check_non_root(&pod, "c", &choice, found);
        checked.err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn root_is_refused_where_it_is_forbidden() {
        let root = Identity {
            uid: 0,
            numeric: true,
        };
        let named = Identity {
            uid: 7,
            numeric: false,
        };
        let place = "(pod: \"web_d(u)\", container: c)";
        let forbid = json!({"runAsNonRoot": true});
        assert_eq!(
            check(forbid.clone(), json!({}), root),
            format!("container has runAsNonRoot and image will run as root {place}")
        );
        assert_eq!(
            check(forbid.clone(), json!({"runAsUser": 0}), root),
            format!("container's runAsUser breaks non-root policy {place}")
        );
        assert!(check(forbid.clone(), json!({}), named).contains("non-numeric user (app)"));
        assert_eq!(check(forbid.clone(), json!({"runAsUser": 7}), named), "");
        assert_eq!(check(forbid, json!({"runAsNonRoot": false}), root), "");
    }
}
