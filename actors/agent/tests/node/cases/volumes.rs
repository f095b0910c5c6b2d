//! Volumes and environment.

use crate::node::TestNode;
use kabuki_model::Resource;
use serde_json::json;

pub async fn volumes_and_environment_hold_what_the_manifest_says() {
    let node = TestNode::start().await;
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cfg"},
        "data": {"color": "red"}});
    node.api.put(Resource::CONFIG_MAPS, "default", config);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sec"},
        "data": {"pw": "aHVudGVy"}});
    node.api.put(Resource::SECRETS, "default", secret);
    let host = tempfile::tempdir().expect("a directory");
    std::fs::write(host.path().join("file"), "of the host").expect("written");
    let script = "echo $COLOR $GREETING $FROM_IMAGE $IP; cat /cfg/color; echo; cat /sec/pw; echo; \
        cat /host/file; echo; echo x > /scratch/f && cat /scratch/f; cat /one; echo; \
        stat -Lc %a /sec/pw; echo y > /mem/f && cat /mem/f; id -u; id -G; \
        touch /cfg/new 2>/dev/null || echo read-only; cat /etc/hostname; \
        stat -c %g /scratch";
    let more = json!({
        "container": {
            "env": [
                {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "color"}}},
                {"name": "GREETING", "value": "$(COLOR)!"},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "volumeMounts": [
                {"name": "cfg", "mountPath": "/cfg"}, {"name": "sec", "mountPath": "/sec"},
                {"name": "host", "mountPath": "/host", "readOnly": true},
                {"name": "scratch", "mountPath": "/scratch"},
                {"name": "mem", "mountPath": "/mem"},
                {"name": "cfg", "mountPath": "/one", "subPath": "color"}],
            "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
        },
        "spec": {
            "restartPolicy": "Never", "hostname": "myhost",
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000},
            "volumes": [
                {"name": "cfg", "configMap": {"name": "cfg"}},
                {"name": "sec", "secret": {"secretName": "sec", "defaultMode": 256}},
                {"name": "host", "hostPath": {"path": host.path(), "type": "Directory"}},
                {"name": "scratch", "emptyDir": {}},
                {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        },
    });
    node.run("web", script, more);
    std::fs::set_permissions(
        host.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("allowed");
    let pod = node
        .until("web", |pod| pod["status"]["phase"] == "Succeeded")
        .await;
    let ip = pod["status"]["podIP"]
        .as_str()
        .expect("an address")
        .to_string();
    let log = node.log("web").await;
    let expected = format!(
        "red red! yes {ip}\nred\nhunter\nof the host\nx\nred\n440\ny\n1000\n1000 2000\nread-only\n\
         myhost\n2000\n"
    );
    assert_eq!(log, expected);
    assert_eq!(pod["status"]["qosClass"], "Guaranteed");
    node.remove().await;
}

pub async fn what_is_missing_is_waited_for() {
    let node = TestNode::start().await;
    let more = json!({
        "container": {
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "a"}}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        },
        "spec": {"volumes": [{"name": "v", "configMap": {"name": "volume"}}]},
    });
    node.run("web", "exec sleep 1000", more);
    let failed =
        "FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"volume\" not found";
    node.until_event("web", failed).await;
    let config = |name: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"a": "1"}})
    };
    node.api
        .put(Resource::CONFIG_MAPS, "default", config("volume"));
    let pod = node
        .until("web", |pod| {
            let state = &pod["status"]["containerStatuses"][0]["state"];
            state["waiting"]["reason"] == "CreateContainerConfigError"
        })
        .await;
    let state = &pod["status"]["containerStatuses"][0]["state"];
    assert_eq!(state["waiting"]["message"], "configmap \"late\" not found");
    node.api
        .put(Resource::CONFIG_MAPS, "default", config("late"));
    node.until_running("web").await;
    node.remove().await;
}
