//! Objects in protobuf as Kubernetes' own code reads and writes them (`protobuf/main.go`, built
//! with `k8s.io/api`). What this project writes must be read there as what it was, and the other
//! way round: of every kind that Kubernetes' scheme has, with every field that either side knows,
//! with none, and with all that says something by being there at all set to nothing.

#[path = "protobuf/made.rs"]
mod made;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kabuki_http::representation::{json_of_protobuf, protobuf_of_json};
use kabuki_model::kind;
use kabuki_model::schema::{self, Arity, Field, FieldType, Message, Presence};
use kabuki_tests::harness::protobuf_check;
use made::Made;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

/// Types of the scheme that are no bodies of requests or answers: options, which are sent as
/// queries, and the events of watches, which have another envelope.
fn is_body(kind: &str) -> bool {
    let query = kind.ends_with("Options") && kind != "DeleteOptions";
    // Tables have no form in protobuf.
    !query && !matches!(kind, "WatchEvent" | "InternalEvent" | "Table" | "List")
}

/// Whether the table of types has the group in this version.
fn is_known(api_version: &str) -> bool {
    let mut sections = schema::all().map(|(section, _)| section);
    sections.any(|section| section == api_version)
}

/// An object in both forms.
struct Forms {
    api_version: String,
    kind: String,
    json: Value,
    protobuf: Vec<u8>,
    error: String,
    /// Whether fields were left out that are always there: Kubernetes' code adds them.
    bare: bool,
}

impl Forms {
    /// A line of the checking program.
    fn read(line: &str) -> Self {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_string();
        Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
            json: line["json"].clone(),
            protobuf: STANDARD.decode(text("protobuf")).expect("base64"),
            error: text("error"),
            bare: false,
        }
    }

    fn line(&self) -> String {
        json!({
            "apiVersion": self.api_version, "kind": self.kind, "json": self.json,
            "protobuf": STANDARD.encode(&self.protobuf),
        })
        .to_string()
    }

    fn name(&self) -> String {
        format!("{} {}", self.api_version, self.kind)
    }

    fn message(&self) -> Option<&'static Message> {
        let own = schema::find(&self.api_version, &self.kind);
        own.or_else(|| schema::find("meta.k8s.io/v1", &self.kind))
    }

    /// The same object, in which nothing is said that need not be.
    fn plain(&self, object: &Value) -> Value {
        let mut object = object.clone();
        let item = self.kind.strip_suffix("List");
        match (self.message(), item) {
            (Some(message), _) => simplify(&mut object, message, self.bare),
            (None, Some(item)) => {
                let item = schema::find(&self.api_version, item);
                let item = item.or_else(|| schema::find("meta.k8s.io/v1", item_name(&self.kind)));
                let items = object["items"].as_array_mut();
                for one in items.into_iter().flatten() {
                    simplify(one, item.expect("a known kind"), self.bare);
                }
                if object["metadata"] == json!({}) {
                    object["metadata"].take();
                }
            }
            (None, None) => {}
        }
        if let Value::Object(fields) = &mut object {
            fields.retain(|_, value| !value.is_null() && *value != json!([]));
        }
        object
    }
}

fn item_name(list: &str) -> &str {
    list.strip_suffix("List").unwrap_or(list)
}

/// Takes out what means the same as nothing: null, empty lists and maps, and structures without
/// anything in them where it does not matter whether they are there.
fn simplify(value: &mut Value, message: &Message, bare: bool) {
    let Value::Object(object) = value else { return };
    for (name, held) in object.iter_mut() {
        let Some(field) = message.field(name) else {
            continue;
        };
        if let FieldType::Message(inner) = field.kind {
            let inner = schema::message(inner);
            match (field.arity, &mut *held) {
                (Arity::One, one) => simplify(one, inner, bare),
                (Arity::List, Value::Array(items)) => {
                    items.iter_mut().for_each(|i| simplify(i, inner, bare));
                }
                (Arity::Map, Value::Object(entries)) => {
                    entries.values_mut().for_each(|v| simplify(v, inner, bare));
                }
                _ => {}
            }
        }
        let always = bare && field.presence == Presence::Always;
        let zeros = [json!(""), json!(0), json!(false), json!("0s")];
        let zero = zeros.contains(held);
        if means_nothing(field, held) || always && zero {
            *held = Value::Null;
        }
    }
    object.retain(|_, held| !held.is_null());
}

fn means_nothing(field: &Field, value: &Value) -> bool {
    match field.arity {
        Arity::One => {
            let structure = matches!(field.kind, FieldType::Message(_));
            structure && field.presence != Presence::Pointer && *value == json!({})
        }
        Arity::List | Arity::Map => *value == json!([]) || *value == json!({}),
    }
}

/// Runs the checking program and gives its lines.
fn check(what: &str, questions: &[Forms]) -> Vec<Forms> {
    let mut program = Command::new(protobuf_check())
        .arg(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was built");
    let mut asked = program.stdin.take().expect("it is piped");
    let lines: Vec<String> = questions.iter().map(Forms::line).collect();
    let asking = std::thread::spawn(move || {
        for line in lines {
            writeln!(asked, "{line}").expect("it reads");
        }
    });
    let output = program.wait_with_output().expect("it ends");
    asking.join().expect("it wrote");
    assert!(output.status.success(), "{what}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(Forms::read).collect()
}

/// The object in both forms, ours of the JSON.
fn question(like: &Forms, json: Value) -> Forms {
    let protobuf = protobuf_of_json(&json);
    Forms {
        api_version: like.api_version.clone(),
        kind: like.kind.clone(),
        protobuf: protobuf.unwrap_or_else(|e| panic!("{}: {e}: {json}", like.name())),
        json,
        error: String::new(),
        bare: false,
    }
}

/// What is different, and where.
fn differences(place: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let (a, b) = (a.get(name), b.get(name));
                let null = &Value::Null;
                let place = format!("{place}.{name}");
                differences(&place, a.unwrap_or(null), b.unwrap_or(null), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{place}[{index}]"), a, b, found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{place}: {a} here, {b} there")),
    }
}

/// Compares what each side reads of what the other one wrote with what was written.
fn compare(questions: &[Forms], found: &mut Vec<String>) {
    let answers = check("turn", questions);
    assert_eq!(answers.len(), questions.len());
    for (asked, answer) in questions.iter().zip(&answers) {
        let name = asked.name();
        if !answer.error.is_empty() {
            found.push(format!("{name}: refused there: {}", answer.error));
            continue;
        }
        let written = asked.plain(&asked.json);
        differences(
            &format!("{name} read there"),
            &written,
            &asked.plain(&answer.json),
            found,
        );
        match json_of_protobuf(&answer.protobuf) {
            Ok(read) => {
                let read = asked.plain(&read);
                differences(&format!("{name} read here"), &read, &written, found);
            }
            Err(error) => found.push(format!("{name}: cannot be read here: {error}")),
        }
    }
}

#[test]
fn kubernetes_own_code_reads_and_writes_every_kind_in_protobuf_as_this_does() {
    let filled = check("fill", &[]);
    let (bodies, mut found, mut kinds) = (
        filled
            .iter()
            .filter(|f| is_body(&f.kind) && is_known(&f.api_version))
            .collect::<Vec<_>>(),
        Vec::new(),
        BTreeSet::new(),
    );
    let mut questions = Vec::new();
    for theirs in &bodies {
        kinds.insert(theirs.name());
        if !theirs.error.is_empty() {
            found.push(format!(
                "{}: not written there: {}",
                theirs.name(),
                theirs.error
            ));
            continue;
        }
        // With every field that their types have.
        let read = match json_of_protobuf(&theirs.protobuf) {
            Ok(read) => theirs.plain(&read),
            Err(error) => {
                found.push(format!("{}: cannot be read here: {error}", theirs.name()));
                continue;
            }
        };
        let written = theirs.plain(&theirs.json);
        differences(
            &format!("{} read here", theirs.name()),
            &read,
            &written,
            &mut found,
        );
        questions.push(question(theirs, theirs.json.clone()));
        // With every field that the table of types has, with none, and with nothing in each.
        if let Some(message) = theirs.message() {
            for made in [Made::All, Made::Nothing, Made::Empty] {
                let mut json = made.object(message);
                json["apiVersion"] = theirs.api_version.as_str().into();
                json["kind"] = theirs.kind.as_str().into();
                questions.push(Forms {
                    bare: made == Made::Nothing,
                    ..question(theirs, json)
                });
            }
        }
    }
    compare(&questions, &mut found);
    assert!(
        found.is_empty(),
        "{} differences:\n{}",
        found.len(),
        found.join("\n")
    );
    // Nothing that is served has been left out.
    for kind in kind::all() {
        let versions = std::iter::once(kind.api_version());
        let versions = versions.chain(kind.forms.iter().map(|form| form.api_version()));
        for version in versions {
            let name = format!("{version} {}", kind.names.kind);
            assert!(kinds.contains(&name), "{name} is not among {kinds:?}");
            assert!(kinds.contains(&format!("{name}List")), "{name}List");
        }
    }
    assert!(questions.len() > 400, "{} objects", questions.len());
}
