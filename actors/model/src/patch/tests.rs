use super::*;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn json_patch_does_the_examples_of_its_rfc() {
    // RFC 6902, appendix A: object, patch, result.
    let cases = [
        (
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/baz", "value": "qux"}]),
            json!({"baz": "qux", "foo": "bar"}),
        ),
        (
            json!({"foo": ["bar", "baz"]}),
            json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
            json!({"foo": ["bar", "qux", "baz"]}),
        ),
        (
            json!({"baz": "qux", "foo": "bar"}),
            json!([{"op": "remove", "path": "/baz"}]),
            json!({"foo": "bar"}),
        ),
        (
            json!({"foo": ["bar", "qux", "baz"]}),
            json!([{"op": "remove", "path": "/foo/1"}]),
            json!({"foo": ["bar", "baz"]}),
        ),
        (
            json!({"baz": "qux"}),
            json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
            json!({"baz": "boo"}),
        ),
        (
            json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
            json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
            json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
        ),
        (
            json!({"foo": ["all", "grass", "cows", "eat"]}),
            json!([{"op": "move", "from": "/foo/1", "path": "/foo/3"}]),
            json!({"foo": ["all", "cows", "eat", "grass"]}),
        ),
        (
            json!({"baz": "qux", "foo": ["a", 2, "c"]}),
            json!([{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2.0}]),
            json!({"baz": "qux", "foo": ["a", 2, "c"]}),
        ),
        (
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/child", "value": {"grandchild": {}}, "xyz": 1}]),
            json!({"child": {"grandchild": {}}, "foo": "bar"}),
        ),
        (
            json!({"/": 9, "~1": 10}),
            json!([{"op": "test", "path": "/~01", "value": 10}]),
            json!({"/": 9, "~1": 10}),
        ),
        (
            json!({"foo": ["bar"]}),
            json!([{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}]),
            json!({"foo": ["bar", ["abc", "def"]]}),
        ),
        (
            json!({"a": [1]}),
            json!([{"op": "copy", "from": "/a", "path": "/b"}]),
            json!({"a": [1], "b": [1]}),
        ),
    ];
    for (object, patch, result) in cases {
        assert_eq!(
            json_patch(&object, &patch).expect("applies"),
            result,
            "{patch}"
        );
    }
}

#[test]
fn json_patch_says_which_operation_does_not_fit() {
    let object = json!({"a": {"b": [1]}, "c": "x"});
    let cases = [
        (
            json!({}),
            "the patch is malformed: a JSON patch is a list of operations",
        ),
        (
            json!([{"op": "remove", "path": "/x"}]),
            "operation 0 (remove \"/x\"): there is no field \"x\"",
        ),
        (
            json!([{"op": "test", "path": "/c", "value": "y"}]),
            "operation 0 (test \"/c\"): the value is \"x\"",
        ),
        (
            json!([{"op": "add", "path": "/a/b/3", "value": 1}]),
            "operation 0 (add \"/a/b/3\"): position 3 is beyond the list's 2 items",
        ),
        (
            json!([{"op": "add", "path": "/a/b/01", "value": 1}]),
            "operation 0 (add \"/a/b/01\"): \"01\" is no position in a list",
        ),
        (
            json!([{"op": "add", "path": "/c/d", "value": 1}]),
            "operation 0 (add \"/c/d\"): \"d\" cannot be added to a value that has no parts",
        ),
        (
            json!([{"op": "move", "from": "/a", "path": "/a/b"}]),
            "operation 0 (move \"/a/b\"): \"/a\" cannot be moved into itself",
        ),
        (
            json!([{"op": "grow", "path": ""}]),
            "operation 0 (grow \"\"): \"grow\" is not one of add, remove, replace, move, copy, test",
        ),
        (
            json!([{"op": "replace", "path": "/c"}]),
            "operation 0 (replace \"/c\"): value is missing",
        ),
        (
            json!([{"op": "remove", "path": "c"}]),
            "operation 0 (remove \"c\"): a path is empty or begins with '/'",
        ),
        (
            json!([{"op": "remove"}]),
            "operation 0 (remove \"\"): path is missing or no text",
        ),
    ];
    for (patch, words) in cases {
        assert_eq!(
            json_patch(&object, &patch)
                .expect_err("refused")
                .to_string(),
            words
        );
    }
    let deep = json!([{"op": "add", "path": "/a".repeat(200), "value": 1}]);
    assert!(
        json_patch(&object, &deep)
            .expect_err("refused")
            .to_string()
            .contains("more than 128 parts")
    );
    let doubling: Vec<Value> = (0..40)
        .map(|_| json!({"op": "copy", "from": "/a/b", "path": "/a/b/-"}))
        .collect();
    assert!(
        json_patch(&object, &json!(doubling))
            .expect_err("refused")
            .to_string()
            .contains("too large")
    );
}

#[test]
fn merge_patch_does_the_examples_of_its_rfc() {
    // RFC 7386, appendix A.
    let cases = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (
            json!({"a": "b"}),
            json!({"b": "c"}),
            json!({"a": "b", "b": "c"}),
        ),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (
            json!({"a": "b", "b": "c"}),
            json!({"a": null}),
            json!({"b": "c"}),
        ),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (
            json!({"a": {"b": "c"}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d"}}),
        ),
        (
            json!({"a": [{"b": "c"}]}),
            json!({"a": [1]}),
            json!({"a": [1]}),
        ),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (
            json!({"e": null}),
            json!({"a": 1}),
            json!({"e": null, "a": 1}),
        ),
        (
            json!([1, 2]),
            json!({"a": "b", "c": null}),
            json!({"a": "b"}),
        ),
        (
            json!({}),
            json!({"a": {"bb": {"ccc": null}}}),
            json!({"a": {"bb": {}}}),
        ),
    ];
    for (mut object, patch, result) in cases {
        merge_patch(&mut object, &patch);
        assert_eq!(object, result, "{patch}");
    }
}

fn pod(containers: Value) -> Value {
    json!({"metadata": {"finalizers": ["a/b", "c/d"]}, "spec": {"containers": containers}})
}

fn patched(object: &Value, patch: Value) -> Value {
    strategic_patch(object, &patch).expect("applies")
}

#[test]
fn strategic_patches_merge_lists_by_their_keys() {
    let object =
        pod(json!([{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}]));
    let merged = patched(
        &object,
        json!({"spec": {"containers": [
            {"name": "b", "image": "2", "env": [{"name": "E", "value": "1"}]}, {"name": "c"},
        ]}}),
    );
    assert_eq!(
        merged["spec"]["containers"],
        json!([
            {"name": "a", "image": "1", "args": ["x"]},
            {"name": "b", "image": "2", "env": [{"name": "E", "value": "1"}]}, {"name": "c"},
        ])
    );
    let merged = patched(
        &object,
        json!({"spec": {"containers": [{"name": "a", "args": ["y", "z"], "image": null}]}}),
    );
    assert_eq!(
        merged["spec"]["containers"][0],
        json!({"name": "a", "args": ["y", "z"]})
    );
}

#[test]
fn every_directive_does_what_it_says() {
    let object = pod(json!([{"name": "a", "image": "1"}, {"name": "b"}, {"name": "c"}]));
    let deleted = patched(
        &object,
        json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}),
    );
    assert_eq!(
        deleted["spec"]["containers"],
        json!([{"name": "b"}, {"name": "c"}])
    );
    let replaced = patched(
        &object,
        json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}),
    );
    assert_eq!(replaced["spec"]["containers"], json!([{"name": "z"}]));
    let replaced = patched(
        &object,
        json!({"metadata": {"$patch": "replace", "name": "n"}}),
    );
    assert_eq!(replaced["metadata"], json!({"name": "n"}));
    let deleted = patched(&object, json!({"metadata": {"$patch": "delete"}}));
    assert_eq!(deleted["metadata"], json!({}));
    let kept = patched(&object, json!({"spec": {"$retainKeys": ["x"], "x": 1}}));
    assert_eq!(kept["spec"], json!({"x": 1}));
    let gone = patched(
        &object,
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"], "finalizers": ["e/f"]}}),
    );
    assert_eq!(gone["metadata"]["finalizers"], json!(["c/d", "e/f"]));
    let ordered = patched(
        &object,
        json!({"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "d"}, {"name": "a"}], "containers": [{"name": "d"}]}}),
    );
    let names: Vec<&str> = ordered["spec"]["containers"]
        .as_array()
        .expect("list")
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    assert_eq!(names, ["b", "c", "d", "a"]);
}

#[test]
fn a_strategic_patch_that_does_not_fit_says_where() {
    let object = pod(json!([]));
    let refused = |patch: Value| {
        strategic_patch(&object, &patch)
            .expect_err("refused")
            .to_string()
    };
    assert_eq!(
        refused(json!({"spec": {"containers": [{"image": "x"}]}})),
        "spec.containers: an item has no \"name\", by which items are told apart"
    );
    assert!(
        refused(json!({"spec": {"$patch": "grow"}})).starts_with("spec: unknown $patch directive")
    );
    assert!(
        refused(json!({"spec": {"$retainKeys": ["x"], "y": 1}}))
            .contains("not among the $retainKeys")
    );
    assert!(refused(json!([])).contains("malformed"));
}

#[test]
fn apply_sets_its_own_removes_what_it_set_and_leaves_the_rest() {
    let original = json!({"spec": {"replicas": 2, "paused": true, "template": {"spec": {"containers": [{"name": "a", "image": "1", "env": [{"name": "X"}]}, {"name": "old"}]}}}});
    let modified =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "2"}]}}}});
    let current = json!({"spec": {"replicas": 2, "minReadySeconds": 3, "template": {"spec": {"dnsPolicy": "ClusterFirst", "containers": [
        {"name": "injected"}, {"name": "a", "image": "1", "imagePullPolicy": "Always", "env": [{"name": "X"}, {"name": "Y"}]}, {"name": "old"}]}}}});
    let patch = create_three_way_patch(Some(&original), &modified, &current);
    let result = patched(&current, patch.clone());
    assert_eq!(
        result,
        json!({"spec": {"minReadySeconds": 3, "template": {"spec": {"dnsPolicy": "ClusterFirst", "containers": [
        {"name": "injected"}, {"name": "a", "image": "2", "imagePullPolicy": "Always"}]}}}}),
        "{patch}"
    );
    let again = create_three_way_patch(Some(&modified), &modified, &result);
    assert_eq!(again, json!({}), "nothing is left to change");
}

#[test]
fn a_changed_strategy_and_volume_lose_their_old_kind() {
    let current = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}, "volumes": [{"name": "v", "emptyDir": {}}]}});
    let modified = json!({"spec": {"strategy": {"type": "Recreate"}, "volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}});
    let patch = create_three_way_patch(None, &modified, &current);
    assert_eq!(patched(&current, patch), modified);
}

#[test]
fn lists_merge_as_the_objects_type_says() {
    // `ports` of a Service and of a container have different keys; a node's addresses merge, its
    // taints do not.
    let service = json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80, "name": "a"}]}});
    let patch = json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 81}]}});
    assert_eq!(
        patched(&service, patch)["spec"]["ports"],
        json!([{"port": 80, "name": "a", "targetPort": 8080}, {"port": 81}])
    );
    let node = json!({"apiVersion": "v1", "kind": "Node", "spec": {"taints": [{"key": "a"}]}, "status": {"addresses": [{"type": "Hostname", "address": "a"}]}});
    let patch = json!({"spec": {"taints": [{"key": "b"}]}, "status": {"addresses": [{"type": "InternalIP", "address": "1"}]}});
    let patched = patched(&node, patch);
    assert_eq!(patched["spec"]["taints"], json!([{"key": "b"}]));
    assert_eq!(
        patched["status"]["addresses"].as_array().map(Vec::len),
        Some(2)
    );
}

#[test]
fn a_port_with_two_protocols_is_kept() {
    let ports = |second: &str| {
        pod(
            json!([{"name": "a", "ports": [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": second}]}]),
        )
    };
    let patch = create_two_way_patch(&ports("SCTP"), &ports("UDP"));
    assert_eq!(patched(&ports("SCTP"), patch), ports("UDP"));
}

#[test]
fn what_was_applied_is_remembered() {
    let mut object = json!({"kind": "Pod", "metadata": {"name": "a"}});
    set_last_applied(&mut object);
    let text = object["metadata"]["annotations"][LAST_APPLIED]
        .as_str()
        .expect("set")
        .to_string();
    assert_eq!(
        text,
        "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{},\"name\":\"a\"}}\n"
    );
    set_last_applied(&mut object);
    assert_eq!(
        object["metadata"]["annotations"][LAST_APPLIED],
        text.as_str(),
        "it does not hold itself"
    );
    assert_eq!(
        last_applied(&object).expect("read")["metadata"]["name"],
        "a"
    );
    assert_eq!(
        last_applied(&json!({"metadata": {"annotations": {LAST_APPLIED: "{"}}})),
        None
    );
}

fn by_name(items: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-d]", items, 0..4).prop_map(|items| {
        let named = items.into_iter().map(|(name, mut item)| {
            item["name"] = name.into();
            item
        });
        named.collect::<Vec<_>>().into()
    })
}

fn objects() -> impl Strategy<Value = Value> {
    let env = by_name("[xy]".prop_map(|v| json!({"value": v})));
    let args = prop::collection::vec("[pq]", 0..3);
    let containers = by_name(
        (env, args, "[12]")
            .prop_map(|(env, args, image)| json!({"env": env, "args": args, "image": image})),
    );
    let finalizers = prop::collection::btree_set("[a-d]/e", 0..4);
    let labels = prop::collection::btree_map("[a-d]", "[12]", 0..3);
    (containers.prop_shuffle_items(), finalizers, labels, prop::option::of(0..3_i32)).prop_map(|(containers, finalizers, labels, replicas)| {
        let mut object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"finalizers": finalizers, "labels": labels}, "spec": {"containers": containers}});
        if let Some(replicas) = replicas {
            object["spec"]["replicas"] = replicas.into();
        }
        object
    })
}

trait ShuffleItems: Strategy<Value = Value> + Sized {
    fn prop_shuffle_items(self) -> impl Strategy<Value = Value> {
        self.prop_map(|v| v.as_array().cloned().unwrap_or_default())
            .prop_shuffle()
            .prop_map(Value::from)
    }
}
impl<S: Strategy<Value = Value>> ShuffleItems for S {}

/// Whether `whole` has everything that `part` says, items of named lists in the same order.
fn says(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(w), Value::Object(p)) => {
            p.iter().all(|(k, v)| w.get(k).is_some_and(|w| says(w, v)))
        }
        (Value::Array(w), Value::Array(p)) => {
            let mut rest = w.iter();
            p.iter().all(|item| rest.any(|w| says(w, item)))
        }
        (w, p) => w == p,
    }
}

proptest! {
    #[test]
    fn a_two_way_patch_gives_the_modified(current in objects(), modified in objects()) {
        let patch = create_two_way_patch(&current, &modified);
        prop_assert_eq!(strategic_patch(&current, &patch).expect("applies"), modified, "{}", patch);
    }

    #[test]
    fn a_three_way_patch_gives_what_the_manifest_says_once(
        original in objects(), modified in objects(), current in objects(),
    ) {
        let patch = create_three_way_patch(Some(&original), &modified, &current);
        let result = strategic_patch(&current, &patch).expect("applies");
        prop_assert!(says(&result, &modified), "{}\n{}", patch, result);
        let again = create_three_way_patch(Some(&modified), &modified, &result);
        prop_assert_eq!(again, json!({}), "{}", result);
    }

    #[test]
    fn a_merge_patch_gives_the_wanted(current in objects(), wanted in objects()) {
        let patch = create_merge_patch(&current, &wanted);
        let mut result = current.clone();
        merge_patch(&mut result, &patch);
        prop_assert_eq!(result, wanted);
    }

    #[test]
    fn no_strategic_patch_panics(current in objects(), patch in objects(), word in "merge|replace|delete|x") {
        let mut patch = patch;
        patch["spec"]["$patch"] = word.as_str().into();
        let _ = strategic_patch(&current, &patch);
        let _ = json_patch(&current, &json!([{"op": word, "path": "/spec/containers/0"}]));
    }
}
