//! Binding a pod to a node: the scheduler's decision, checked again against the present state.

use crate::admit::Context;
use crate::commit::Commit;
use kabuki_model::command::{Command, Expect, Op};
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::object::{canonical_json, with_managed_fields};
use kabuki_model::request::Binding;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError};
use serde_json::Value;

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
    let node = ObjectKey::new(Resource::NODES, "", &binding.node);
    if view.get(&node).is_none() {
        return Err(StatusError::not_found(&node));
    }
    let typed = pod.typed::<Pod>();
    let typed = typed.map_err(|e| StatusError::internal(format!("{e}: {}", e.source)))?;
    let mut bound = (*typed).clone();
    kabuki_model::kind::pod::bind(&mut bound, &binding.node, super::create::whole_second(cx))
        .map_err(|e| StatusError::conflict(key, &e.to_string()))?;
    let Ok(Value::Object(object)) = serde_json::to_value(&bound) else {
        return Err(StatusError::internal(format!(
            "{key} cannot be written as JSON"
        )));
    };
    let require = Op::Require {
        key: node,
        expect: Expect::Present,
    };
    let put = Op::Put {
        key: key.clone(),
        uid: pod.uid.clone(),
        json: with_managed_fields(canonical_json("v1", "Pod", object), pod.managed_fields()),
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
        scale: false,
    })
}
