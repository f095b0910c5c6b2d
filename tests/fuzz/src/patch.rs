//! Patches. The first byte chooses what is done, the second on what; the rest is JSON.

use crate::world::{World, furniture};
use kabuki_model::patch::{
    create_merge_patch, create_three_way_patch, create_two_way_patch, merge_patch, strategic_patch,
};
use kabuki_model::request::{PatchType, Request, WriteOptions};
use serde_json::Value;

/// Patches something.
pub fn run(data: &[u8]) {
    let [what, which, json @ ..] = data else {
        return;
    };
    match what % 6 {
        0 => stored(*which, PatchType::Json, json),
        1 => stored(*which, PatchType::Merge, json),
        2 => stored(*which, PatchType::Strategic, json),
        3 => made(json, merge),
        5 => stored(
            *which,
            PatchType::Apply {
                force: which % 2 == 0,
            },
            json,
        ),
        _ => made(json, three_way),
    }
}

/// A client's patch of an object that is stored.
fn stored(which: u8, patch_type: PatchType, patch: &[u8]) {
    let keys = furniture();
    World::furnished().ask(&Request::Patch {
        key: keys[usize::from(which) % keys.len()].clone(),
        subresource: None,
        patch_type,
        patch: patch.to_vec().into(),
        options: WriteOptions {
            field_manager: "fuzz".to_string(),
            ..WriteOptions::default()
        },
    });
}

/// Patches made from up to three values.
fn made(json: &[u8], check: fn([&Value; 3])) {
    let values: Vec<Value> = serde_json::Deserializer::from_slice(json)
        .into_iter()
        .map_while(Result::ok)
        .take(3)
        .collect();
    let none = Value::Null;
    let value = |at| values.get(at).unwrap_or(&none);
    check([value(0), value(1), value(2)]);
}

/// A merge patch made of two objects turns one into the other. It cannot say null, RFC 7386.
fn merge([current, wanted, _]: [&Value; 3]) {
    let mut patched = current.clone();
    merge_patch(&mut patched, wanted);
    if wanted.is_object() && !says_null(wanted) {
        let mut patched = current.clone();
        merge_patch(&mut patched, &create_merge_patch(current, wanted));
        assert_eq!(&patched, wanted, "from {current}");
    }
}

fn three_way([original, modified, current]: [&Value; 3]) {
    let patch = create_three_way_patch(Some(original), modified, current);
    let _ = strategic_patch(current, &patch);
    let _ = strategic_patch(current, modified);
    let same = create_two_way_patch(current, current);
    if current.is_object() {
        assert_eq!(same, Value::Object(Default::default()), "of {current}");
    }
}

fn says_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().any(says_null),
        // A list is replaced as a whole, with its nulls.
        _ => false,
    }
}

/// Patches of each type, and values to make some of.
pub fn seeds() -> Vec<Vec<u8>> {
    const SEEDS: &[(u8, u8, &str)] = &[
        (
            0,
            1,
            r#"[{"op":"test","path":"/spec/replicas","value":3},{"op":"replace","path":"/spec/replicas","value":4},{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"c","image":"c"}},{"op":"move","from":"/metadata/labels","path":"/metadata/annotations"},{"op":"copy","from":"/spec/replicas","path":"/spec/minReadySeconds"},{"op":"remove","path":"/spec/template/spec/containers/0/env/0"}]"#,
        ),
        (0, 2, r#"[{"op":"add","path":"/data/a~1b~0","value":"x"}]"#),
        (
            1,
            1,
            r#"{"spec":{"replicas":null,"template":{"spec":{"volumes":null,"containers":[{"name":"a","image":"x"}]}}}}"#,
        ),
        (
            1,
            3,
            r#"{"metadata":{"labels":{"a":"b"}},"spec":{"taints":[{"key":"k","effect":"NoSchedule"}]}}"#,
        ),
        (
            2,
            1,
            r#"{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"},"template":{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a","env":[{"$patch":"delete","name":"X"}]},{"name":"c","image":"c"}]}}}}"#,
        ),
        (
            2,
            0,
            r#"{"metadata":{"labels":{"x":"y"},"$deleteFromPrimitiveList/finalizers":["a"],"finalizers":["b.c/d"]},"spec":{"containers":[{"name":"a","image":"new"}]}}"#,
        ),
        (2, 2, r#"{"$patch":"replace","data":{"z":"1"}}"#),
        (
            3,
            0,
            r#"{"a":{"b":1,"c":[1,null]},"d":2}{"a":{"b":2,"e":{}},"f":"x"}"#,
        ),
        (
            4,
            0,
            r#"{"spec":{"containers":[{"name":"a","image":"a"},{"name":"b"}]}}{"spec":{"containers":[{"name":"c"},{"name":"a","image":"b"}]}}{"spec":{"containers":[{"name":"b"},{"name":"a","image":"a","env":[{"name":"X","value":"1"}]}],"nodeName":"n"}}"#,
        ),
        (
            4,
            0,
            r#"{"metadata":{"finalizers":["a","b"]}}{"metadata":{"finalizers":["b","c"]}}{"metadata":{"finalizers":["a","d"]},"spec":{"template":{"spec":{"tolerations":[{"key":"a"}]}}}}"#,
        ),
        (
            5,
            1,
            r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":4,"template":{"spec":{"containers":[{"name":"a","image":"x","ports":[{"containerPort":80}],"env":[{"name":"X","value":"1"}]}]}}}}"#,
        ),
        (
            5,
            0,
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"a":"b"},"finalizers":["x.y/z"]},"spec":{"containers":[{"name":"a","image":"x"}]}}"#,
        ),
    ];
    let bytes = |(what, which, json): &(u8, u8, &str)| {
        let mut bytes = vec![*what, *which];
        bytes.extend_from_slice(json.as_bytes());
        bytes
    };
    SEEDS.iter().map(bytes).collect()
}
