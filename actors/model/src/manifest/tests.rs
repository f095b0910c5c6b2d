use super::*;
use proptest::prelude::*;
use serde_json::json;

fn all(text: &str) -> Vec<ManifestObject> {
    parse_all("m.yaml", text.as_bytes()).unwrap_or_else(|e| panic!("{e}"))
}

fn fault(text: &str) -> String {
    parse_all("m.yaml", text.as_bytes())
        .expect_err("refused")
        .to_string()
}

const ONE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n";

#[test]
fn documents_are_told_apart_and_empty_ones_skipped() {
    let text = format!(
        "# first\n---\n{ONE}---\n# nothing\n---\n\n--- # again\n{ONE}  namespace: x\ndata:\n  a: |\n    x\n     --- y\n...\n"
    );
    let found = all(&text);
    assert_eq!(found.len(), 2);
    assert_eq!(
        (
            found[0].name.as_str(),
            found[0].line,
            found[0].source.as_str()
        ),
        ("one", 3, "m.yaml")
    );
    assert_eq!(found[1].namespace, "x");
    assert_eq!(found[1].value["data"]["a"], "x\n --- y\n");
    assert!(found[1].document > found[0].document);
}

#[test]
fn json_values_follow_each_other() {
    let text = r#"
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}"#;
    let found = all(text);
    assert_eq!(
        found.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!((found[0].line, found[1].line, found[1].document), (2, 3, 2));
    assert_eq!(
        all("{apiVersion: v1, kind: Pod, metadata: {name: c}}")[0].name,
        "c"
    );
}

#[test]
fn lists_are_taken_apart() {
    let text = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "ConfigMapList", "items": [{"metadata": {"name": "b"}}]},
    ]});
    let found = all(&text.to_string());
    assert_eq!(found[0].kind, "Pod");
    assert_eq!(
        (found[1].kind.as_str(), found[1].name.as_str()),
        ("ConfigMap", "b")
    );
    assert_eq!(found[1].value["apiVersion"], "v1");
}

#[test]
fn faults_say_where_they_are() {
    assert_eq!(
        fault(&format!("{ONE}---\nkind: Pod\n")),
        "error validating \"m.yaml\": error validating data: apiVersion not set (document 2, line 6)"
    );
    assert!(fault("a: b").contains("[apiVersion not set, kind not set]"));
    assert!(fault("- a").contains("not an object"));
    let text = fault(&format!("{ONE}---\na: b\nc: : d\n"));
    assert!(
        text.starts_with("error parsing m.yaml: document 2, line 7: "),
        "{text}"
    );
    let text = fault("kind: a\nkind: b\n");
    assert!(text.contains("key \"kind\" already set in map"), "{text}");
    let text = fault(r#"{"kind":"a","kind":"b"}"#);
    assert!(text.contains("key \"kind\" already set in map"), "{text}");
    let text = fault("{\n\"kind\": \"a\",,}");
    assert!(text.contains("document 1, line 2"), "{text}");
    assert!(
        fault("apiVersion: v1\nkind: Pod\nmetadata: {name: 5}\n")
            .contains("metadata.name is not text")
    );
    let error = parse_all("m", b"a\xff").expect_err("refused");
    assert_eq!(
        error.to_string(),
        "error parsing m: not UTF-8 text at byte 1"
    );
}

#[test]
fn a_fault_does_not_hide_the_documents_after_it() {
    let text = format!("a: [\n---\n{ONE}");
    let read: Vec<_> = parse("m", text.as_bytes()).collect();
    assert!(read[0].is_err());
    assert_eq!(read[1].as_ref().expect("read").name, "one");
}

#[test]
fn keys_become_text_and_modes_are_octal() {
    let text = "apiVersion: v1\nkind: Pod\ndata: {1: a, true: b}\nspec:\n  volumes:\n  - secret: {defaultMode: 0400, items: [{mode: 0o644}]}\n";
    let found = all(text);
    assert_eq!(found[0].value["data"], json!({"1": "a", "true": "b"}));
    let secret = &found[0].value["spec"]["volumes"][0]["secret"];
    assert_eq!(secret["defaultMode"], 0o400);
    assert_eq!(secret["items"][0]["mode"], 0o644);
}

#[test]
fn merge_keys_fill_in() {
    let text = "apiVersion: v1\nkind: Pod\nx: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n";
    assert_eq!(all(text)[0].value["y"], json!({"a": 1, "b": 3}));
}

#[test]
fn anchors_cannot_blow_a_document_up() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_string();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        text.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![before; 10].join(",")
        ));
    }
    let error = fault(&text);
    assert!(
        error.contains("too large") || error.contains("repetition"),
        "{error}"
    );
    let deep = "[".repeat(100_000);
    assert!(fault(&deep).contains("recursion"));
    assert!(fault(&"{\"a\":".repeat(100_000)).contains("recursion"));
    assert!(fault(&"- ".repeat(100_000)).contains("recursion"));
}

#[test]
fn large_streams_are_read_or_refused() {
    let many = ["---\n", ONE].concat().repeat(10_000);
    assert_eq!(
        parse("m", many.as_bytes()).filter(Result::is_ok).count(),
        10_000
    );
    let large = format!("{ONE}data:\n  a: {}\n", "x".repeat(MAX_DOCUMENT_BYTES));
    assert!(fault(&large).contains("more than the 16777216 that are read"));
}

#[test]
fn yaml_is_written_as_kubectl_does() {
    let value = json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {}},
        "spec": {"containers": [{"name": "c", "args": ["-c", "echo: hi", "true", "10", "", "a\nb\n"], "ports": [[1, 2], []]}]},
        "x": null, "y": "yes", "z": "it's",
    });
    let expected = "apiVersion: v1\nkind: Pod\nmetadata:\n  annotations: {}\n  creationTimestamp: \"2026-01-01T00:00:00Z\"\n  name: web\nspec:\n  containers:\n  - args:\n    - -c\n    - 'echo: hi'\n    - \"true\"\n    - \"10\"\n    - \"\"\n    - |\n      a\n      b\n    name: c\n    ports:\n    - - 1\n      - 2\n    - []\nx: null\n\"y\": \"yes\"\nz: it's\n";
    assert_eq!(to_yaml(&value), expected);
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~\n\té\u{85}\u{2028}]{0,12}".prop_map(Value::from),
        "[-:#'\" \n0-9a.eExX_+~]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ -~\n]{0,6}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().filter(|(k, _)| k != "<<").collect())),
        ]
    })
}

proptest! {
    #[test]
    fn written_yaml_reads_back_the_same(value in values()) {
        let text = to_yaml(&json!({"apiVersion": "v1", "kind": "X", "data": value}));
        let found = parse_all("m", text.as_bytes());
        let found = found.map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(&found[0].value["data"], &value, "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a:{}\\[\\]&*!|>'\"%#,\n 0<]{0,60}") {
        for _ in parse("m", text.as_bytes()) {}
    }
}
