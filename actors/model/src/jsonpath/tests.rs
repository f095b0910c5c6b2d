use super::*;
use proptest::prelude::*;
use serde_json::json;

/// The example of the documentation.
fn documented() -> Value {
    json!({
        "kind": "List",
        "items": [
            {"kind": "None", "metadata": {"name": "127.0.0.1", "labels": {"kubernetes.io/hostname": "127.0.0.1"}},
             "status": {"capacity": {"cpu": "4"}, "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.1"}]}},
            {"kind": "None", "metadata": {"name": "127.0.0.2"},
             "status": {"capacity": {"cpu": "8"}, "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.2"}, {"type": "another", "address": "127.0.0.3"}]}},
        ],
        "users": [{"name": "myself", "user": {}, "age": 3}, {"name": "e2e", "user": {"username": "admin", "password": "secret"}, "age": 10}],
    })
}

#[test]
fn the_documented_expressions_give_the_documented_results() {
    let cases = [
        ("kind is {.kind}", "kind is List"),
        ("{['kind']}", "List"),
        ("{..name}", "127.0.0.1 127.0.0.2 myself e2e"),
        ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
        ("{.users[0].name}", "myself"),
        ("{.users[-1:].name}", "e2e"),
        ("{.items[*]['metadata.name', 'status.capacity']}", ""),
        ("{.users[?(@.name==\"e2e\")].user.password}", "secret"),
        (
            "{range .items[*]}[{.metadata.name}, {.status.capacity.cpu}] {end}",
            "[127.0.0.1, 4] [127.0.0.2, 8] ",
        ),
        (
            "{.items[0].metadata.labels.kubernetes\\.io/hostname}",
            "127.0.0.1",
        ),
        (
            "{range .items[*]}{.metadata.name}{'\\t'}{\"\\n\"}{end}",
            "127.0.0.1\t\n127.0.0.2\t\n",
        ),
        ("{.users[?(@.age>3)].name}", "e2e"),
        ("{.users[?(@.user.username)].name}", "e2e"),
        ("{.users[*].age}", "3 10"),
        ("{.users[0,1].name}", "myself e2e"),
        ("{.users[0]['name','age']}", "myself 3"),
        ("{.users[0:2:2].name}", "myself"),
        (
            "{.items[1].status.addresses[?(@.type!='another')].address}",
            "127.0.0.2",
        ),
        ("{.items[0].status.capacity}", "{\"cpu\":\"4\"}"),
        ("{.missing.field}", ""),
        ("{range .users[*]}{$.kind} {end}", "List List "),
        ("{range .items}{.kind}{end}", "NoneNone"),
        ("{.users[*].user.*}", "secret admin"),
        ("{\"a}b\"}", "a}b"),
    ];
    for (template, result) in cases {
        let compiled = JsonPath::parse(template).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            compiled.render(&documented()).expect(template),
            result,
            "{template}"
        );
    }
}

#[test]
fn the_relaxed_form_needs_no_braces() {
    for path in [
        "users[0].name",
        ".users[0].name",
        "{.users[0].name}",
        "{users[0].name}",
        "$.users[0].name",
    ] {
        let found = JsonPath::parse_relaxed(path).expect(path);
        assert_eq!(
            found.find(&documented()).expect("evaluates"),
            [&json!("myself")],
            "{path}"
        );
    }
    assert!(JsonPath::parse_relaxed("{.a").is_err());
}

#[test]
fn faults_are_clear() {
    let cases = [
        ("{.a", "unclosed action"),
        ("{range .a[*]}", "unterminated range: {end} is missing"),
        ("{end}", "not in range, nothing to end"),
        ("{.a[}", "invalid array index"),
        ("{.a[0}", "unterminated array"),
        ("{.a[?(@.b==c)]}", "unrecognized word \"c\" in a filter"),
        ("{foo}", "unrecognized identifier foo"),
        ("{.a[::0]}", "step must be > 0, got 0"),
    ];
    for (template, why) in cases {
        let error = JsonPath::parse(template).expect_err(template).to_string();
        assert!(
            error.starts_with(&format!("error parsing jsonpath {template}: {why}")),
            "{error}"
        );
    }
    let error = JsonPath::parse("{.users[7]}")
        .expect("parses")
        .render(&documented())
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "error executing jsonpath: array index out of bounds: index 7, length 2"
    );
}

proptest! {
    #[test]
    fn no_template_panics(template in "[{}.$@\\[\\]?()*:,'\"=!<>a0-2 \\\\é]{0,40}") {
        if let Ok(compiled) = JsonPath::parse(&template) {
            let _ = compiled.render(&documented());
        }
        let _ = JsonPath::parse_relaxed(&template);
    }
}
