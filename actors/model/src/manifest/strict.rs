//! One document as a JSON value: no duplicate keys, no growth through anchors.

use super::split::Document;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

/// How much larger than its text anchors may make a document.
const GROWTH: usize = 10;
/// What every document may grow to, however small its text is.
const FREE_BYTES: usize = 64 << 10;

/// Reads a document. Fails with the line (counted from the document's own, beginning with 0) and
/// what is wrong there.
pub(super) fn read(document: &Document) -> Result<Value, (usize, String)> {
    let budget = Cell::new(document.text.len() * GROWTH + FREE_BYTES);
    if document.json {
        let mut json = serde_json::Deserializer::from_str(document.text);
        let read = Strict(&budget)
            .deserialize(&mut json)
            .and_then(|v| json.end().map(|()| v));
        let error = match read {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        // `{a: b}` is no JSON, but YAML.
        if error.is_data() {
            return Err((error.line().saturating_sub(1), error.to_string()));
        }
        budget.set(document.text.len() * GROWTH + FREE_BYTES);
        return yaml(document.text, &budget)
            .map_err(|_| (error.line().saturating_sub(1), error.to_string()));
    }
    yaml(document.text, &budget)
}

/// Brackets inside of brackets go no deeper. The YAML scanner needs time that grows with the
/// depth for every token, so a hostile document must be refused before it sees it.
const MAX_BRACKETS: usize = 256;

/// The line at which brackets nest too deeply. Only brackets that can begin a value count.
fn nested_too_deeply(text: &str) -> Option<usize> {
    let (mut depth, mut line, mut before) = (0_usize, 0, b'\n');
    for byte in text.bytes() {
        let begins = before.is_ascii_whitespace() || b"[{,:-\"'".contains(&before);
        match byte {
            b'[' | b'{' if begins => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'\n' => line += 1,
            _ => {}
        }
        if depth > MAX_BRACKETS {
            return Some(line);
        }
        before = byte;
    }
    None
}

fn yaml(text: &str, budget: &Cell<usize>) -> Result<Value, (usize, String)> {
    if let Some(line) = nested_too_deeply(text) {
        return Err((
            line,
            format!("recursion limit exceeded: more than {MAX_BRACKETS} open brackets"),
        ));
    }
    let seed = Strict(budget);
    seed.deserialize(serde_yaml_ng::Deserializer::from_str(text))
        .map_err(|error| {
            let line = error.location().map_or(0, |l| l.line().saturating_sub(1));
            (line, error.to_string())
        })
}

#[derive(Clone, Copy)]
struct Strict<'a>(&'a Cell<usize>);

impl Strict<'_> {
    fn spend<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(bytes + 1);
        let left = left.ok_or_else(|| E::custom("the anchors make the document too large"))?;
        self.0.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.spend(0)?;
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.spend(0)?;
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.spend(0)?;
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.spend(0)?;
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom(format!("{value} is no number that JSON has")))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.spend(value.len())?;
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.spend(0)?;
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.spend(0)?;
        let mut object = Map::new();
        let mut merged = Map::new();
        while let Some(Key(key)) = entries.next_key()? {
            self.spend(key.len())?;
            let value = entries.next_value_seed(self)?;
            if key == "<<" {
                merge(value, &mut merged).map_err(A::Error::custom)?;
            } else if object.contains_key(&key) {
                return Err(A::Error::custom(format!("key {key:?} already set in map")));
            } else {
                object.insert(key, value);
            }
        }
        for (key, value) in merged {
            object.entry(key).or_insert(value);
        }
        Ok(Value::Object(object))
    }
}

/// YAML's merge key: earlier maps win over later ones.
fn merge(value: Value, into: &mut Map<String, Value>) -> Result<(), &'static str> {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                into.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(maps) => maps.into_iter().try_for_each(|map| match map {
            Value::Object(_) => merge(map, into),
            _ => Err("a list under << must hold maps"),
        }),
        _ => Err("<< needs a map or a list of maps"),
    }
}

/// A key. Numbers and booleans become text, as Kubernetes' tools do it.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a key that is text")
            }
            fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
            fn visit_bool<E: Error>(self, key: bool) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
            fn visit_i64<E: Error>(self, key: i64) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
            fn visit_u64<E: Error>(self, key: u64) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
            fn visit_f64<E: Error>(self, key: f64) -> Result<Key, E> {
                Ok(Key(key.to_string()))
            }
        }
        deserializer.deserialize_any(KeyVisitor)
    }
}

/// Turns file modes below a `spec` that were written as octal numbers into numbers. The YAML
/// reader hands them over as text, because YAML 1.2 has no such numbers.
pub(super) fn octal_modes(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(octal_modes),
        Value::Object(fields) => {
            for (field, value) in fields.iter_mut().filter(|(f, _)| *f != "metadata") {
                let octal = match value {
                    Value::String(text) if matches!(field.as_str(), "mode" | "defaultMode") => {
                        octal(text)
                    }
                    _ => None,
                };
                match octal {
                    Some(number) => *value = number.into(),
                    None => octal_modes(value),
                }
            }
        }
        _ => {}
    }
}

fn octal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('0')?;
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|_| !digits.starts_with('+'))
}
