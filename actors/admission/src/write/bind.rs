//! Binding a pod to a node: the scheduler's decision, checked again against the present state.

use crate::admit::Context;
use crate::commit::Commit;
use kabuki_model::command::{Command, Expect, Op};
use kabuki_model::object::canonical_json;
use kabuki_model::request::Binding;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError};
use serde_json::{Map, Value, json};

pub(crate) fn bind(
    view: &dyn View,
    binding: &Binding,
    cx: &Context,
) -> Result<Commit, StatusError> {
    let key = &binding.pod;
    let pod = view.get(key).ok_or_else(|| StatusError::not_found(key))?;
    if pod.uid != binding.uid {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            binding.uid, pod.uid
        );
        return Err(StatusError::conflict(key, &why));
    }
    if pod.meta().deletion_timestamp.is_some() {
        let why = format!(
            "pod {} is being deleted, cannot be assigned to a host",
            key.name
        );
        return Err(StatusError::conflict(key, &why));
    }
    let node = ObjectKey::new(Resource::NODES, "", &binding.node);
    if view.get(&node).is_none() {
        return Err(StatusError::not_found(&node));
    }
    let Ok(Value::Object(mut object)) = pod.to_value() else {
        return Err(StatusError::internal(format!("stored {key} is no object")));
    };
    assign(&mut object, key, &binding.node, cx)?;
    let require = Op::Require {
        key: node,
        expect: Expect::Present,
    };
    let put = Op::Put {
        key: key.clone(),
        uid: pod.uid.clone(),
        json: canonical_json("v1", "Pod", object),
        expect: Expect::Revision(pod.revision),
    };
    Ok(Commit {
        command: Command {
            term: cx.term,
            ops: vec![require, put],
        },
        warnings: Vec::new(),
        retry: true,
        creates: false,
    })
}

fn assign(
    object: &mut Map<String, Value>,
    key: &ObjectKey,
    node: &str,
    cx: &Context,
) -> Result<(), StatusError> {
    let spec = object.entry("spec").or_insert_with(|| json!({}));
    if let Some(bound) = spec["nodeName"].as_str().filter(|n| !n.is_empty()) {
        let why = format!("pod {} is already assigned to node {bound:?}", key.name);
        return Err(StatusError::conflict(key, &why));
    }
    spec["nodeName"] = node.into();
    let status = object.entry("status").or_insert_with(|| json!({}));
    let scheduled = json!({
        "type": "PodScheduled", "status": "True",
        "lastTransitionTime": super::create::whole_second(cx).to_string(),
    });
    match status.get_mut("conditions").and_then(Value::as_array_mut) {
        Some(conditions) => {
            conditions.retain(|c| c["type"] != "PodScheduled");
            conditions.push(scheduled);
        }
        None => status["conditions"] = json!([scheduled]),
    }
    Ok(())
}
