//! What the cluster's own parts write: their entries own whole parts of an object.

use super::entries::Operation;
use super::{Entry, FieldSet, PathElement, Writer};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The managers of the cluster's own parts.
const OWN: &[&str] = &["kabuki-agent", "kabuki-controller", "kabuki-scheduler"];

/// Whether this is the manager of a part of the cluster.
pub fn is_own(manager: &str) -> bool {
    OWN.contains(&manager)
}

/// The entries after a write by one of the cluster's own parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// They stay.
    Kept,
    /// These.
    Changed(Vec<u8>),
    /// Someone else's ownership may be touched: the change must be looked at field by field.
    Touched,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Glance<'a> {
    manager: &'a str,
    subresource: &'a str,
    operation: Option<Operation>,
    #[serde(rename = "fieldsV1", borrow)]
    fields_v1: Option<&'a RawValue>,
}

/// The entries `held` after a write by one of the cluster's own parts that changed `fields` (names
/// of the object's top-level fields) at most; `None` are those of an object at its creation.
pub fn of_part(writer: &Writer, held: Option<&[u8]>, fields: &[&str]) -> Part {
    let Some(json) = held else {
        return coarse(writer, Vec::new(), fields);
    };
    let Ok(glances) = serde_json::from_slice::<Vec<Glance>>(json) else {
        return Part::Touched;
    };
    let own = |g: &Glance| is_own(g.manager);
    if writer.subresource != "status" {
        return match glances.iter().all(own) {
            true => Part::Kept,
            false => Part::Touched,
        };
    }
    let mine = |g: &Glance| {
        g.manager == writer.manager
            && g.subresource == writer.subresource
            && g.operation == Some(Operation::Update)
    };
    let owns = |g: &Glance, text: &str| g.fields_v1.is_some_and(|f| f.get().contains(text));
    if glances
        .iter()
        .any(|g| !mine(g) && !own(g) && owns(g, "\"f:status\""))
    {
        return Part::Touched;
    }
    if glances
        .iter()
        .any(|g| mine(g) && owns(g, "{\"f:status\":{}}"))
    {
        return Part::Kept;
    }
    match super::decode(json) {
        Ok(entries) => coarse(writer, entries, fields),
        Err(_) => Part::Touched,
    }
}

fn coarse(writer: &Writer, mut entries: Vec<Entry>, fields: &[&str]) -> Part {
    let mut set = FieldSet::default();
    for field in fields {
        set.insert(PathElement::Field((*field).to_string()));
    }
    let entry = writer.entry(Operation::Update, set);
    entries.retain(|e| !e.same_manager(&entry));
    entries.push(entry);
    super::encode(entries).map_or(Part::Kept, Part::Changed)
}
