//! JSON values as YAML, in the style of `kubectl get -o yaml`: fields sorted, lists not indented
//! below their field, text of many lines as a block, and quotes only where text would else be
//! read as something different.

use serde_json::{Map, Value};
use std::fmt::Write;

/// `value` as a YAML document, ending with a newline.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => object(fields, 0, false, &mut out),
        Value::Array(items) if !items.is_empty() => array(items, 0, &mut out),
        scalar => {
            inline(scalar, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// `began`: the first line is already indented (it follows a list's dash).
fn object(fields: &Map<String, Value>, indent: usize, mut began: bool, out: &mut String) {
    let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    for (name, value) in sorted {
        if !began {
            pad(indent, out);
        }
        began = false;
        key(name, out);
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                object(inner, indent + 2, false, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                array(items, indent, out);
            }
            scalar => {
                out.push(' ');
                inline(scalar, indent, out);
                out.push('\n');
            }
        }
    }
}

fn array(items: &[Value], indent: usize, out: &mut String) {
    for item in items {
        pad(indent, out);
        out.push_str("- ");
        match item {
            Value::Object(fields) if !fields.is_empty() => object(fields, indent + 2, true, out),
            Value::Array(inner) if !inner.is_empty() => {
                // A list in a list begins on its parent's line.
                let mut nested = String::new();
                array(inner, indent + 2, &mut nested);
                out.push_str(nested.trim_start_matches(' '));
            }
            scalar => {
                inline(scalar, indent, out);
                out.push('\n');
            }
        }
    }
}

fn key(name: &str, out: &mut String) {
    match name.contains('\n') || name.len() > 128 {
        true => double_quoted(name, out),
        false => text(name, out),
    }
}

fn inline(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(string) if fits_block(string) => block(string, indent, out),
        Value::String(string) => text(string, out),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// Text of many lines that a block can hold as it is.
fn fits_block(string: &str) -> bool {
    string.trim_end_matches('\n').contains('\n') | (string.ends_with('\n') && string.len() > 1)
        && !string.starts_with([' ', '\t', '\n'])
        && string
            .chars()
            .all(|c| c == '\n' || c == '\t' || printable(c))
        && !string.starts_with('\n')
}

fn block(string: &str, indent: usize, out: &mut String) {
    let body = string.trim_end_matches('\n');
    out.push_str(match string.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(indent + 2, out);
            out.push_str(line);
        }
    }
    // The caller ends the last line; more newlines are kept as empty lines.
    out.extend(std::iter::repeat_n(
        '\n',
        (string.len() - body.len()).saturating_sub(1),
    ));
}

fn printable(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}'
        )
}

fn text(string: &str, out: &mut String) {
    if !string.chars().all(printable) || looks_different(string) {
        double_quoted(string, out);
    } else if plain(string) {
        out.push_str(string);
    } else {
        let _ = write!(out, "'{}'", string.replace('\'', "''"));
    }
}

/// Text that would be read as null, a boolean, a number or a time, by YAML 1.1 or 1.2.
fn looks_different(string: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf",
        "-.inf", "+.inf", "<<", "=",
    ];
    if WORDS.contains(&string.to_ascii_lowercase().as_str()) {
        return true;
    }
    let unsigned = string.strip_prefix(['+', '-']).unwrap_or(string);
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (unsigned.replace('_', "").parse::<f64>().is_ok()
            || ["0x", "0o", "0b", "0X", "0O", "0B"]
                .iter()
                .any(|p| unsigned.starts_with(p))
            || is_date(unsigned))
}

fn is_date(string: &str) -> bool {
    let bytes = string.as_bytes();
    bytes.len() >= 8
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes
            .iter()
            .all(|b| b.is_ascii_digit() || b"-:.tTzZ +".contains(b))
}

/// Text that needs no quotes.
fn plain(string: &str) -> bool {
    let mut chars = string.chars();
    let (Some(first), second) = (chars.next(), chars.next()) else {
        return false;
    };
    let begins_well = match first {
        '-' | '?' | ':' => second.is_some_and(|c| c != ' '),
        c => !",[]{}#&*!|>'\"%@` ".contains(c),
    };
    begins_well
        && !string.ends_with([' ', ':'])
        && !string.contains(": ")
        && !string.contains(" #")
        && !string.starts_with("---")
        && !string.starts_with("...")
}

fn double_quoted(string: &str, out: &mut String) {
    out.push('"');
    for c in string.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if printable(c) => out.push(c),
            c if u32::from(c) <= 0xff => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out.push('"');
}
