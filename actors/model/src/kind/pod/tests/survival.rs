//! No pod of the right shape, however odd, makes a rule panic.

use super::*;

fn odd() -> Vec<Value> {
    let texts = [
        "",
        "..",
        "/",
        "=",
        "'",
        "['']",
        "-",
        ":",
        "@",
        "é",
        "1e99999",
        "-0.0000000000001Ei",
        "\u{0}",
    ];
    let mut odd: Vec<Value> = texts.iter().map(|t| json!(t)).collect();
    odd.extend([
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(i32::MIN),
        json!(true),
        json!([]),
        json!({}),
        Value::Null,
    ]);
    odd
}

/// The paths of every value inside of a value.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_string());
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(value, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                places(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn odd_values_anywhere_are_survived() {
    let mut old = refusals::whole();
    admit_defaults(&mut old);
    let whole = serde_json::to_value(&old).expect("a pod");
    let mut found = Vec::new();
    places(&whole, "", &mut found);
    let mut decoded = 0;
    for place in &found {
        for odd in odd() {
            let mut value = whole.clone();
            *value.pointer_mut(place).expect("a place") = odd;
            let Ok(mut pod) = serde_json::from_value::<Pod>(value) else {
                continue;
            };
            decoded += 1;
            PodRules::default(&mut pod);
            PodRules::validate(&pod);
            PodRules::validate_update(&pod, &old);
            PodRules::validate_update(&old, &pod);
            PodRules::validate_status(&pod, &old);
            PodRules::row(&pod, Timestamp::UNIX_EPOCH);
            PodRules::fields(&pod);
            requests(&pod.spec.clone().unwrap_or_default());
            PodRules::prepare_create(&mut pod);
        }
    }
    assert!(decoded > 1000, "{decoded} pods of the right shape");
}
