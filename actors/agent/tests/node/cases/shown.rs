//! Volumes that show what the API holds: projected ones, the downward API, tokens, and how they
//! follow a change.

use crate::node::TestNode;
use kabuki_model::Resource;
use serde_json::{Value, json};
use std::time::Duration;

fn config(name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"a": text, "b": text}})
}

/// Waits until the log contains a text.
async fn logged(node: &TestNode, name: &str, wanted: &str) {
    let wait = async {
        while !node.log(name).await.contains(wanted) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), wait).await;
    assert!(
        found.is_ok(),
        "{wanted:?} is not in {}",
        node.log(name).await
    );
}

pub async fn a_projected_volume_holds_all_its_sources() {
    let node = TestNode::start().await;
    node.api
        .put(Resource::CONFIG_MAPS, "default", config("cfg", "one"));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sec"},
        "data": {"pw": "aHVudGVy"}});
    node.api.put(Resource::SECRETS, "default", secret);
    let script = "cd /all; cat conf/a pw token; echo; cat labels name; echo; cat cpu; echo; \
        stat -Lc '%a %u %g' token pw conf/a; cat /down/ns; echo; cat /sub/a; \
        touch /all/x 2>/dev/null || echo read-only";
    let more = json!({
        "container": {
            "env": [{"name": "WHERE", "value": "conf"}],
            "resources": {"limits": {"cpu": "1500m"}},
            "volumeMounts": [
                {"name": "all", "mountPath": "/all"}, {"name": "down", "mountPath": "/down"},
                {"name": "all", "mountPath": "/sub", "subPathExpr": "$(WHERE)"}]},
        "spec": {
            "restartPolicy": "Never", "serviceAccountName": "robot",
            "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
            "volumes": [
                {"name": "all", "projected": {"defaultMode": 0o444, "sources": [
                    {"configMap": {"name": "cfg", "items": [{"key": "a", "path": "conf/a"}]}},
                    {"configMap": {"name": "absent", "optional": true}},
                    {"secret": {"name": "sec", "items": [{"key": "pw", "path": "pw", "mode": 0o400}]}},
                    {"serviceAccountToken": {"path": "token", "audience": "vault"}},
                    {"downwardAPI": {"items": [
                        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
                        {"path": "cpu", "resourceFieldRef": {"containerName": "main",
                            "resource": "limits.cpu", "divisor": "1m"}}]}}]}},
                {"name": "down", "downwardAPI": {"items": [
                    {"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}],
        },
    });
    let mut pod = node.pod("web", script, more);
    pod["metadata"]["labels"] = json!({"tier": "front"});
    node.api.put(Resource::PODS, "default", pod);
    node.until("web", |pod| pod["status"]["phase"] == "Succeeded")
        .await;
    let log = node.log("web").await;
    let expected = "onehunterdefault:robot:vault:web:true:1\ntier=\"front\"web\n1500\n\
        640 1000 2000\n440 0 2000\n444 0 2000\ndefault\noneread-only\n";
    assert_eq!(log, expected);
    node.remove().await;
}

pub async fn volumes_follow_the_objects_and_the_pod_that_they_show() {
    let node = TestNode::start().await;
    node.api
        .put(Resource::CONFIG_MAPS, "default", config("cfg", "one"));
    let mut frozen = config("frozen", "ice");
    frozen["immutable"] = true.into();
    node.api.put(Resource::CONFIG_MAPS, "default", frozen);
    // Whoever reads the directory that `..data` names sees two files of one write.
    let script = "while true; do d=/cfg/$(readlink /cfg/..data); \
        [ \"$(cat $d/a)\" = \"$(cat $d/b)\" ] || echo mixture; cat /cfg/a >/dev/null || echo missing; \
        echo $(cat /cfg/a) $(cat /sub) $(cat /down/k) $(cat /later/a 2>/dev/null); sleep 0.05; done";
    let item = json!({"path": "k", "fieldRef": {"fieldPath": "metadata.annotations['k']"}});
    let more = json!({
        "container": {"volumeMounts": [
            {"name": "cfg", "mountPath": "/cfg"}, {"name": "down", "mountPath": "/down"},
            {"name": "later", "mountPath": "/later"}, {"name": "frozen", "mountPath": "/frozen"},
            {"name": "cfg", "mountPath": "/sub", "subPath": "a"}]},
        "spec": {"volumes": [
            {"name": "cfg", "configMap": {"name": "cfg"}},
            {"name": "frozen", "configMap": {"name": "frozen"}},
            {"name": "later", "configMap": {"name": "late", "optional": true}},
            {"name": "down", "downwardAPI": {"items": [item]}}]},
    });
    node.run("web", script, more);
    node.until_running("web").await;
    logged(&node, "web", "one one\n").await;
    node.eventually("only what can change is watched", || {
        node.api.watchers(&Resource::CONFIG_MAPS) == 2
    })
    .await;
    for n in 0..20 {
        let text = format!("turn{n}");
        node.api
            .put(Resource::CONFIG_MAPS, "default", config("cfg", &text));
    }
    logged(&node, "web", "turn19 one\n").await;
    node.api
        .put(Resource::CONFIG_MAPS, "default", config("late", "there"));
    logged(&node, "web", "turn19 one there\n").await;
    let mut pod = node.get("web").expect("the pod");
    pod["metadata"]["annotations"] = json!({"k": "noted"});
    node.api.put(Resource::PODS, "default", pod);
    logged(&node, "web", "turn19 one noted there\n").await;
    node.api.forget(Resource::CONFIG_MAPS, "default", "late");
    logged(&node, "web", "turn19 one noted there\nturn19 one noted\n").await;
    let log = node.log("web").await;
    assert!(
        !log.contains("mixture") && !log.contains("missing"),
        "{log}"
    );
    node.delete("web", 0).await;
    node.until_gone("web").await;
    node.eventually("nothing is watched for a pod that is gone", || {
        node.api.watchers(&Resource::CONFIG_MAPS) == 0
    })
    .await;
    node.remove().await;
}

pub async fn a_token_is_waited_for_and_renewed_before_it_ends() {
    let node = TestNode::start().await;
    node.api.refuse_tokens(true);
    node.api.tokens_live_s(5);
    let script = "while true; do cat /t/token; echo; sleep 0.1; done";
    let source = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 600}});
    let more = json!({
        "container": {"volumeMounts": [{"name": "t", "mountPath": "/t"}]},
        "spec": {"volumes": [{"name": "t", "projected": {"sources": [source]}}]},
    });
    node.run("web", script, more);
    let failed = "FailedMount: MountVolume.SetUp failed for volume \"t\" : failed to fetch token: \
        no tokens today";
    node.until_event("web", failed).await;
    node.api.refuse_tokens(false);
    node.until_running("web").await;
    logged(&node, "web", "default:default::web:true:1\n").await;
    logged(&node, "web", "default:default::web:true:2\n").await;
    node.remove().await;
}
