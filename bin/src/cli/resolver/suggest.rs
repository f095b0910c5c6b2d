//! What a person may have meant.

use kabuki_model::kind;

/// The largest number of edits between what was written and what is suggested.
const MAX_EDITS: usize = 2;

/// Why a type is not known, and what may have been meant.
pub fn unknown_type(name: &str) -> String {
    let head = format!("the server doesn't have a resource type {name:?}");
    let hint = match nearest(&name.to_lowercase()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "`kabuki api-resources` lists those that there are".to_string(),
    };
    format!("{head}\n{hint}")
}

fn nearest(name: &str) -> Option<&'static str> {
    let names = kind::all().iter().flat_map(|k| {
        [k.names.plural, k.names.singular]
            .into_iter()
            .chain(k.names.short.iter().copied())
    });
    // A short word is near everything: it must share most of its letters.
    let limit = MAX_EDITS.min(name.len() / 2);
    names
        .filter(|known| known.len() > 2)
        .map(|known| (distance(name, known), known))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known)
}

/// Insertions, removals and replacements between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_recognised() {
        assert!(unknown_type("pdos").ends_with("did you mean \"pods\"?"));
        assert!(unknown_type("deploymnt").ends_with("did you mean \"deployment\"?"));
        assert!(unknown_type("widgets").contains("api-resources"));
        assert!(unknown_type("x").starts_with("the server doesn't have a resource type \"x\""));
    }
}
