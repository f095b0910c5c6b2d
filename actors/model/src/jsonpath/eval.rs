//! Evaluating templates.

use super::{Comparison, Node, Operand, Step, shown};
use serde_json::Value;
use std::cmp::Ordering;

/// Recursive descents, wildcards and unions may not find more values than this.
const MAX_FOUND: usize = 1 << 20;

type Found<'a> = Result<Vec<&'a Value>, String>;

pub(super) fn render(
    nodes: &[Node],
    root: &Value,
    here: &Value,
    out: &mut String,
) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Path(path) => {
                let texts: Vec<String> = walk(path, root, here)?.into_iter().map(cell).collect();
                out.push_str(&texts.join(" "));
            }
            Node::Range(path, body) => {
                for item in items(walk(path, root, here)?) {
                    render(body, root, item, out)?;
                }
            }
        }
    }
    Ok(())
}

/// A null in a template shows as nothing.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        other => shown(other),
    }
}

pub(super) fn find<'a>(
    nodes: &[Node],
    root: &'a Value,
    here: &'a Value,
    out: &mut Vec<&'a Value>,
) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Path(path) => out.extend(walk(path, root, here)?),
            Node::Range(path, body) => {
                for item in items(walk(path, root, here)?) {
                    find(body, root, item, out)?;
                }
            }
        }
    }
    Ok(())
}

/// `{range .items}` goes over the items of the list, as `{range .items[*]}` does.
fn items(found: Vec<&Value>) -> Vec<&Value> {
    match found.as_slice() {
        [Value::Array(list)] => list.iter().collect(),
        _ => found,
    }
}

fn walk<'a>(path: &[Step], root: &'a Value, here: &'a Value) -> Found<'a> {
    let mut found = vec![here];
    let mut descended = false;
    for step in path {
        found = match step {
            Step::Root => vec![root],
            step => {
                let mut next = Vec::new();
                for value in found {
                    match apply(step, root, value) {
                        Ok(values) => next.extend(values),
                        // Somewhere below there is a list that is long enough, or none.
                        Err(_) if descended => {}
                        Err(why) => return Err(why),
                    }
                    if next.len() > MAX_FOUND {
                        return Err(format!("more than {MAX_FOUND} values"));
                    }
                }
                next
            }
        };
        descended |= *step == Step::Descend;
    }
    Ok(found)
}

fn apply<'a>(step: &Step, root: &'a Value, value: &'a Value) -> Found<'a> {
    Ok(match step {
        Step::Root => vec![root],
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Wildcard => children(value),
        Step::Descend => {
            let mut all = Vec::new();
            descend(value, &mut all);
            all
        }
        Step::Index(index) => match value {
            Value::Array(list) => vec![at(list, *index)?],
            Value::Null => Vec::new(),
            _ => return Err(format!("{} is not a list", kind(value))),
        },
        Step::Slice(first, last, by) => match value {
            Value::Array(list) => slice(list, *first, *last, *by),
            Value::Null => Vec::new(),
            _ => return Err(format!("{} is not a list", kind(value))),
        },
        Step::Union(choices) => {
            let mut all = Vec::new();
            for choice in choices {
                all.extend(apply(choice, root, value)?);
            }
            all
        }
        Step::Filter(left, right) => {
            let mut kept = Vec::new();
            for item in children(value) {
                if holds(left, right.as_ref(), root, item)? {
                    kept.push(item);
                }
            }
            kept
        }
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn descend<'a>(value: &'a Value, all: &mut Vec<&'a Value>) {
    all.push(value);
    for child in children(value) {
        descend(child, all);
    }
}

fn at(list: &[Value], index: i64) -> Result<&Value, String> {
    let length = list.len() as i64;
    let position = if index < 0 { index + length } else { index };
    usize::try_from(position)
        .ok()
        .and_then(|p| list.get(p))
        .ok_or_else(|| format!("array index out of bounds: index {index}, length {length}"))
}

fn slice(list: &[Value], first: Option<i64>, last: Option<i64>, by: i64) -> Vec<&Value> {
    let length = list.len() as i64;
    let position = |index: i64| {
        let from_start = if index < 0 {
            index.saturating_add(length)
        } else {
            index
        };
        from_start.clamp(0, length) as usize
    };
    let (first, last) = (
        position(first.unwrap_or(0)),
        position(last.unwrap_or(length)),
    );
    let by = usize::try_from(by).unwrap_or(1).max(1);
    list.get(first..last)
        .unwrap_or_default()
        .iter()
        .step_by(by)
        .collect()
}

fn holds(
    left: &Operand,
    right: Option<&(Comparison, Operand)>,
    root: &Value,
    item: &Value,
) -> Result<bool, String> {
    let left = operand(left, root, item)?;
    let Some((comparison, right)) = right else {
        return Ok(left.is_some());
    };
    let (Some(left), Some(right)) = (left, operand(right, root, item)?) else {
        return Ok(false);
    };
    let order = match (&left, &right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) => (a == b).then_some(Ordering::Equal),
    };
    Ok(match comparison {
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::NotEqual => order != Some(Ordering::Equal),
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

/// The first value of an operand; `None` when its path finds nothing.
fn operand(operand: &Operand, root: &Value, item: &Value) -> Result<Option<Value>, String> {
    match operand {
        Operand::Literal(value) => Ok(Some(value.clone())),
        Operand::Path(path) => Ok(walk(path, root, item)?.first().map(|v| (*v).clone())),
    }
}
