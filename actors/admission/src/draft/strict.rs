//! JSON as a value, with the fields that it has twice. The last one counts, as everywhere else.
//! Of JSON patches also the fields that operations do not have; what is in those is not looked at.

use super::faults::MAX_LISTED;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::fmt;

/// The fields of an operation of a JSON patch.
const OPERATION: &[&str] = &["op", "path", "from", "value"];

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Any,
    /// The operations of a JSON patch.
    Operations,
}

/// Reads JSON, and its faults in the order in which they are met, for example
/// `duplicate field "spec.containers[0].image"`.
pub(super) fn read(json: &[u8], shape: Shape) -> Result<(Value, Vec<String>), serde_json::Error> {
    let found = RefCell::new(Vec::new());
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let seed = Here {
        place: &Place::Root,
        shape,
        found: &found,
    };
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, found.into_inner()))
}

/// Where a value is, from the inside out.
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(above, name) => write!(f, "{above}.{name}"),
            Self::Item(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

#[derive(Clone, Copy)]
struct Here<'a> {
    place: &'a Place<'a>,
    shape: Shape,
    found: &'a RefCell<Vec<String>>,
}

impl<'a> Here<'a> {
    /// The same search, elsewhere.
    fn at<'b>(&self, place: &'b Place<'b>) -> Here<'b>
    where
        'a: 'b,
    {
        Here {
            place,
            shape: self.shape,
            found: self.found,
        }
    }

    fn tell(&self, what: &str, place: &Place) {
        let mut found = self.found.borrow_mut();
        if found.len() < MAX_LISTED {
            found.push(format!("{what} field {:?}", place.to_string()));
        }
    }

    /// Whether an operation has no such field, where this is one.
    fn is_unknown(&self, name: &str) -> bool {
        let operation = matches!(self.place, Place::Item(Place::Root, _));
        self.shape == Shape::Operations && operation && !OPERATION.contains(&name)
    }
}

impl<'de> DeserializeSeed<'de> for Here<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Here<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let place = Place::Item(self.place, list.len());
            match items.next_element_seed(self.at(&place))? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let place = Place::Field(self.place, &name);
            let value = if self.is_unknown(&name) {
                self.tell("unknown", &place);
                entries.next_value()?
            } else {
                if fields.contains_key(&name) {
                    self.tell("duplicate", &place);
                }
                entries.next_value_seed(self.at(&place))?
            };
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_there_twice_are_found_with_their_places() {
        let json =
            br#"{"a": 1, "b": [{"c": 1.5, "c": null}], "a": {"d": "x", "d": -1, "e": true}}"#;
        let (value, found) = read(json, Shape::Any).expect("valid");
        assert_eq!(value, serde_json::from_slice::<Value>(json).expect("valid"));
        assert_eq!(
            found,
            ["b[0].c", "a", "a.d"].map(|path| format!("duplicate field {path:?}"))
        );
        assert!(read(b"{} x", Shape::Any).is_err());
        assert!(read(b"{", Shape::Any).is_err());
    }

    #[test]
    fn operations_have_four_fields() {
        let json = br#"[{"op": "add", "path": "/a", "foo": {"k": 1, "k": 2}},
            {"op": "add", "path": "/a", "path": "/b", "value": {"foo": 1, "k": 1, "k": 2}}]"#;
        let (_, found) = read(json, Shape::Operations).expect("valid");
        let want = [
            r#"unknown field "[0].foo""#,
            r#"duplicate field "[1].path""#,
            r#"duplicate field "[1].value.k""#,
        ];
        assert_eq!(found, want);
    }
}
