use super::*;
use jiff::SignedDuration;
use serde_json::{Value, json};

fn pod(more: Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u",
            "labels": {"b": "2", "a": "say \"x\""}, "annotations": {"k": "v"}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "250m"}}}]},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    serde_json::from_value(pod).expect("a pod")
}

fn volume(source: Value) -> Volume {
    let mut volume = source;
    volume["name"] = "v".into();
    serde_json::from_value(volume).expect("a volume")
}

fn contents() -> Contents {
    let map = json!({"data": {"a": "1", "b": "2"}});
    let secret = json!({"data": {"pw": "aHVudGVy"}});
    let map: ConfigMap = serde_json::from_value(map).expect("a config map");
    let secret: Secret = serde_json::from_value(secret).expect("a secret");
    let wish = TokenWish {
        audience: "vault".to_string(),
        expiration_s: 600,
    };
    Contents {
        config_maps: [("cfg".to_string(), Arc::new(map))].into(),
        secrets: [("sec".to_string(), Arc::new(secret))].into(),
        tokens: [(wish, "t0ken".to_string())].into(),
    }
}

fn made(pod: &Pod, source: Value) -> Result<Vec<(String, String, u32)>, String> {
    let made = files(pod, &PodFacts::default(), &volume(source), &contents());
    let made = made.map_err(|error| error.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ok(made
        .into_iter()
        .map(|f| (f.path, text(f.bytes), f.mode))
        .collect())
}

fn row(path: &str, text: &str, mode: u32) -> (String, String, u32) {
    (path.to_string(), text.to_string(), mode)
}

#[test]
fn items_choose_paths_and_modes() {
    let items = json!([{"key": "b", "path": "x/y", "mode": 256}]);
    let chosen = made(
        &pod(json!({})),
        json!({"configMap": {"name": "cfg", "items": items}}),
    );
    assert_eq!(chosen, Ok(vec![row("x/y", "2", 0o400)]));
    let all = made(
        &pod(json!({})),
        json!({"configMap": {"name": "cfg", "defaultMode": 384}}),
    );
    assert_eq!(all, Ok(vec![row("a", "1", 0o600), row("b", "2", 0o600)]));
}

#[test]
fn what_is_missing_is_named_unless_it_is_optional() {
    let pod = pod(json!({}));
    let items = json!([{"key": "no", "path": "x"}]);
    let refused = |source: Value| made(&pod, source).expect_err("refused");
    assert_eq!(
        refused(json!({"configMap": {"name": "cfg", "items": items}})),
        "references non-existent config key: no"
    );
    assert_eq!(
        refused(json!({"secret": {"secretName": "none"}})),
        "secret \"none\" not found"
    );
    assert_eq!(
        refused(json!({"projected": {"sources": [{"secret": {"name": "none"}}]}})),
        "secret \"none\" not found"
    );
    for source in [
        json!({"configMap": {"name": "cfg", "items": items, "optional": true}}),
        json!({"secret": {"secretName": "none", "optional": true}}),
        json!({"projected": {"sources": [{"configMap": {"name": "none", "optional": true}}]}}),
        json!({"projected": {"sources": [{"secret": {"name": "none", "optional": true}}]}}),
    ] {
        assert_eq!(made(&pod, source), Ok(Vec::new()));
    }
}

#[test]
fn a_projected_volume_holds_all_its_sources() {
    let source = json!({"projected": {"defaultMode": 292, "sources": [
        {"configMap": {"name": "cfg", "items": [{"key": "a", "path": "conf/a"}]}},
        {"secret": {"name": "sec", "items": [{"key": "pw", "path": "pw", "mode": 256}]}},
        {"downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "cpu", "resourceFieldRef":
                {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"}}]}},
        {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}},
    ]}});
    let labels = "a=\"say \\\"x\\\"\"\nb=\"2\"";
    let expected = |mode| {
        vec![
            row("conf/a", "1", 0o444),
            row("cpu", "250", 0o444),
            row("labels", labels, 0o444),
            row("pw", "hunter", 0o400),
            row("token", "t0ken", mode),
        ]
    };
    assert_eq!(made(&pod(json!({})), source.clone()), Ok(expected(0o444)));
    let grouped = pod(json!({"securityContext": {"fsGroup": 5}}));
    assert_eq!(made(&grouped, source), Ok(expected(0o600)));
}

#[test]
fn a_source_that_is_not_supported_is_refused_by_name() {
    let source = json!({"projected": {"sources": [{"clusterTrustBundle": {"path": "ca"}}]}});
    let refused = made(&pod(json!({})), source).expect_err("refused");
    assert_eq!(
        refused,
        "projected source clusterTrustBundle is not supported"
    );
}

#[test]
fn a_token_belongs_to_the_only_user_of_all_containers() {
    let user = |first: Value, second: Value| {
        let pod = pod(json!({"securityContext": {"runAsUser": 7}, "containers": [
            {"name": "a", "securityContext": first}, {"name": "b", "securityContext": second}]}));
        token::only_user(&pod)
    };
    assert_eq!(user(json!({}), json!({})), Some(7));
    assert_eq!(user(json!({"runAsUser": 7}), json!({})), Some(7));
    assert_eq!(user(json!({"runAsUser": 8}), json!({})), None);
    assert_eq!(token::only_user(&pod(json!({}))), None);
}

#[test]
fn a_token_is_renewed_at_four_fifths_of_its_life_or_a_little_before() {
    let hour = SignedDuration::from_hours(1);
    assert_eq!(rotate_after(hour, 0).as_secs(), 2880);
    for draw in [1, 77, u64::MAX] {
        let at = rotate_after(hour, draw).as_secs();
        assert!((2700..=2880).contains(&at), "{at}");
    }
    let year = SignedDuration::from_hours(24 * 365);
    assert_eq!(rotate_after(year, 0).as_secs(), 24 * 3600);
}

#[test]
fn references_and_wishes_are_found_in_every_source() {
    let source = json!({"projected": {"sources": [
        {"configMap": {"name": "m"}}, {"secret": {"name": "s"}},
        {"serviceAccountToken": {"path": "token"}}]}});
    let volume = volume(source);
    let all = references(&volume);
    assert_eq!(all.config_maps.iter().collect::<Vec<_>>(), ["m"], "{all:?}");
    assert_eq!(all.secrets.iter().collect::<Vec<_>>(), ["s"], "{all:?}");
    let mut pod = pod(json!({}));
    pod.spec.as_mut().expect("a spec").volumes = Some(vec![volume]);
    let wishes: Vec<_> = token_wishes(&pod).into_iter().collect();
    let wish = TokenWish {
        audience: String::new(),
        expiration_s: 3600,
    };
    assert_eq!(wishes, [wish]);
}
