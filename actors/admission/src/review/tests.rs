use super::*;
use crate::Attributes;
use kabuki_model::kind;
use kabuki_model::view::MapView;
use serde_json::json;

fn ask(who: &Identity, kind: ReviewKind, namespace: &str, object: Value) -> Result<Value, String> {
    let view = MapView::default();
    let answer = review(&view, who, kind, namespace, object.to_string().as_bytes());
    match answer.map_err(|e| e.message)?.content {
        Content::Document(json) => Ok(serde_json::from_slice(&json).expect("JSON")),
        other => panic!("no document: {other:?}"),
    }
}

fn jo() -> Identity {
    Identity::new("jo", [])
}

fn ann() -> Identity {
    Identity::new("ann", ["system:masters".to_string()])
}

fn pods(verb: &str) -> Value {
    json!({"spec": {"resourceAttributes": {"verb": verb, "resource": "pods", "namespace": "a"}}})
}

#[test]
fn everyone_may_ask_what_it_may_do() {
    let kind = ReviewKind::SelfSubjectAccess;
    let answer = ask(&jo(), kind, "", pods("list")).expect("answered");
    assert_eq!(answer["status"]["allowed"], true);
    assert_eq!(answer["kind"], "SelfSubjectAccessReview");
    assert_eq!(answer["spec"]["resourceAttributes"]["verb"], "list");
    let answer = ask(&jo(), kind, "", pods("delete")).expect("answered");
    assert_eq!(answer["status"]["allowed"], false);
    let everything =
        json!({"spec": {"resourceAttributes": {"verb": "*", "resource": "*", "group": "*"}}});
    let answer = ask(&ann(), kind, "", everything.clone()).expect("answered");
    assert_eq!(answer["status"]["allowed"], true);
    let answer = ask(&jo(), kind, "", everything).expect("answered");
    assert_eq!(answer["status"]["allowed"], false);
    let path = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}});
    let answer = ask(&jo(), kind, "", path).expect("answered");
    assert_eq!(answer["status"]["allowed"], true);
}

#[test]
fn secrets_are_among_all_that_is_asked_for_with_a_star() {
    for (group, resource) in [("", "secrets"), ("*", "secrets"), ("", "*"), ("*", "*")] {
        let spec = json!({"verb": "get", "resource": resource, "group": group});
        let asked = json!({"spec": {"resourceAttributes": spec}});
        let answer = ask(&jo(), ReviewKind::SelfSubjectAccess, "", asked).expect("answered");
        assert_eq!(answer["status"]["allowed"], false, "{resource}.{group}");
    }
}

#[test]
fn another_is_judged_by_its_name_and_groups() {
    let mut asked = pods("delete");
    asked["spec"]["user"] = "ann".into();
    asked["spec"]["groups"] = json!(["system:masters"]);
    let kind = ReviewKind::SubjectAccess;
    let answer = ask(&ann(), kind, "", asked.clone()).expect("answered");
    assert_eq!(answer["status"]["allowed"], true);
    asked["spec"]["groups"] = json!([]);
    let answer = ask(&ann(), kind, "", asked.clone()).expect("answered");
    assert_eq!(answer["status"]["allowed"], false);
    asked["spec"]["user"] = "system:anonymous".into();
    asked["spec"]["resourceAttributes"]["verb"] = "get".into();
    let answer = ask(&ann(), kind, "", asked).expect("answered");
    assert_eq!(answer["status"]["allowed"], false);
}

#[test]
fn what_is_not_said_rightly_is_refused_in_kubernetes_words() {
    let kind = ReviewKind::SubjectAccess;
    let why = ask(&ann(), kind, "", json!({"spec": {}})).expect_err("refused");
    assert!(why.contains("at least one of user or group"), "{why}");
    assert!(
        why.contains("exactly one of nonResourceAttributes"),
        "{why}"
    );
    let mut asked = pods("get");
    asked["spec"]["user"] = "jo".into();
    let kind = ReviewKind::LocalSubjectAccess;
    let why = ask(&ann(), kind, "b", asked.clone()).expect_err("refused");
    assert!(why.contains("must match metadata.namespace"), "{why}");
    assert!(ask(&ann(), kind, "a", asked).is_ok());
    let kind = ReviewKind::SelfSubjectRules;
    let why = ask(&jo(), kind, "", json!({"spec": {}})).expect_err("refused");
    assert_eq!(why, "no namespace on request");
}

#[test]
fn unknown_fields_are_warned_of() {
    let object = json!({"spec": {"resourceAttributes": {"verb": "get", "resorce": "pods"}}});
    let kind = ReviewKind::SelfSubjectAccess;
    let bytes = object.to_string();
    let answer = review(&MapView::default(), &jo(), kind, "", bytes.as_bytes());
    let warnings = answer.expect("answered").warnings;
    assert_eq!(
        warnings,
        ["unknown field \"spec.resourceAttributes.resorce\""]
    );
}

#[test]
fn the_rules_say_what_single_questions_are_answered() {
    let asked = json!({"spec": {"namespace": "a"}});
    let answer = ask(&jo(), ReviewKind::SelfSubjectRules, "", asked).expect("answered");
    let rules = answer["status"]["resourceRules"].as_array().expect("rules");
    let view = MapView::default();
    for kind in kind::all() {
        for verb in ["get", "list", "watch", "create", "delete"] {
            let said = rules.iter().any(|rule| {
                let has = |list: &str, word: &str| {
                    rule[list]
                        .as_array()
                        .is_some_and(|l| l.contains(&json!(word)))
                };
                has("verbs", verb)
                    && has("apiGroups", kind.names.group)
                    && has("resources", kind.names.plural)
            });
            let key = kabuki_model::ObjectKey::new(kind.resource.clone(), "a", "x");
            let single = allowance(&view, &jo(), &Attributes::object(verb, &key, ""));
            assert_eq!(said, single.is_some(), "{verb} {kind:?}");
        }
    }
    let all = ask(
        &ann(),
        ReviewKind::SelfSubjectRules,
        "",
        json!({"spec": {"namespace": "a"}}),
    );
    let all = all.expect("answered");
    assert_eq!(all["status"]["resourceRules"][0]["verbs"], json!(["*"]));
}

#[test]
fn one_is_told_who_one_is() {
    let answer = ask(&jo(), ReviewKind::SelfSubject, "", json!({})).expect("answered");
    let user = &answer["status"]["userInfo"];
    assert_eq!(user["username"], "jo");
    assert_eq!(user["groups"], json!(["system:authenticated"]));
}
