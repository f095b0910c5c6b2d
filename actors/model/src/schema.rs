//! The shapes of Kubernetes' types: the fields of each message with their protobuf numbers, and
//! how lists, maps and structures are merged. Server-side apply, strategic patches and the
//! protobuf representation all read this one table.
//!
//! The table is `schema/kubernetes.txt`: facts of the public API, taken from the struct tags and
//! markers of the modules `k8s.io/api`, `k8s.io/apimachinery` and `k8s.io/metrics` (v0.37) and
//! checked against the typed schema of `k8s.io/client-go`'s apply configurations. To make it anew: for every struct of
//! a served group, print a line
//!
//! ```text
//! Name[!] field=NUMBER[shape]TYPE[presence][|mark]...
//! ```
//!
//! | part | meaning |
//! |---|---|
//! | `@group/version` | begins a section |
//! | `!` after the name | the structure is atomic |
//! | `^` as field | a structure that JSON has inline, and protobuf as a field |
//! | `[`, `{` | a list, a map from strings |
//! | `s b i l d y` | string, bool, 32 bits, 64 bits, double, bytes; else another message |
//! | `?`, `!` | a pointer: only there when set; always there; neither: left out when zero |
//! | `set`, `map:KEYS` | the list is merged; all others are atomic |
//! | `atomic` | the map or structure is atomic |
//! | `merge[:KEY]`, `retain` | strategic patches |
//! | `default:VALUE` | of a field that is the key of a list |
//!
//! A type is looked for in its own section, then in `v1`, then in `meta.k8s.io/v1`, then anywhere.

mod check;
mod table;

pub use check::{WrongType, check};

use std::collections::HashMap;
use std::sync::LazyLock;

/// One structure.
#[derive(Debug)]
pub struct Message {
    /// `DeploymentSpec`
    pub name: &'static str,
    /// Whether it is owned and merged only as a whole.
    pub atomic: bool,
    /// Its own fields, in the order of their numbers; inline ones without a name.
    pub fields: Vec<Field>,
    /// By JSON name, also those of inline structures.
    by_name: HashMap<&'static str, FieldIndex>,
}

/// One field of a structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The JSON name; empty for an inline structure.
    pub name: &'static str,
    /// The protobuf number.
    pub number: u32,
    /// One, many, or by key.
    pub arity: Arity,
    /// What it holds (each of).
    pub kind: FieldType,
    /// When JSON has it.
    pub presence: Presence,
    /// How a list is merged.
    pub list: ListType,
    /// Whether a map or structure is owned and merged only as a whole.
    pub atomic: bool,
    /// How strategic patches treat it.
    pub patch: PatchRule,
    /// Its value when it is left out and needed as the key of a list.
    pub default: Option<&'static str>,
}

/// How many values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// One.
    One,
    /// A list.
    List,
    /// A map from strings.
    Map,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    String,
    /// A truth value.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A floating-point number.
    Double,
    /// Bytes: base64 in JSON.
    Bytes,
    /// A resource quantity: a string in JSON.
    Quantity,
    /// A number or a string.
    IntOrString,
    /// A time in whole seconds.
    Time,
    /// A time in microseconds.
    MicroTime,
    /// Any JSON.
    RawExtension,
    /// A set of fields, as JSON.
    FieldsV1,
    /// A list of strings in a message of its own.
    StringList,
    /// A structure: an index for [`message`].
    Message(usize),
    /// A length of time: a text as Go writes it (`1m30s`) in JSON.
    Duration,
}

/// When JSON has a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// When it is not zero.
    NotZero,
    /// When it is set, to whatever value.
    Pointer,
    /// Always.
    Always,
}

/// How a list is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListType {
    /// It is replaced whole.
    Atomic,
    /// Its items are plain values, each at most once.
    Set,
    /// Its items are told apart by these fields.
    Map(Vec<&'static str>),
}

/// How strategic patches treat a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatchRule {
    /// Whether a list is merged with what is there.
    pub merge: bool,
    /// The field by which the items of a merged list are told apart; `None` for plain values.
    pub key: Option<&'static str>,
    /// Whether patches of it name the fields that remain.
    pub retain_keys: bool,
}

impl Message {
    /// The field of this JSON name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        let (owner, field) = self.by_name.get(name)?;
        TABLE.messages.get(*owner)?.fields.get(*field)
    }

    /// Whether it begins with the metadata of an object.
    pub fn has_metadata(&self) -> bool {
        self.field("metadata").is_some_and(|f| match f.kind {
            FieldType::Message(index) => message(index).name == "ObjectMeta",
            _ => false,
        })
    }
}

/// A message, and the place of a field in it.
type FieldIndex = (usize, usize);

struct Table {
    messages: Vec<Message>,
    /// By section and name.
    index: HashMap<(&'static str, &'static str), usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(table::load);

/// The message of a [`FieldType::Message`].
pub fn message(index: usize) -> &'static Message {
    // Indices are only made by the table, which never shrinks; the first message stands for what
    // cannot happen.
    TABLE.messages.get(index).unwrap_or(&TABLE.messages[0])
}

/// The message of a kind by `apiVersion` and name. `None` for kinds that the table does not have.
pub fn find(api_version: &str, name: &str) -> Option<&'static Message> {
    let index = TABLE.index.get(&(api_version, name)).copied()?;
    TABLE.messages.get(index)
}

/// Every message with its section, in the table's order.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Message)> {
    let mut entries: Vec<_> = TABLE.index.iter().collect();
    entries.sort_by_key(|(_, index)| **index);
    entries
        .into_iter()
        .filter_map(|((section, _), index)| Some((*section, TABLE.messages.get(*index)?)))
}

#[cfg(test)]
mod tests;
