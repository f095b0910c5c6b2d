//! Objects made from the table of types.

use kabuki_model::schema::{self, Arity, Field, FieldType, Message, Presence};
use serde_json::{Map, Value, json};

/// How much is in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Every field, each with another value.
    All,
    /// No field.
    Nothing,
    /// Each field that is always there or says something by being there, with nothing in it.
    Empty,
}

/// The structures that a value is in, and how many values there are.
struct Maker {
    made: Made,
    above: Vec<&'static str>,
    count: u32,
}

impl Made {
    pub fn object(self, message: &'static Message) -> Value {
        let mut maker = Maker {
            made: self,
            above: Vec::new(),
            count: 0,
        };
        let mut fields = Map::new();
        maker.fill(&mut fields, message);
        Value::Object(fields)
    }
}

impl Maker {
    fn fill(&mut self, fields: &mut Map<String, Value>, message: &'static Message) {
        self.above.push(message.name);
        for field in &message.fields {
            match field.kind {
                FieldType::Message(inner) if field.name.is_empty() => {
                    self.fill(fields, schema::message(inner));
                }
                // A type within itself is left out.
                FieldType::Message(inner) if self.above.contains(&schema::message(inner).name) => {}
                _ => {
                    if let Some(value) = self.field(field) {
                        fields.insert(field.name.to_string(), value);
                    }
                }
            }
        }
        self.above.pop();
    }

    fn field(&mut self, field: &Field) -> Option<Value> {
        match (self.made, field.arity) {
            (Made::Nothing, _) => None,
            (Made::All, Arity::One) => Some(self.value(field.kind)),
            (Made::All, Arity::List) => {
                Some(json!([self.value(field.kind), self.value(field.kind)]))
            }
            (Made::All, Arity::Map) => {
                let names = [format!("a{}", self.count), format!("b{}", self.count)];
                let entries = names.map(|name| (name, self.value(field.kind)));
                Some(Value::Object(entries.into_iter().collect()))
            }
            (Made::Empty, Arity::One) => {
                let structure = matches!(field.kind, FieldType::Message(_));
                (field.presence != Presence::NotZero || structure)
                    .then(|| self.empty(field.kind))
                    .flatten()
            }
            (Made::Empty, _) => None,
        }
    }

    fn structure(&mut self, index: usize) -> Value {
        let mut fields = Map::new();
        self.fill(&mut fields, schema::message(index));
        Value::Object(fields)
    }

    fn value(&mut self, kind: FieldType) -> Value {
        self.count += 1;
        let n = self.count;
        match kind {
            FieldType::String => format!("text {n} \u{e4}").into(),
            FieldType::Bool => true.into(),
            FieldType::Int32 => (-i64::from(n)).into(),
            FieldType::Int64 => ((1_i64 << 40) + i64::from(n)).into(),
            FieldType::Double => (f64::from(n) + 0.25).into(),
            FieldType::Bytes => ["AP8=", "AQID", "/w=="][n as usize % 3].into(),
            FieldType::Quantity => match n % 3 {
                0 => format!("{n}7m"),
                1 => format!("{n}7"),
                _ => format!("{n}7Mi"),
            }
            .into(),
            FieldType::IntOrString => match n % 2 {
                0 => n.into(),
                _ => format!("{n}%").into(),
            },
            // Also before 1970.
            FieldType::Time => format!("{}-01-02T03:04:{:02}Z", 1960 + n % 90, n % 60).into(),
            FieldType::MicroTime => format!("{}-01-02T03:04:05.{n:06}Z", 1960 + n % 90).into(),
            FieldType::RawExtension => json!({"apiVersion": "v1", "kind": "Any", "n": [n, null]}),
            FieldType::FieldsV1 => json!({"f:metadata": {format!("f:a{n}"): {}}}),
            FieldType::StringList => json!([format!("a{n}"), ""]),
            FieldType::Message(index) => self.structure(index),
            FieldType::Duration => format!("{}m0.5s", 1 + n % 59).into(),
        }
    }

    /// What is there and says no more than that. Some types cannot.
    fn empty(&mut self, kind: FieldType) -> Option<Value> {
        Some(match kind {
            FieldType::String => "".into(),
            FieldType::Bool => false.into(),
            FieldType::Int32 | FieldType::Int64 | FieldType::IntOrString => 0.into(),
            FieldType::Double => json!(0.0),
            FieldType::Quantity => "0".into(),
            FieldType::Duration => "0s".into(),
            FieldType::Message(index) => self.structure(index),
            FieldType::Bytes
            | FieldType::Time
            | FieldType::MicroTime
            | FieldType::RawExtension
            | FieldType::FieldsV1
            | FieldType::StringList => return None,
        })
    }
}
