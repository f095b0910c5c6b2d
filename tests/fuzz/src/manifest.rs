//! Manifests: the stream is read as `kabuki apply` reads it, each object is printed and read
//! again, and created as the server would create it.

use crate::world::{Outcome, World, create};
use kabuki_model::kind::{self, Kind};
use kabuki_model::manifest::{self, ManifestObject};
use kabuki_model::patch;
use serde_json::Value;

/// Reads `data` as a manifest.
pub fn run(data: &[u8]) {
    let mut world = World::furnished();
    for object in manifest::parse("fuzz", data).flatten() {
        must_survive_printing(&object);
        let Some(kind) = kind_of(&object) else {
            continue;
        };
        let namespace = match (kind.names.namespaced, object.namespace.as_str()) {
            (false, _) => "",
            (true, "") => "default",
            (true, namespace) => namespace,
        };
        let request = create(kind.resource.clone(), namespace, &object.value);
        let Outcome::Written(written) = world.ask(&request) else {
            continue;
        };
        for stored in written {
            let current = stored.to_value().expect("what is stored is JSON");
            patch::create_three_way_patch(None, &object.value, &current);
        }
    }
}

fn must_survive_printing(object: &ManifestObject) {
    let text = manifest::to_yaml(&object.value);
    let again = manifest::parse_all("printed", text.as_bytes())
        .unwrap_or_else(|error| panic!("{error}\n{text}\n{}", object.value));
    let again: Vec<&Value> = again.iter().map(|o| &o.value).collect();
    assert_eq!(again, [&object.value], "{text}");
}

fn kind_of(object: &ManifestObject) -> Option<&'static Kind> {
    kind::all()
        .iter()
        .find(|k| k.names.kind == object.kind && k.api_version() == object.api_version)
}

/// Handwritten manifests.
pub fn seeds() -> Vec<Vec<u8>> {
    const SEEDS: &[&str] = &[
        include_str!("../seeds/manifest/pod.yaml"),
        include_str!("../seeds/manifest/workloads.yaml"),
        include_str!("../seeds/manifest/small.yaml"),
        include_str!("../seeds/manifest/syntax.yaml"),
        include_str!("../seeds/manifest/stream.json"),
    ];
    SEEDS.iter().map(|s| s.as_bytes().to_vec()).collect()
}
