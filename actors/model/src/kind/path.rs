//! Paths of fields in causes, for example `spec.containers[0].resources.limits[cpu]`. A path is
//! a chain of borrowed parts, so that a rule that holds costs no allocation.

use crate::status::Cause;
use std::fmt;

/// The path of a field.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// A path as text.
    Root(&'a str),
    /// A field of an object.
    Child(&'a Path<'a>, &'a str),
    /// An item of a list.
    Index(&'a Path<'a>, usize),
    /// An entry of a map.
    Key(&'a Path<'a>, &'a str),
}

impl<'a> Path<'a> {
    /// The path of the field `name` of the object here.
    pub fn child(&'a self, name: &'a str) -> Self {
        Path::Child(self, name)
    }

    /// The path of an item of the list here.
    pub fn index(&'a self, index: usize) -> Self {
        Path::Index(self, index)
    }

    /// The path of an entry of the map here.
    pub fn key(&'a self, key: &'a str) -> Self {
        Path::Key(self, key)
    }

    /// Notes an invalid text, when there is a reason.
    pub fn check(&self, value: &str, why: Option<String>, causes: &mut Vec<Cause>) {
        if let Some(why) = why {
            causes.push(Cause::invalid(self, value, &why));
        }
    }

    /// Notes a text that is none of the allowed ones; an empty one is required.
    pub fn one_of(&self, value: Option<&str>, allowed: &[&str], causes: &mut Vec<Cause>) {
        match value.unwrap_or_default() {
            "" => causes.push(Cause::required(self, "")),
            value if !allowed.contains(&value) => {
                causes.push(Cause::unsupported(self, value, allowed));
            }
            _ => {}
        }
    }

    /// Notes a number outside of a range, both ends of which belong to it.
    pub fn in_range(&self, value: i64, min: i64, max: i64, causes: &mut Vec<Cause>) {
        if !(min..=max).contains(&value) {
            let why = format!("must be between {min} and {max}, inclusive");
            causes.push(Cause::invalid(self, value, &why));
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root(path) => f.write_str(path),
            Path::Child(Path::Root(""), name) => f.write_str(name),
            Path::Child(parent, name) => write!(f, "{parent}.{name}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

impl From<&Path<'_>> for String {
    fn from(path: &Path<'_>) -> Self {
        path.to_string()
    }
}

impl From<Path<'_>> for String {
    fn from(path: Path<'_>) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_kubernetes_writes_it() {
        let spec = Path::Root("spec");
        let path = spec.child("containers");
        let path = path.index(3);
        let path = path.child("limits");
        assert_eq!(
            path.key("cpu").to_string(),
            "spec.containers[3].limits[cpu]"
        );
        assert_eq!(Path::Root("").child("spec").to_string(), "spec");
    }
}
