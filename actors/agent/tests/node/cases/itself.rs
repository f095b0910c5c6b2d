//! What a node says of itself, whatever others make of it.

use crate::api::FakeApi;
use crate::node::{TestNode, ready};
use k8s_openapi::api::core::v1::Taint;
use kabuki_agent::Reserved;
use kabuki_model::{Quantity, Resource};
use serde_json::{Value, json};

/// The status of a condition.
fn condition<'a>(object: &'a Value, name: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|c| c["type"] == name)
        .map_or(&Value::Null, |c| &c["status"])
}

fn amount(value: &Value) -> i64 {
    let text = value.as_str().expect("an amount");
    text.parse::<Quantity>().expect("an amount").value_ceil()
}

pub async fn a_node_says_of_itself_what_it_was_told() {
    let node = TestNode::start_with(TestNode::dir(), FakeApi::new(), |config| {
        config.labels.insert("disk".to_string(), "ssd".to_string());
        config.taints.push(Taint {
            key: "gpu".to_string(),
            effect: "NoSchedule".to_string(),
            ..Taint::default()
        });
        config.reserved.push(Reserved {
            memory: 64 << 20,
            ..Reserved::default()
        });
    })
    .await;
    let made = node.until_node(|_| true).await;
    assert_eq!(condition(&made, "Ready"), "True", "with its first write");
    assert_eq!(made["metadata"]["labels"]["disk"], "ssd");
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
    assert_eq!(made["spec"]["taints"][0]["key"], "gpu");
    let (has, gives) = (&made["status"]["capacity"], &made["status"]["allocatable"]);
    let kept = amount(&has["memory"]) - amount(&gives["memory"]);
    assert_eq!(kept, (64 + 100) << 20);
    assert_eq!(has["cpu"], gives["cpu"]);
    let status = &made["status"];
    assert_eq!(
        status["features"],
        json!({"supplementalGroupsPolicy": true})
    );
    let handlers = status["runtimeHandlers"].as_array().expect("a list");
    let names = handlers.iter().map(|h| &h["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["", "kabuki", "runc"]);
    node.remove().await;
}

pub async fn a_node_that_was_taken_for_lost_says_at_once_that_it_is_not() {
    let node = TestNode::start().await;
    node.run("web", "exec sleep 1000", json!({}));
    node.until_running("web").await;
    let mut lost = node.until_node(|n| condition(n, "Ready") == "True").await;
    for condition in lost["status"]["conditions"].as_array_mut().expect("a list") {
        condition["status"] = "Unknown".into();
    }
    let others = json!({"type": "NetworkUnavailable", "status": "False"});
    let conditions = lost["status"]["conditions"].as_array_mut();
    conditions.expect("a list").push(others);
    node.api.put(Resource::NODES, "", lost);
    let mut pod = node.get("web").expect("there");
    for condition in pod["status"]["conditions"].as_array_mut().expect("a list") {
        if condition["type"] == "Ready" {
            condition["status"] = "False".into();
            condition["reason"] = "NodeNotReady".into();
        }
    }
    node.api.put(Resource::PODS, "default", pod);
    let found = node.until_node(|n| condition(n, "Ready") == "True").await;
    assert_eq!(condition(&found, "MemoryPressure"), "False");
    assert_eq!(
        condition(&found, "NetworkUnavailable"),
        "False",
        "what others say stays"
    );
    node.until("web", ready).await;
    node.delete_quietly("web").await;
    node.remove().await;
}

pub async fn a_node_that_was_deleted_registers_again() {
    let node = TestNode::start().await;
    let first = node.until_node(|n| condition(n, "Ready") == "True").await;
    node.api.forget(Resource::NODES, "", "n1");
    let again = node.until_node(|_| true).await;
    assert_ne!(again["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(condition(&again, "Ready"), "True");
    node.remove().await;
}
