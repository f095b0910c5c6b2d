//! JSON Patch (RFC 6902) over JSON Pointers (RFC 6901).

use super::PatchError;
use serde_json::Value;

/// More operations than this are refused, as Kubernetes does.
const MAX_OPERATIONS: usize = 10_000;
/// Copies may not make the object larger than this.
const MAX_COPIED_NODES: usize = 1 << 20;
/// No path goes deeper, so that operations cannot nest an object beyond what can be walked.
const MAX_PARTS: usize = 128;

/// Applies a JSON patch. All operations happen, or none.
pub fn json_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let malformed = |why: &str| Err(PatchError::Malformed(why.to_string()));
    let Some(operations) = patch.as_array() else {
        return malformed("a JSON patch is a list of operations");
    };
    if operations.len() > MAX_OPERATIONS {
        return malformed(&format!("more than {MAX_OPERATIONS} operations"));
    }
    let mut patched = target.clone();
    let mut copied = 0;
    for (index, operation) in operations.iter().enumerate() {
        let text = |field: &str| operation.get(field).and_then(Value::as_str);
        let op = text("op").unwrap_or_default();
        let path = text("path").unwrap_or_default();
        let outcome = match text("path") {
            Some(_) => step(&mut patched, op, path, operation, &mut copied),
            None => Err("path is missing or no text".to_string()),
        };
        outcome.map_err(|why| PatchError::Operation {
            index,
            op: op.to_string(),
            path: path.to_string(),
            why,
        })?;
    }
    Ok(patched)
}

fn step(
    target: &mut Value,
    op: &str,
    path: &str,
    operation: &Value,
    copied: &mut usize,
) -> Result<(), String> {
    let value = || operation.get("value").cloned().ok_or("value is missing");
    let from = || {
        operation
            .get("from")
            .and_then(Value::as_str)
            .ok_or("from is missing or no text")
    };
    match op {
        "add" => add(target, path, value()?),
        "remove" => remove(target, path).map(drop),
        "replace" => {
            let value = value()?;
            *find_mut(target, path)? = value;
            Ok(())
        }
        "move" => {
            let from = from()?;
            if path
                .strip_prefix(from)
                .is_some_and(|rest| rest.starts_with('/'))
            {
                return Err(format!("{from:?} cannot be moved into itself"));
            }
            let moved = remove(target, from)?;
            add(target, path, moved)
        }
        "copy" => {
            let value = find(target, from()?)?.clone();
            *copied += nodes(&value);
            if *copied > MAX_COPIED_NODES {
                return Err("the copies make the object too large".to_string());
            }
            add(target, path, value)
        }
        "test" => match (find(target, path)?, &value()?) {
            (found, wanted) if same(found, wanted) => Ok(()),
            (found, _) => Err(format!("the value is {}", shortened(found))),
        },
        "" => Err("op is missing or no text".to_string()),
        other => Err(format!(
            "{other:?} is not one of add, remove, replace, move, copy, test"
        )),
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(nodes).sum::<usize>(),
        _ => 1,
    }
}

/// Numbers are equal when their values are (RFC 6902, section 4.6).
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        (a, b) => a == b,
    }
}

fn parts(path: &str) -> Result<Vec<String>, String> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let rest = path
        .strip_prefix('/')
        .ok_or("a path is empty or begins with '/'")?;
    if rest.split('/').nth(MAX_PARTS).is_some() {
        return Err(format!("a path has more than {MAX_PARTS} parts"));
    }
    rest.split('/')
        .map(|part| {
            let bad = part
                .match_indices('~')
                .any(|(at, _)| !matches!(part.as_bytes().get(at + 1), Some(b'0' | b'1')));
            match bad {
                true => Err("'~' must be followed by 0 or 1".to_string()),
                false => Ok(part.replace("~1", "/").replace("~0", "~")),
            }
        })
        .collect()
}

fn position(part: &str, length: usize) -> Result<usize, String> {
    let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits || (part.len() > 1 && part.starts_with('0')) {
        return Err(format!("{part:?} is no position in a list"));
    }
    let index = part.parse().unwrap_or(usize::MAX);
    match index < length {
        true => Ok(index),
        false => Err(format!(
            "position {part} is beyond the list's {length} items"
        )),
    }
}

fn find<'a>(target: &'a Value, path: &str) -> Result<&'a Value, String> {
    parts(path)?
        .iter()
        .try_fold(target, |value, part| match value {
            Value::Object(fields) => fields.get(part).ok_or_else(|| missing(part)),
            Value::Array(items) => position(part, items.len()).map(|index| &items[index]),
            _ => Err(format!(
                "{part:?} is looked for in a value that has no parts"
            )),
        })
}

fn missing(part: &str) -> String {
    format!("there is no field {part:?}")
}

fn descend<'a>(target: &'a mut Value, parts: &[String]) -> Result<&'a mut Value, String> {
    parts.iter().try_fold(target, |value, part| match value {
        Value::Object(fields) => fields.get_mut(part).ok_or_else(|| missing(part)),
        Value::Array(items) => position(part, items.len()).map(|index| &mut items[index]),
        _ => Err(format!(
            "{part:?} is looked for in a value that has no parts"
        )),
    })
}

fn find_mut<'a>(target: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    descend(target, &parts(path)?)
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let parts = parts(path)?;
    let Some((last, parents)) = parts.split_last() else {
        *target = value;
        return Ok(());
    };
    match descend(target, parents)? {
        Value::Object(fields) => {
            fields.insert(last.clone(), value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let index = position(last, items.len() + 1)?;
            items.insert(index, value);
        }
        _ => {
            return Err(format!(
                "{last:?} cannot be added to a value that has no parts"
            ));
        }
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value, String> {
    let parts = parts(path)?;
    let Some((last, parents)) = parts.split_last() else {
        return Err("the whole object cannot be removed".to_string());
    };
    match descend(target, parents)? {
        Value::Object(fields) => fields.remove(last).ok_or_else(|| missing(last)),
        Value::Array(items) => position(last, items.len()).map(|index| items.remove(index)),
        _ => Err(format!(
            "{last:?} is looked for in a value that has no parts"
        )),
    }
}
