//! What is wrong with the form of a request that can be read all the same: fields that the kind
//! does not have, and fields that are there twice. `fieldValidation` says what becomes of them.
//!
//! A whole object is refused as a bad request. A patch is refused as Kubernetes does it: what is
//! invalid is `patch`, shown as a strategic patch itself, and as what any other one makes.

use kabuki_model::kind::Kind;
use kabuki_model::request::{FieldValidation, PatchType, WriteOptions};
use kabuki_model::status::{Cause, Reason};
use kabuki_model::{StatusError, patch};
use serde_json::{Map, Number, Value};

/// More faults than this are not listed, as in Kubernetes.
pub(super) const MAX_LISTED: usize = 100;
/// A refusal repeats no more than this of a patch, in bytes: it must fit into a frame twice.
const MAX_SHOWN: usize = 64 << 10;

/// A patch, and what it is applied to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patched<'a> {
    pub how: PatchType,
    pub base: &'a Value,
    pub patch: &'a Value,
}

/// The faults of a request so far.
#[derive(Debug, Default)]
pub(crate) struct Faults<'a> {
    found: Vec<String>,
    patched: Option<Patched<'a>>,
}

impl<'a> Faults<'a> {
    /// The same faults, of a patch.
    pub(crate) fn of_patch(mut self, patched: Patched<'a>) -> Self {
        self.patched = Some(patched);
        self
    }

    /// Takes note of faults, unless nobody wants to know. Each is told once.
    pub(crate) fn note(&mut self, options: &WriteOptions, faults: impl Iterator<Item = String>) {
        if options.validation == FieldValidation::Ignore {
            return;
        }
        for fault in faults {
            if self.found.len() < MAX_LISTED && !self.found.contains(&fault) {
                self.found.push(fault);
            }
        }
    }

    /// Takes note of fields that are unknown, by their paths.
    pub(crate) fn unknown(&mut self, options: &WriteOptions, paths: &[String]) {
        self.note(
            options,
            paths.iter().map(|p| format!("unknown field {p:?}")),
        );
    }

    /// Refuses the request for its faults, if that is asked.
    pub(crate) fn judge(&self, kind: &Kind, options: &WriteOptions) -> Result<(), StatusError> {
        self.judge_as(kind.names.kind, kind.names.version, options)
    }

    /// The same of what is no kind of its own, as the scale of an object.
    pub(crate) fn judge_as(
        &self,
        kind: &str,
        version: &str,
        options: &WriteOptions,
    ) -> Result<(), StatusError> {
        if self.found.is_empty() || options.validation != FieldValidation::Strict {
            return Ok(());
        }
        let why = format!("strict decoding error: {}", self.found.join(", "));
        Err(self.refusal(kind, version, &why, None))
    }

    /// The refusal of what has a value of a wrong type.
    pub(crate) fn wrong_type(&self, kind: &str, version: &str, cause: Cause) -> StatusError {
        let why = format!("{}: {}", cause.field, cause.message);
        self.refusal(kind, version, &why, Some(cause))
    }

    fn refusal(&self, kind: &str, version: &str, why: &str, cause: Option<Cause>) -> StatusError {
        let Some(patched) = self.patched else {
            let mut error = StatusError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
            ));
            error.causes.extend(cause);
            return error;
        };
        let cause = Cause::invalid("patch", shortened(patched.shown()), why);
        let message = format!(" \"\" is invalid: {}: {}", cause.field, cause.message);
        let mut error = StatusError::new(Reason::Invalid, message);
        error.causes.push(cause);
        error
    }

    /// What is to be warned of, when nothing was refused.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        self.found
    }
}

impl Patched<'_> {
    /// What a refusal shows. It is made once more, so that patches that are fine cost nothing.
    fn shown(&self) -> String {
        match self.how {
            PatchType::Strategic => go(self.patch),
            _ => patch::apply(self.how, self.base, self.patch)
                .unwrap_or_else(|_| self.patch.clone())
                .to_string(),
        }
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_SHOWN {
        let mut end = MAX_SHOWN;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// A value as Go prints it (`%+v`): this is how Kubernetes shows a strategic patch.
fn go(value: &Value) -> String {
    let mut text = String::new();
    print(value, &mut text);
    text
}

fn print(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("<nil>"),
        Value::Bool(value) => text.push_str(&value.to_string()),
        Value::Number(number) => text.push_str(&go_number(number)),
        Value::String(value) => text.push_str(value),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(' ');
                }
                print(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => print_map(fields, text),
    }
}

fn print_map(fields: &Map<String, Value>, text: &mut String) {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| *name);
    text.push_str("map[");
    for (index, (name, value)) in fields.into_iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(name);
        text.push(':');
        print(value, text);
    }
    text.push(']');
}

/// Go writes an exponent below 1e-4 and from 1e21 on, with two digits at least.
fn go_number(number: &Number) -> String {
    if number.is_i64() || number.is_u64() {
        return number.to_string();
    }
    let value = number.as_f64().unwrap_or_default();
    let size = value.abs();
    if size == 0.0 || (1e-4..1e21).contains(&size) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    let Some((digits, exponent)) = text.split_once('e') else {
        return text;
    };
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_printed_as_go_does() {
        let value = json!({
            "b": [1, "two words", null, true, {}], "a": {"c": -2.5, "d": 1e21, "e": 1.5e-7, "f": []},
        });
        let want = "map[a:map[c:-2.5 d:1e+21 e:1.5e-07 f:[]] b:[1 two words <nil> true map[]]]";
        assert_eq!(go(&value), want);
    }

    #[test]
    fn a_fault_is_told_once_and_not_too_many_are() {
        let mut faults = Faults::default();
        let options = WriteOptions::default();
        let many = (0..200).map(|n| format!("unknown field \"f{}\"", n / 2));
        faults.note(&options, many.chain(["another".to_string()]));
        assert_eq!(faults.into_warnings().len(), MAX_LISTED);
        let ignored = WriteOptions {
            validation: FieldValidation::Ignore,
            ..options
        };
        let mut none = Faults::default();
        none.unknown(&ignored, &["spec.a".to_string()]);
        assert!(none.into_warnings().is_empty());
    }

    #[test]
    fn a_long_patch_is_shortened_between_letters() {
        let long = shortened("ä".repeat(MAX_SHOWN));
        assert!(long.ends_with("ä...") && long.len() <= MAX_SHOWN + 3);
    }
}
