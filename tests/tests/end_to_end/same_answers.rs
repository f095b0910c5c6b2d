//! One table of cases over both ways in: the native session and HTTP. Both must give the same
//! answers, to the letter; what differs from object to object (uids, revisions, times) is masked.

#[path = "same_answers/cases.rs"]
mod cases;
#[path = "same_answers/native.rs"]
mod native;
#[path = "same_answers/over_http.rs"]
mod over_http;

use cases::CASES;
use kabuki_model::request::PatchType;
use kabuki_tests::harness::{Daemon, Session, Web};
use native::Native;
use over_http::OverHttp;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where a case's objects live: each way has a namespace of its own.
const NAMESPACES: [&str; 2] = ["over-native", "over-http"];

/// What is asked, in words that both ways understand.
#[derive(Debug, Clone)]
pub enum Ask {
    Create(&'static str, Value, How),
    Get(&'static str, &'static str),
    /// `scale`, `status`: a part of an object.
    GetPart(&'static str, &'static str, &'static str),
    Replace(&'static str, &'static str, Value, How),
    Patch(&'static str, &'static str, PatchType, Value, How),
    Delete(&'static str, &'static str, Value),
    DeleteAll(&'static str, Selected),
    /// In pages of so many; zero is all at once.
    List(&'static str, Selected, u32),
    Table(&'static str),
    /// So many events from the beginning on.
    Watch(&'static str, Selected, usize),
}

/// How a write is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    pub dry_run: bool,
    /// Unknown fields are warned of, not refused.
    pub lenient: bool,
    pub manager: &'static str,
}

/// Label and field selectors.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selected {
    pub labels: &'static str,
    pub fields: &'static str,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Administrator,
    /// A user of no group.
    Jane,
}

/// A case: what is asked, one after the other.
pub struct Case {
    pub name: &'static str,
    pub who: Who,
    pub asks: fn() -> Vec<Ask>,
    /// What some answer must say, so that both cannot be wrong in the same way unseen.
    pub says: &'static [&'static str],
}

/// The answer to a request, in the form that both ways share.
pub fn refused(status: &Value) -> Value {
    json!({"refused": status})
}

/// Takes out what differs from run to run and way to way: items of a list over HTTP do not say
/// what they are, the volume of a pod's token has a name of chance, and controllers write when
/// they get to it.
fn mask(value: &mut Value) {
    const MASKED: &[&str] = &["uid", "resourceVersion", "creationTimestamp", "time"];
    match value {
        Value::Object(fields) => {
            if let Some(Value::Array(items)) = fields.get_mut("items") {
                for item in items.iter_mut().filter_map(Value::as_object_mut) {
                    item.retain(|name, _| name != "apiVersion" && name != "kind");
                }
            }
            if let Some(Value::Array(entries)) = fields.get_mut("managedFields") {
                let office = |e: &Value| e["manager"].as_str().is_some_and(|m| m != "kabuki");
                let controllers = |e: &Value| office(e) && e["subresource"] == "status";
                entries.retain(|e| !controllers(e));
            }
            if fields.contains_key("metadata") && fields.get("status").is_some_and(Value::is_object)
            {
                fields.remove("status");
            }
            *fields = std::mem::take(fields)
                .into_iter()
                .map(|(name, value)| (masked(name), value))
                .collect();
            for (name, value) in fields {
                match value {
                    Value::String(text) if MASKED.contains(&name.as_str()) => *text = "*".into(),
                    _ => mask(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(text) => {
            for namespace in NAMESPACES {
                *text = text.replace(namespace, "NAMESPACE");
            }
            *text = masked(std::mem::take(text));
        }
        _ => {}
    }
}

/// A text without the five letters of chance in the name of a token's volume, without the uid that
/// a precondition met, and without what differs in an object that a refused patch made.
fn masked(mut text: String) -> String {
    for field in ["uid", "creationTimestamp", "resourceVersion"] {
        let begin = format!("\\\"{field}\\\":\\\"");
        if let Some(at) = text.find(&begin) {
            let from = at + begin.len();
            let length = text[from..].find('\\').unwrap_or_default();
            text.replace_range(from..from + length, "*");
        }
    }
    for (begin, length) in [("kube-api-access-", 5), ("UID in object meta: ", 36)] {
        if let Some(at) = text.find(begin) {
            let from = at + begin.len();
            let to = text.len().min(from + length);
            text.replace_range(from..to, "*");
        }
    }
    text
}

fn kubeconfig(node: &Daemon, who: Who) -> PathBuf {
    match who {
        Who::Administrator => node.data_dir().join("admin.kubeconfig"),
        Who::Jane => node.data_dir().join("jane.kubeconfig"),
    }
}

async fn both(node: &Daemon, case: &Case, kubeconfig: &Path) -> anyhow::Result<[Vec<Value>; 2]> {
    let native = Native {
        session: Session::open_as(node, kubeconfig).await?,
        namespace: NAMESPACES[0],
    };
    let over_http = OverHttp {
        web: Web::new(node, kubeconfig)?,
        namespace: NAMESPACES[1],
    };
    let mut answers = [Vec::new(), Vec::new()];
    for ask in (case.asks)() {
        let mut pair = [native.ask(&ask).await?, over_http.ask(&ask).await?];
        pair.iter_mut().for_each(mask);
        let [one, other] = pair;
        answers[0].push(one);
        answers[1].push(other);
    }
    Ok(answers)
}

#[test]
fn the_native_session_and_http_give_the_same_answers() {
    let node = Daemon::start();
    let jane = node.ok(&["kubeconfig", "jane"]);
    std::fs::write(kubeconfig(&node, Who::Jane), jane).expect("writes");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut wrong = String::new();
    for case in CASES {
        for namespace in NAMESPACES {
            node.ok(&["create", "namespace", namespace]);
        }
        let answers = runtime.block_on(both(&node, case, &kubeconfig(&node, case.who)));
        let [native, over_http] = answers.unwrap_or_else(|e| panic!("{}: {e:#}", case.name));
        let asks = (case.asks)();
        for ((ask, one), other) in asks.iter().zip(&native).zip(&over_http) {
            if one != other {
                let name = case.name;
                wrong += &format!("{name}: {ask:?}\n native: {one:#}\n http: {other:#}\n");
            }
        }
        let said = Value::from(native).to_string();
        for words in case.says {
            if !said.contains(words) {
                wrong += &format!("{}: nobody says {words:?}: {said}\n", case.name);
            }
        }
        for namespace in NAMESPACES {
            node.ok(&["delete", "namespace", namespace, "--timeout=60s"]);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
