//! `openapi.v3`.

use super::How::{Anys, Double, Each, Flag, Number, One, Text, Texts};
use super::{Fields, message, pairs, within};
use crate::representation::wire;
use serde_json::Value;

pub(super) fn document(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("openapi", 1, Text),
        ("info", 2, One(info)),
        ("paths", 4, One(paths)),
        ("components", 5, One(components)),
    ];
    message(value, FIELDS, 9)
}

fn info(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("title", 1, Text),
        ("description", 2, Text),
        ("version", 6, Text),
    ];
    message(value, FIELDS, 7)
}

fn components(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("schemas", 1, One(schemas)),
        ("securitySchemes", 7, One(security)),
    ];
    message(value, FIELDS, 10)
}

fn security(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("type", 1, Text),
        ("description", 2, Text),
        ("name", 3, Text),
        ("in", 4, Text),
    ];
    pairs(value, 1, |value| within(1, &message(value, FIELDS, 9)))
}

fn paths(value: &Value) -> Vec<u8> {
    pairs(value, 1, path)
}

fn path(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("get", 4, One(operation)),
        ("put", 5, One(operation)),
        ("post", 6, One(operation)),
        ("delete", 7, One(operation)),
        ("patch", 10, One(operation)),
        ("parameters", 13, Each(parameter)),
    ];
    message(value, FIELDS, 14)
}

fn operation(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("tags", 1, Texts),
        ("summary", 2, Text),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("parameters", 6, Each(parameter)),
        ("requestBody", 7, One(body)),
        ("responses", 8, One(responses)),
        ("deprecated", 10, Flag),
    ];
    message(value, FIELDS, 13)
}

/// `ParameterOrReference`
fn parameter(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("name", 1, Text),
        ("in", 2, Text),
        ("description", 3, Text),
        ("required", 4, Flag),
        ("schema", 10, One(schema_or_reference)),
    ];
    within(1, &message(value, FIELDS, 14))
}

/// `RequestBodyOrReference`
fn body(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("description", 1, Text),
        ("content", 2, One(contents)),
        ("required", 3, Flag),
    ];
    within(1, &message(value, FIELDS, 4))
}

fn contents(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[("schema", 1, One(schema_or_reference))];
    pairs(value, 1, |value| message(value, FIELDS, 5))
}

fn responses(value: &Value) -> Vec<u8> {
    pairs(value, 2, response)
}

/// `ResponseOrReference`
fn response(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[("description", 1, Text), ("content", 3, One(contents))];
    within(1, &message(value, FIELDS, 5))
}

fn schemas(value: &Value) -> Vec<u8> {
    pairs(value, 1, schema_or_reference)
}

fn schema_or_reference(value: &Value) -> Vec<u8> {
    const REFERENCE: &Fields = &[("$ref", 1, Text)];
    match value.get("$ref") {
        Some(_) => within(2, &message(value, REFERENCE, 4)),
        None => within(1, &schema(value)),
    }
}

fn items(value: &Value) -> Vec<u8> {
    within(1, &schema_or_reference(value))
}

fn schema(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("nullable", 1, Flag),
        ("readOnly", 3, Flag),
        ("title", 9, Text),
        ("maximum", 11, Double),
        ("minimum", 13, Double),
        ("maxLength", 15, Number),
        ("minLength", 16, Number),
        ("pattern", 17, Text),
        ("maxItems", 18, Number),
        ("minItems", 19, Number),
        ("uniqueItems", 20, Flag),
        ("required", 23, Texts),
        ("enum", 24, Anys),
        ("type", 25, Text),
        ("allOf", 26, Each(schema_or_reference)),
        ("oneOf", 27, Each(schema_or_reference)),
        ("anyOf", 28, Each(schema_or_reference)),
        ("not", 29, One(schema)),
        ("items", 30, One(items)),
        ("properties", 31, One(schemas)),
        ("additionalProperties", 32, One(additional)),
        ("default", 33, One(default)),
        ("description", 34, Text),
        ("format", 35, Text),
    ];
    message(value, FIELDS, 36)
}

fn additional(value: &Value) -> Vec<u8> {
    match value.as_bool() {
        None => within(1, &schema_or_reference(value)),
        Some(any) => {
            let mut one = Vec::new();
            wire::push_number(&mut one, 2, i64::from(any));
            one
        }
    }
}

/// `DefaultType`, which has no form for lists and structures.
fn default(value: &Value) -> Vec<u8> {
    let mut one = Vec::new();
    match value {
        Value::Number(number) => {
            wire::push_double(&mut one, 1, number.as_f64().unwrap_or_default());
        }
        Value::Bool(set) => wire::push_number(&mut one, 2, i64::from(*set)),
        Value::String(text) => wire::push_bytes(&mut one, 3, text.as_bytes()),
        _ => {}
    }
    one
}
