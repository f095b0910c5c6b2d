//! The list of targets, by name.

use crate::{expression, frames, layer, manifest, names, patch, representation, streams};
use kabuki_model::kind;
use serde_json::Value;
use std::collections::BTreeSet;

/// One thing that takes bytes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// How it is called on the command line, and its folder of inputs.
    pub name: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// Every target.
    pub const ALL: &[Self] = &[
        Self {
            name: "manifest",
            run: manifest::run,
            seeds: manifest::seeds,
        },
        Self {
            name: "frames",
            run: frames::run,
            seeds: frames::seeds,
        },
        Self {
            name: "layer",
            run: layer::run,
            seeds: layer::seeds,
        },
        Self {
            name: "patch",
            run: patch::run,
            seeds: patch::seeds,
        },
        Self {
            name: "expression",
            run: expression::run,
            seeds: expression::seeds,
        },
        Self {
            name: "names",
            run: names::run,
            seeds: names::seeds,
        },
        Self {
            name: "streams",
            run: streams::run,
            seeds: streams::seeds,
        },
        Self {
            name: "representation",
            run: representation::run,
            seeds: representation::seeds,
        },
    ];

    /// The target of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|t| t.name == name)
    }

    /// Gives it some bytes. Panics when anything that must hold does not.
    pub fn run(&self, data: &[u8]) {
        (self.run)(data);
    }

    /// Inputs that reach far, for the fuzzer to begin with.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}

/// Words that random bytes would hardly ever form, in libFuzzer's dictionary format: the names of
/// every kind's fields, and the marks of the syntaxes.
pub fn dictionary() -> String {
    let mut words: BTreeSet<String> = MARKS.iter().map(|m| m.to_string()).collect();
    for kind in kind::all() {
        words.insert(kind.names.kind.to_string());
        words.insert(kind.api_version());
        collect(&kind.schema(), &mut words);
    }
    let line = |word: &String| format!("{:?}\n", word.escape_debug().to_string());
    words
        .iter()
        .filter(|w| w.bytes().all(|b| b.is_ascii_graphic() || b == b' '))
        .filter(|w| !w.contains(['"', '\\']))
        .map(line)
        .collect()
}

const MARKS: &[&str] = &[
    "---",
    "- ",
    ": ",
    "&a ",
    "*a",
    "<<: *a",
    "|",
    ">-",
    "!!binary",
    "!!str",
    "{}",
    "[]",
    "null",
    "~",
    "0644",
    "0x1F",
    "1e3",
    ".inf",
    ".nan",
    "100m",
    "1Gi",
    "50%",
    "25%",
    "$patch",
    "$retainKeys",
    "$setElementOrder/",
    "$deleteFromPrimitiveList/",
    "delete",
    "replace",
    "merge",
    "{range ",
    "{end}",
    "[?(@.",
    ")]",
    "[*]",
    "..",
    "[-1:]",
    "notin (",
    "in (",
    "!=",
    "==",
    "sha256:",
    "List",
    "items",
    "path",
    "op",
    "add",
    "remove",
    "move",
    "copy",
    "test",
    "from",
    "value",
    "~1",
    "/-",
];

fn collect(schema: &Value, words: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Object(properties)) = fields.get("properties") {
                words.extend(properties.keys().cloned());
            }
            fields.values().for_each(|v| collect(v, words));
        }
        Value::Array(items) => items.iter().for_each(|v| collect(v, words)),
        _ => {}
    }
}
