//! Reading the table. It is part of the program, so a fault in it is a fault of the build: the
//! tests read it whole.

use super::{Arity, Field, FieldIndex, FieldType, ListType, Message, PatchRule, Presence, Table};
use std::collections::HashMap;

const TEXT: &str = include_str!("kubernetes.txt");

/// Sections that types are looked for in beyond their own.
const SHARED: &[&str] = &["v1", "meta.k8s.io/v1"];
/// Inline structures are not nested deeper.
const MAX_INLINE: usize = 4;

type Index = HashMap<(&'static str, &'static str), usize>;

pub(super) fn load() -> Table {
    let lines = lines();
    let mut index = Index::new();
    for (at, (section, name, _, _)) in lines.iter().enumerate() {
        index.insert((section, name), at);
    }
    let mut messages: Vec<Message> = lines
        .iter()
        .map(|(section, name, atomic, fields)| Message {
            name,
            atomic: *atomic,
            fields: fields
                .split_ascii_whitespace()
                .filter_map(|text| field(text, section, &index))
                .collect(),
            by_name: HashMap::new(),
        })
        .collect();
    for at in 0..messages.len() {
        let mut names = HashMap::new();
        gather(&messages, at, 0, &mut names);
        messages[at].by_name = names;
    }
    Table { messages, index }
}

/// Section, name, whether atomic, fields.
type Line = (&'static str, &'static str, bool, &'static str);

fn lines() -> Vec<Line> {
    let mut section = "";
    let mut lines = Vec::new();
    for line in TEXT.lines() {
        if let Some(name) = line.strip_prefix('@') {
            section = name;
            continue;
        }
        let (name, fields) = line.split_once(' ').unwrap_or((line, ""));
        let plain = name.trim_end_matches('!');
        lines.push((section, plain, plain != name, fields));
    }
    lines
}

/// The fields of a message by name, with those of its inline structures.
fn gather(
    messages: &[Message],
    at: usize,
    depth: usize,
    names: &mut HashMap<&'static str, FieldIndex>,
) {
    for (place, field) in messages[at].fields.iter().enumerate() {
        match field.kind {
            FieldType::Message(inner) if field.name.is_empty() && depth < MAX_INLINE => {
                gather(messages, inner, depth + 1, names);
            }
            _ => {
                names.entry(field.name).or_insert((at, place));
            }
        }
    }
}

/// `name=NUMBER[shape]TYPE[presence][|mark]...`
fn field(text: &'static str, section: &'static str, index: &Index) -> Option<Field> {
    let (name, rest) = text.split_once('=')?;
    let mut marks = rest.split('|');
    let head = marks.next()?;
    let digits = head.find(|c: char| !c.is_ascii_digit())?;
    let (number, kind) = head.split_at(digits);
    let (arity, kind) = match kind.as_bytes().first()? {
        b'[' => (Arity::List, &kind[1..]),
        b'{' => (Arity::Map, &kind[1..]),
        _ => (Arity::One, kind),
    };
    let (presence, kind) = match kind.strip_suffix('?') {
        Some(kind) => (Presence::Pointer, kind),
        None => match kind.strip_suffix('!') {
            Some(kind) => (Presence::Always, kind),
            None => (Presence::NotZero, kind),
        },
    };
    let mut field = Field {
        name: if name == "^" { "" } else { name },
        number: number.parse().ok()?,
        arity,
        kind: kind_of(kind, section, index)?,
        presence,
        list: ListType::Atomic,
        atomic: false,
        patch: PatchRule::default(),
        default: None,
    };
    for mark in marks {
        let (word, value) = match mark.split_once(':') {
            Some((word, value)) => (word, Some(value)),
            None => (mark, None),
        };
        match word {
            "set" => field.list = ListType::Set,
            "map" => field.list = ListType::Map(value?.split(',').collect()),
            "atomic" => field.atomic = true,
            "merge" => {
                field.patch.merge = true;
                field.patch.key = value;
            }
            "retain" => field.patch.retain_keys = true,
            "default" => field.default = value,
            _ => return None,
        }
    }
    Some(field)
}

fn kind_of(kind: &'static str, section: &'static str, index: &Index) -> Option<FieldType> {
    Some(match kind {
        "s" => FieldType::String,
        "b" => FieldType::Bool,
        "i" => FieldType::Int32,
        "l" => FieldType::Int64,
        "d" => FieldType::Double,
        "y" => FieldType::Bytes,
        "Quantity" => FieldType::Quantity,
        "IntOrString" => FieldType::IntOrString,
        "Time" => FieldType::Time,
        "MicroTime" => FieldType::MicroTime,
        "Duration" => FieldType::Duration,
        "RawExtension" => FieldType::RawExtension,
        "FieldsV1" => FieldType::FieldsV1,
        "StringList" => FieldType::StringList,
        name => {
            let mut sections = std::iter::once(&section).chain(SHARED);
            let near = sections.find_map(|s| index.get(&(*s, name)));
            let far = || index.iter().find(|((_, n), _)| *n == name).map(|e| e.1);
            FieldType::Message(*near.or_else(far)?)
        }
    })
}

#[cfg(test)]
pub(super) fn text() -> &'static str {
    TEXT
}
