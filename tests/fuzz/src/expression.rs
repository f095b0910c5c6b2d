//! The small languages that people write on the command line and in fields. The first byte says
//! which; the rest is the text.

use crate::world::{World, furniture};
use kabuki_model::jsonpath::JsonPath;
use kabuki_model::selector::FieldSelector;
use kabuki_model::view::View;
use kabuki_model::{LabelSelector, Quantity};
use kabuki_runtime::image::Reference;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What paths are looked for in.
static OBJECT: LazyLock<Value> = LazyLock::new(|| {
    let world = World::furnished();
    let [web, ..] = furniture();
    let object = world.view().get(&web).expect("it is furnished");
    object.to_value().expect("what is stored is JSON")
});

/// Reads a text in one of the languages.
pub fn run(data: &[u8]) {
    let Some((language, rest)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    match language % 6 {
        0 => look_up(JsonPath::parse(text)),
        1 => look_up(JsonPath::parse_relaxed(text)),
        2 => label_selector(text),
        3 => field_selector(text),
        4 => quantity(text),
        _ => reference(text),
    }
}

fn look_up<E>(path: Result<JsonPath, E>) {
    if let Ok(path) = path {
        let _ = path.render(&OBJECT);
        let _ = path.find(&OBJECT);
    }
}

fn label_selector(text: &str) {
    let Ok(selector) = text.parse::<LabelSelector>() else {
        return;
    };
    let shown = selector.to_string();
    let again = shown.parse::<LabelSelector>();
    assert_eq!(again.as_ref(), Ok(&selector), "{text:?} shown as {shown:?}");
    let labels = BTreeMap::from([("app".to_string(), "web".to_string())]);
    selector.matches(&labels);
}

fn field_selector(text: &str) {
    let Ok(selector) = text.parse::<FieldSelector>() else {
        return;
    };
    let shown = selector.to_string();
    let again = shown.parse::<FieldSelector>();
    assert_eq!(again.as_ref(), Ok(&selector), "{text:?} shown as {shown:?}");
    selector.matches("web", "default", &[("status.phase", "Running".to_string())]);
}

fn quantity(text: &str) {
    let Ok(amount) = text.parse::<Quantity>() else {
        return;
    };
    let shown = amount.to_string();
    let again = shown.parse::<Quantity>().expect("what is shown is read");
    assert_eq!(again, amount, "{text:?} shown as {shown:?}");
    assert_eq!(again.to_string(), shown, "of {text:?}");
    let _ = (amount.value_ceil(), amount.milli_ceil());
    let _ = (amount + again, amount - again);
}

fn reference(text: &str) {
    let Ok(reference) = Reference::parse(text) else {
        return;
    };
    let shown = reference.to_string();
    let again = Reference::parse(&shown).expect("what is shown is read");
    assert_eq!(again, reference, "{text:?} shown as {shown:?}");
}

/// Texts in each language.
pub fn seeds() -> Vec<Vec<u8>> {
    const SEEDS: &[(u8, &str)] = &[
        (
            0,
            r#"{range .spec.containers[*]}{.name}{"\t"}{.image}{"\n"}{end}"#,
        ),
        (0, r"{.metadata.labels.app}{$..name}{['metadata','spec']}"),
        (
            0,
            r#"{.spec.containers[?(@.name=="a")].env[-1:]}{.spec.containers[0:2:1]}"#,
        ),
        (
            0,
            r"{.spec.containers[?(@.ports[0].containerPort>=80)].name}{.a\.b}",
        ),
        (1, "metadata.name"),
        (1, "{.spec.volumes[*].name}"),
        (2, "app=web,tier!=x,env in (a, b),!gone,there,n>3"),
        (3, r"metadata.name=web,status.phase!=Failed,a==b\,c"),
        (4, "1.5Gi"),
        (4, "-12e3"),
        (4, "100m"),
        (
            5,
            "registry.example.com:5000/a/b:1.2@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ),
        (5, "nginx"),
    ];
    let bytes = |(language, text): &(u8, &str)| [&[*language], text.as_bytes()].concat();
    SEEDS.iter().map(bytes).collect()
}
