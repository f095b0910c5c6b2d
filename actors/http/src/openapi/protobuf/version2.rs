//! `openapi.v2`.

use super::How::{Any, Anys, Double, Each, Flag, Number, One, Text, Texts};
use super::{Fields, message, named, pairs, within};
use crate::representation::wire;
use serde_json::Value;

pub(super) fn document(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("swagger", 1, Text),
        ("info", 2, One(info)),
        ("schemes", 5, Texts),
        ("consumes", 6, Texts),
        ("produces", 7, Texts),
        ("paths", 8, One(paths)),
        ("definitions", 9, One(schemas)),
        ("security", 12, Each(requirement)),
        ("securityDefinitions", 13, One(security)),
    ];
    message(value, FIELDS, 16)
}

fn info(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("title", 1, Text),
        ("version", 2, Text),
        ("description", 3, Text),
    ];
    message(value, FIELDS, 7)
}

fn paths(value: &Value) -> Vec<u8> {
    pairs(value, 2, path)
}

fn path(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("get", 2, One(operation)),
        ("put", 3, One(operation)),
        ("post", 4, One(operation)),
        ("delete", 5, One(operation)),
        ("patch", 8, One(operation)),
        ("parameters", 9, Each(parameter)),
    ];
    message(value, FIELDS, 10)
}

fn operation(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("tags", 1, Texts),
        ("summary", 2, Text),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("produces", 6, Texts),
        ("consumes", 7, Texts),
        ("parameters", 8, Each(parameter)),
        ("responses", 9, One(responses)),
        ("schemes", 10, Texts),
        ("deprecated", 11, Flag),
    ];
    message(value, FIELDS, 13)
}

/// `ParametersItem`, which is one of several, and so is what is in it.
fn parameter(value: &Value) -> Vec<u8> {
    const BODY: &Fields = &[
        ("description", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("required", 4, Flag),
        ("schema", 5, One(schema)),
    ];
    const QUERY: &Fields = &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("allowEmptyValue", 5, Flag),
        ("type", 6, Text),
        ("format", 7, Text),
        ("uniqueItems", 20, Flag),
    ];
    /// Of headers and of paths.
    const OTHER: &Fields = &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
        ("format", 6, Text),
        ("uniqueItems", 19, Flag),
    ];
    let place = value.get("in").and_then(Value::as_str).unwrap_or_default();
    let one = match place {
        "body" => return within(1, &within(1, &message(value, BODY, 6))),
        "header" => within(1, &message(value, OTHER, 22)),
        "query" => within(3, &message(value, QUERY, 23)),
        _ => within(4, &message(value, OTHER, 22)),
    };
    within(1, &within(2, &one))
}

fn responses(value: &Value) -> Vec<u8> {
    pairs(value, 1, |value| within(1, &response(value)))
}

fn response(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[("description", 1, Text), ("schema", 2, One(schema_item))];
    message(value, FIELDS, 5)
}

fn schema_item(value: &Value) -> Vec<u8> {
    within(1, &schema(value))
}

fn schemas(value: &Value) -> Vec<u8> {
    pairs(value, 1, schema)
}

fn schema(value: &Value) -> Vec<u8> {
    const FIELDS: &Fields = &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("title", 3, Text),
        ("description", 4, Text),
        ("default", 5, Any),
        ("maximum", 7, Double),
        ("minimum", 9, Double),
        ("maxLength", 11, Number),
        ("minLength", 12, Number),
        ("pattern", 13, Text),
        ("maxItems", 14, Number),
        ("minItems", 15, Number),
        ("uniqueItems", 16, Flag),
        ("required", 19, Texts),
        ("enum", 20, Anys),
        ("additionalProperties", 21, One(additional)),
        ("type", 22, One(types)),
        ("items", 23, One(schema_item)),
        ("allOf", 24, Each(schema)),
        ("properties", 25, One(schemas)),
        ("readOnly", 27, Flag),
    ];
    message(value, FIELDS, 31)
}

fn additional(value: &Value) -> Vec<u8> {
    match value.as_bool() {
        None => within(1, &schema(value)),
        Some(any) => {
            let mut one = Vec::new();
            wire::push_number(&mut one, 2, i64::from(any));
            one
        }
    }
}

/// `TypeItem`: one or several.
fn types(value: &Value) -> Vec<u8> {
    let mut types = Vec::new();
    let several = value.as_array().into_iter().flatten();
    for name in several.chain([value]).filter_map(Value::as_str) {
        wire::push_bytes(&mut types, 1, name.as_bytes());
    }
    types
}

/// `SecurityRequirement`: names with lists of texts.
fn requirement(value: &Value) -> Vec<u8> {
    let mut message = Vec::new();
    for (name, scopes) in super::entries(value) {
        let mut list = Vec::new();
        super::field(&mut list, 1, Texts, scopes);
        wire::push_bytes(&mut message, 1, &named(name, &list));
    }
    message
}

fn security(value: &Value) -> Vec<u8> {
    /// `ApiKeySecurity`, the only one that there is.
    const FIELDS: &Fields = &[
        ("type", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("description", 4, Text),
    ];
    pairs(value, 1, |value| within(2, &message(value, FIELDS, 5)))
}
