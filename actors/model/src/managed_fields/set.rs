//! Sets of fields and their algebra, and the form in which they are written (`FieldsV1`).

use super::path::PathElement;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

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

    /// Reads a written set.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        Self::read(value, 0)
    }

    fn read(value: &Value, depth: usize) -> Result<Self, String> {
        let Some(fields) = value.as_object() else {
            return Err(format!("a set of fields is an object, not {value}"));
        };
        if depth > MAX_DEPTH {
            return Err("a set of fields nests too deeply".to_string());
        }
        let mut set = Self::default();
        for (text, inner) in fields.iter().filter(|(text, _)| *text != ".") {
            let element = PathElement::parse(text)
                .ok_or_else(|| format!("{text:?} is no part of a field's path"))?;
            let below = Self::read(inner, depth + 1)?;
            // A path with nothing below it is a member.
            let member = below.is_empty() || inner.get(".").is_some();
            set.nodes.insert(element, Node { member, below });
        }
        Ok(set)
    }

    /// The set as it is written.
    pub fn to_json(&self) -> Value {
        Value::Object(self.write(false))
    }

    fn write(&self, member: bool) -> Map<String, Value> {
        let mut fields = Map::new();
        if member && !self.is_empty() {
            fields.insert(".".to_string(), Value::Object(Map::new()));
        }
        for (element, node) in &self.nodes {
            let inner = node.below.write(node.member);
            fields.insert(element.text(), Value::Object(inner));
        }
        fields
    }
}
