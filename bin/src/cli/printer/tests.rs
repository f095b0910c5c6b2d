use super::*;
use serde_json::json;

fn formatted(format: &str, value: &Value) -> String {
    let out = Out::Memory(std::sync::Arc::default());
    Format::parse(format)
        .and_then(|f| f.value(&out, value, false))
        .expect("prints");
    out.written()
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"x": "y"}}})
}

#[test]
fn every_form_of_output() {
    assert_eq!(formatted("name", &pod()), "pod/a\n");
    assert_eq!(
        formatted("yaml", &pod()),
        "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    x: \"y\"\n  name: a\n"
    );
    assert!(formatted("json", &pod()).starts_with("{\n    \"apiVersion\": \"v1\",\n"));
    assert_eq!(formatted("jsonpath={.metadata.name}", &pod()), "a");
    assert_eq!(
        formatted("jsonpath-as-json={.metadata.name}", &pod()),
        "[\n    \"a\"\n]\n"
    );
    assert_eq!(
        formatted(
            "custom-columns=NAME:metadata.name,X:.metadata.labels['x']",
            &list_of(vec![pod()])
        ),
        "NAME   X\na      y\n"
    );
}

#[test]
fn what_cannot_be_printed_is_refused_by_name() {
    let refused = |text: &str| Format::parse(text).expect_err("refused").text();
    assert!(refused("xml").contains("\"xml\""));
    assert!(refused("go-template={{.}}").contains("not supported"));
    assert!(refused("jsonpath").contains("-o jsonpath="));
    assert!(refused("custom-columns=A").contains("expected <header>:<json-path-expr>"));
}

#[test]
fn managed_fields_are_left_out_unless_asked_for() {
    let mut value = pod();
    value["metadata"]["managedFields"] = json!([{}]);
    assert_eq!(shown(value.clone(), false), pod());
    assert_eq!(shown(value.clone(), true), value);
}

#[test]
fn columns_come_from_files_too() {
    let columns = CustomColumns::parse_file("A  B\n.metadata.name .kind\n").expect("reads");
    let out = Out::Memory(std::sync::Arc::default());
    columns.print(&out, &[pod()], true).expect("prints");
    assert_eq!(out.written(), "a     Pod\n");
    assert!(CustomColumns::parse_file("A B\n.a\n").is_err());
}
