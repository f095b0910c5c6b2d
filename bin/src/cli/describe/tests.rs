use super::*;
use crate::cli::fake::{deployment, pod};
use kabuki_model::kind;
use serde_json::json;

fn text(kind: &str, value: &Value, events: Option<Vec<Value>>) -> String {
    let stored = |value: Value| {
        let key = kabuki_model::ObjectKey::new(Resource::EVENTS, "default", "e");
        Arc::new(Stored::new(key, "".into(), 0, value.to_string().into()))
    };
    let around = Around {
        now: "2026-01-01T00:01:00Z".parse().expect("a time"),
        events: events.map(|e| e.into_iter().map(stored).collect()),
        related: Vec::new(),
    };
    described(kind::by_name(kind).expect("a kind"), value, &around)
}

#[test]
fn a_pod_is_described_as_kubectl_does() {
    let event = json!({
        "type": "Normal", "reason": "Started", "message": "Started container main",
        "source": {"component": "kubelet"}, "count": 3,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:55Z",
    });
    assert_eq!(
        text("pod", &pod("web-1"), Some(vec![event])),
        "\
Name:         web-1
Namespace:    default
Priority:     0
Node:         a/10.0.0.1
Start Time:   Thu, 01 Jan 2026 00:00:01 +0000
Labels:       app=web
              tier=front
Annotations:  <none>
Status:       Running
IP:           10.244.0.5
IPs:
  IP:  10.244.0.5
Containers:
  main:
    Container ID:   kabuki://c1
    Image:          web:1
    Image ID:       sha256:1
    Port:           80/TCP
    Host Port:      0/TCP
    State:          Running
      Started:      Thu, 01 Jan 2026 00:00:02 +0000
    Ready:          True
    Restart Count:  0
    Environment:    <none>
    Mounts:         <none>
Conditions:
  Type           Status
  Ready          True 
Volumes:         <none>
QoS Class:       BestEffort
Node-Selectors:  <none>
Tolerations:     <none>
Events:
  Type    Reason   Age               From     Message
  ----    ------   ----              ----     -------
  Normal  Started  5s (x3 over 60s)  kubelet  Started container main
"
    );
}

#[test]
fn a_deployment_is_described_as_kubectl_does() {
    assert_eq!(
        text("deployment", &deployment("web", 2), Some(Vec::new())),
        "\
Name:                   web
Namespace:              default
CreationTimestamp:      Thu, 01 Jan 2026 00:00:00 +0000
Labels:                 <none>
Annotations:            deployment.kubernetes.io/revision: 1
Selector:               app=web
Replicas:               2 desired | 2 updated | 2 total | 2 available | 0 unavailable
StrategyType:           RollingUpdate
MinReadySeconds:        0
RollingUpdateStrategy:  25% max unavailable, 25% max surge
Pod Template:
  Labels:  app=web
  Containers:
   main:
    Image:         web:1
    Port:          <none>
    Host Port:     <none>
    Environment:   <none>
    Mounts:        <none>
  Volumes:         <none>
  Node-Selectors:  <none>
  Tolerations:     <none>
Conditions:
  Type           Status  Reason
  ----           ------  ------
  Available      True    MinimumReplicasAvailable 
OldReplicaSets:  <none>
NewReplicaSet:   <none>
Events:          <none>
"
    );
}

#[test]
fn a_secret_shows_sizes_only() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"},
        "type": "Opaque", "data": {"password": "czNjcmV0"},
    });
    let text = text("secret", &secret, None);
    assert!(
        text.ends_with("Type:  Opaque\n\nData\n====\npassword:  6 bytes\n"),
        "{text}"
    );
    assert!(!text.contains("czNjcmV0"));
}
