//! What a pod gets from its ServiceAccount at its creation (Kubernetes, "ServiceAccount admission
//! controller"): the volume with the account's token, and the account's image pull secrets.

use crate::admit::Context;
use crate::draft;
use kabuki_model::k8s_openapi::api::core::v1::ServiceAccount;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError};
use serde_json::{Map, Value, json};

/// The account of pods that name none. Every namespace gets it sooner or later; until then it is
/// taken for an empty one.
const DEFAULT: &str = "default";
/// Where programs look for the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// A little more than an hour: Kubernetes knows tokens of pods by it.
const EXPIRATION_S: i64 = 3607;
/// The keys that sign tokens. A cluster without them has no tokens to mount.
const KEYS: (&str, &str) = ("kube-system", "kabuki-token-keys");
/// Pods that a node runs on its own account have no ServiceAccount.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Adds it to the JSON of a pod. What is not well formed is left for others to refuse.
pub(super) fn add(
    view: &dyn View,
    namespace: &str,
    pod: &mut Map<String, Value>,
    cx: &Context,
) -> Result<(), StatusError> {
    let name = pod_name(pod);
    let is_mirror = pod
        .get("metadata")
        .is_some_and(|m| m["annotations"].get(MIRROR).is_some());
    let Some(Value::Object(spec)) = pod.get_mut("spec") else {
        return Ok(());
    };
    if is_mirror {
        return Ok(());
    }
    let own = |field: &str| spec.get(field).and_then(Value::as_str);
    let account = own("serviceAccountName").filter(|n| !n.is_empty());
    let account = account.or(own("serviceAccount")).filter(|n| !n.is_empty());
    let account = account.unwrap_or(DEFAULT).to_string();
    let account = find(view, namespace, &account, &name)?;
    let keys = ObjectKey::new(Resource::SECRETS, KEYS.0, KEYS.1);
    let asked = spec
        .get("automountServiceAccountToken")
        .and_then(Value::as_bool);
    let mounts = match asked {
        Some(asked) => asked,
        None => account.automount_service_account_token != Some(false) && view.get(&keys).is_some(),
    };
    if mounts {
        mount(spec, cx);
    }
    let secrets = account.image_pull_secrets.unwrap_or_default();
    let none = spec
        .get("imagePullSecrets")
        .is_none_or(|s| s.as_array().is_some_and(Vec::is_empty) || s.is_null());
    if none && !secrets.is_empty() {
        spec.insert("imagePullSecrets".to_string(), json!(secrets));
    }
    Ok(())
}

fn pod_name(pod: &Map<String, Value>) -> String {
    let meta = pod.get("metadata");
    let text = |field: &str| meta.and_then(|m| m[field].as_str()).map(str::to_string);
    text("name")
        .or_else(|| text("generateName"))
        .unwrap_or_default()
}

fn find(
    view: &dyn View,
    namespace: &str,
    account: &str,
    pod: &str,
) -> Result<ServiceAccount, StatusError> {
    let key = ObjectKey::new(Resource::SERVICE_ACCOUNTS, namespace, account);
    match view.get(&key).map(|held| held.typed::<ServiceAccount>()) {
        Some(Ok(held)) => Ok((*held).clone()),
        Some(Err(error)) => Err(StatusError::internal(error.to_string())),
        None if account == DEFAULT => Ok(ServiceAccount::default()),
        None => {
            let why = format!(
                "error looking up service account {namespace}/{account}: serviceaccount \
                 {account:?} not found"
            );
            Err(StatusError::forbidden(&Resource::PODS, pod, &why))
        }
    }
}

/// Mounts the token into every container that has nothing else at its place.
fn mount(spec: &mut Map<String, Value>, cx: &Context) {
    let held = spec
        .get("volumes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let names = held.filter_map(|v| v["name"].as_str());
    let own = names
        .filter(|n| n.starts_with(VOLUME_PREFIX))
        .map(str::to_string)
        .next();
    let has_volume = own.is_some();
    let name = own.unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", draft::name_suffix(cx)));
    let mut is_mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            is_mounted |= mount_into(container, &name);
        }
    }
    if is_mounted && !has_volume {
        let volumes = spec.entry("volumes").or_insert(Value::Null);
        push(volumes, volume(&name));
    }
}

fn mount_into(container: &mut Value, name: &str) -> bool {
    let Some(container) = container.as_object_mut() else {
        return false;
    };
    let mounts = container.entry("volumeMounts").or_insert(Value::Null);
    let mut held = mounts.as_array().into_iter().flatten();
    if held.any(|m| m["mountPath"] == MOUNT_PATH) {
        return false;
    }
    push(
        mounts,
        json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}),
    );
    true
}

/// Adds to a list that may not be there yet.
fn push(list: &mut Value, item: Value) {
    if list.is_null() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}

fn volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": EXPIRATION_S, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_model::Stored;
    use kabuki_model::k8s_openapi::jiff::Timestamp;
    use kabuki_model::object::canonical_json;
    use kabuki_model::view::MapView;

    const CX: Context = Context {
        now: Timestamp::UNIX_EPOCH,
        entropy: 7,
        term: 1,
    };

    fn put(view: &mut MapView, resource: Resource, namespace: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().expect("a name");
        let key = ObjectKey::new(resource, namespace, name);
        let kind = object["kind"].as_str().expect("a kind").to_string();
        let fields = object.as_object().expect("an object").clone();
        let json = canonical_json("v1", &kind, fields);
        view.put(&Stored::new(key, "u".into(), 1, json));
    }

    fn world(account: Value) -> MapView {
        let mut view = MapView::default();
        let keys = json!({"kind": "Secret", "metadata": {"name": KEYS.1}});
        put(&mut view, Resource::SECRETS, KEYS.0, keys);
        let mut object = json!({"kind": "ServiceAccount", "metadata": {"name": "robot"}});
        for (field, value) in account.as_object().expect("fields") {
            object[field] = value.clone();
        }
        put(&mut view, Resource::SERVICE_ACCOUNTS, "shop", object);
        view
    }

    fn added(view: &MapView, spec: Value) -> Value {
        let mut pod = json!({"metadata": {"name": "web"}, "spec": spec});
        let fields = pod.as_object_mut().expect("an object");
        add(view, "shop", fields, &CX).expect("allowed");
        pod["spec"].clone()
    }

    #[test]
    fn every_container_without_something_at_its_place_gets_the_token() {
        let taken = json!([{"name": "own", "mountPath": MOUNT_PATH}]);
        let spec = added(
            &world(json!({})),
            json!({"serviceAccountName": "robot", "initContainers": [{"name": "i"}],
                "containers": [{"name": "a"}, {"name": "b", "volumeMounts": taken}]}),
        );
        let volume = &spec["volumes"][0];
        let name = volume["name"].as_str().expect("a name");
        assert!(name.starts_with(VOLUME_PREFIX), "{name}");
        assert_eq!(
            volume["projected"]["sources"][0]["serviceAccountToken"]["path"],
            "token"
        );
        let mount = json!([{"name": name, "readOnly": true, "mountPath": MOUNT_PATH}]);
        assert_eq!(spec["containers"][0]["volumeMounts"], mount);
        assert_eq!(spec["initContainers"][0]["volumeMounts"], mount);
        assert_eq!(spec["containers"][1]["volumeMounts"], taken);
    }

    #[test]
    fn the_pod_decides_before_the_account_and_a_cluster_without_keys_mounts_nothing_unasked() {
        let containers = json!([{"name": "a"}]);
        let mounts = |view: &MapView, wish: Value| {
            let spec = added(
                view,
                json!({"serviceAccountName": "robot", "containers": containers,
                    "automountServiceAccountToken": wish}),
            );
            spec.get("volumes").is_some()
        };
        let shy = world(json!({"automountServiceAccountToken": false}));
        assert!(!mounts(&shy, Value::Null));
        assert!(mounts(&shy, json!(true)));
        assert!(!mounts(&world(json!({})), json!(false)));
        let mut bare = world(json!({}));
        bare.remove(&ObjectKey::new(Resource::SECRETS, KEYS.0, KEYS.1));
        assert!(!mounts(&bare, Value::Null));
    }

    #[test]
    fn pull_secrets_come_from_the_account_unless_the_pod_has_its_own() {
        let view = world(json!({"imagePullSecrets": [{"name": "registry"}]}));
        let spec = json!({"serviceAccountName": "robot", "containers": []});
        assert_eq!(
            added(&view, spec)["imagePullSecrets"],
            json!([{"name": "registry"}])
        );
        let own = json!([{"name": "own"}]);
        let spec = json!({"serviceAccountName": "robot", "imagePullSecrets": own});
        assert_eq!(added(&view, spec)["imagePullSecrets"], own);
    }

    #[test]
    fn an_account_that_is_not_there_is_refused_by_name() {
        let mut pod = json!({"metadata": {"name": "web"}, "spec": {"serviceAccountName": "no"}});
        let fields = pod.as_object_mut().expect("an object");
        let refused = add(&world(json!({})), "shop", fields, &CX).expect_err("refused");
        assert_eq!(
            refused.message,
            "pods \"web\" is forbidden: error looking up service account shop/no: \
             serviceaccount \"no\" not found"
        );
    }
}
