//! Sets of fields and their algebra, and the form in which they are written (`FieldsV1`).

use super::path::PathElement;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

/// A set of paths. A path may be a member without those below it being members, and the other way
/// round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    nodes: BTreeMap<PathElement, Node>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    below: FieldSet,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

/// Written sets do not nest deeper than objects do.
const MAX_DEPTH: usize = 100;

impl FieldSet {
    /// Whether nothing is a member.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Makes `element` itself a member.
    pub fn insert(&mut self, element: PathElement) {
        self.nodes.entry(element).or_default().member = true;
    }

    /// Adds a set below `element`.
    pub fn insert_below(&mut self, element: PathElement, below: Self) {
        if below.is_empty() {
            return;
        }
        let node = self.nodes.entry(element).or_default();
        node.below = match node.below.is_empty() {
            true => below,
            false => std::mem::take(&mut node.below).union(&below),
        };
    }

    /// Whether `element` itself is a member.
    pub fn has(&self, element: &PathElement) -> bool {
        self.nodes.get(element).is_some_and(|n| n.member)
    }

    /// What is below `element`; `None` when nothing is.
    pub fn below(&self, element: &PathElement) -> Option<&Self> {
        let below = self.nodes.get(element).map(|n| &n.below);
        below.filter(|b| !b.is_empty())
    }

    /// Takes away `element` and everything below it.
    pub fn remove_all(&mut self, element: &PathElement) {
        self.nodes.remove(element);
    }

    /// Takes away `element`, but nothing below it.
    pub fn remove(&mut self, element: &PathElement) {
        if let Some(node) = self.nodes.get_mut(element) {
            node.member = false;
            if node.is_empty() {
                self.nodes.remove(element);
            }
        }
    }

    /// Takes away `element`, and has `change` what is below it.
    pub fn change_below(&mut self, element: &PathElement, change: impl FnOnce(&mut Self)) {
        if let Some(node) = self.nodes.get_mut(element) {
            node.member = false;
            change(&mut node.below);
            if node.is_empty() {
                self.nodes.remove(element);
            }
        }
    }

    /// Takes away what is in `other`.
    pub fn subtract(&mut self, other: &Self) {
        for (element, theirs) in &other.nodes {
            if let Some(mine) = self.nodes.get_mut(element) {
                mine.member &= !theirs.member;
                mine.below.subtract(&theirs.below);
                if mine.is_empty() {
                    self.nodes.remove(element);
                }
            }
        }
    }

    /// Adds what is in `other`.
    pub fn absorb(&mut self, other: Self) {
        for (element, theirs) in other.nodes {
            match self.nodes.entry(element) {
                Entry::Vacant(place) => drop(place.insert(theirs)),
                Entry::Occupied(mut mine) => {
                    let mine = mine.get_mut();
                    mine.member |= theirs.member;
                    mine.below.absorb(theirs.below);
                }
            }
        }
    }

    /// The first parts of the paths, and for each whether it is a member, and what is below.
    pub fn iter(&self) -> impl Iterator<Item = (&PathElement, bool, &Self)> {
        self.nodes.iter().map(|(e, n)| (e, n.member, &n.below))
    }

    /// What is in one or the other.
    pub fn union(mut self, other: &Self) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        for (element, node) in &other.nodes {
            let mine = self.nodes.entry(element.clone()).or_default();
            mine.member |= node.member;
            mine.below = std::mem::take(&mut mine.below).union(&node.below);
        }
        self
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.combined(other, |mine, theirs| Node {
            member: mine.member && theirs.is_some_and(|t| t.member),
            below: theirs.map_or_else(Self::default, |t| mine.below.intersection(&t.below)),
        })
    }

    /// What is in this one alone.
    pub fn difference(&self, other: &Self) -> Self {
        self.combined(other, |mine, theirs| match theirs {
            None => mine.clone(),
            Some(theirs) => Node {
                member: mine.member && !theirs.member,
                below: mine.below.difference(&theirs.below),
            },
        })
    }

    fn combined(&self, other: &Self, with: impl Fn(&Node, Option<&Node>) -> Node) -> Self {
        let nodes = self.nodes.iter().filter_map(|(element, mine)| {
            let node = with(mine, other.nodes.get(element));
            (!node.is_empty()).then(|| (element.clone(), node))
        });
        Self {
            nodes: nodes.collect(),
        }
    }

    /// Every path that is a member, as conflicts show it, in order.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.gather("", &mut paths);
        paths
    }

    fn gather(&self, above: &str, paths: &mut Vec<String>) {
        // As Kubernetes walks them: members first, then what is below.
        for (element, _) in self.nodes.iter().filter(|(_, n)| n.member) {
            paths.push(format!("{above}{element}"));
        }
        for (element, node) in &self.nodes {
            node.below.gather(&format!("{above}{element}"), paths);
        }
    }
}

impl Serialize for FieldSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let set = self;
        Written { set, member: false }.serialize(serializer)
    }
}

/// A set, and whether what it is below is a member.
struct Written<'a> {
    set: &'a FieldSet,
    member: bool,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        if self.member && !self.set.is_empty() {
            fields.serialize_entry(".", &serde_json::Map::new())?;
        }
        for (element, node) in &self.set.nodes {
            let (set, member) = (&node.below, node.member);
            fields.serialize_entry(element, &Written { set, member })?;
        }
        fields.end()
    }
}

impl<'de> Deserialize<'de> for FieldSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (set, _) = Below { depth: 0 }.deserialize(deserializer)?;
        Ok(set)
    }
}

/// Reads a set, and whether what it is below is said to be a member.
struct Below {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Below {
    type Value = (FieldSet, bool);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Below {
    type Value = (FieldSet, bool);

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object, which a set of fields is")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        if self.depth > MAX_DEPTH {
            return Err(A::Error::custom("a set of fields nests too deeply"));
        }
        let (mut set, mut named) = (FieldSet::default(), false);
        while let Some(Part(part)) = fields.next_key()? {
            let Some(element) = part else {
                named = true;
                fields.next_value::<IgnoredAny>()?;
                continue;
            };
            let depth = self.depth + 1;
            let (below, named) = fields.next_value_seed(Below { depth })?;
            // A path with nothing below it is a member.
            let member = below.is_empty() || named;
            set.nodes.insert(element, Node { member, below });
        }
        Ok((set, named))
    }
}

/// A part of a path; nothing is what the set is below.
struct Part(Option<PathElement>);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Part;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a part of a field's path")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Part, E> {
                if text == "." {
                    return Ok(Part(None));
                }
                let element = PathElement::parse(text).ok_or_else(|| {
                    E::custom(format_args!("{text:?} is no part of a field's path"))
                })?;
                Ok(Part(Some(element)))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
