//! Decoded with a reader that knows nothing of the writer, and the numbers of gnostic's messages.

use super::*;
use crate::openapi::document::document;
use serde_json::json;

/// A message as pairs of numbers and bytes.
struct Read(Vec<(u64, Vec<u8>)>);

impl Read {
    fn new(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let length = match tag & 7 {
                0 => {
                    fields.push((tag >> 3, varint(&mut bytes).to_string().into_bytes()));
                    continue;
                }
                1 => 8,
                2 => usize::try_from(varint(&mut bytes)).expect("a length"),
                other => panic!("no such form: {other}"),
            };
            let (value, rest) = bytes.split_at(length);
            fields.push((tag >> 3, value.to_vec()));
            bytes = rest;
        }
        Self(fields)
    }

    fn all(&self, number: u64) -> impl Iterator<Item = Read> {
        let own = self.0.iter().filter(move |(n, _)| *n == number);
        own.map(|(_, bytes)| Read::new(bytes))
    }

    fn at(&self, number: u64) -> Read {
        self.all(number)
            .next()
            .unwrap_or_else(|| panic!("no field {number}"))
    }

    fn text(&self, number: u64) -> String {
        let own = self.0.iter().find(|(n, _)| *n == number);
        let (_, bytes) = own.unwrap_or_else(|| panic!("no field {number}"));
        String::from_utf8(bytes.clone()).expect("text")
    }

    /// The value of a name in repeated pairs.
    fn named(&self, number: u64, name: &str) -> Read {
        let mut pairs = self.all(number);
        let pair = pairs.find(|pair| pair.text(1) == name);
        pair.unwrap_or_else(|| panic!("no {name}")).at(2)
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first().expect("a whole number");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
        shift += 7;
    }
}

#[test]
fn version_2_is_what_client_go_reads() {
    let read = Read::new(&encode(Dialect::V2, &document(Dialect::V2, "", "")));
    assert_eq!(read.text(1), "2.0");
    assert_eq!(read.at(2).text(1), "Kubernetes");
    let pod = read.at(9).named(1, "io.k8s.api.core.v1.Pod");
    assert_eq!(pod.at(22).text(1), "object");
    let kinds = pod.named(31, "x-kubernetes-group-version-kind").text(2);
    let kinds: Value = serde_json::from_str(&kinds).expect("JSON");
    assert_eq!(
        kinds,
        json!([{"group": "", "kind": "Pod", "version": "v1"}])
    );
    let spec = pod.at(25).named(1, "spec");
    assert_eq!(spec.text(1), "#/definitions/io.k8s.api.core.v1.PodSpec");
    let of = read.at(9).named(1, "io.k8s.api.core.v1.PodSpec");
    let containers = of.at(25).named(1, "containers");
    let item = containers.at(23).at(1).text(1);
    assert_eq!(item, "#/definitions/io.k8s.api.core.v1.Container");
    let key = containers.named(31, "x-kubernetes-patch-merge-key").text(2);
    assert_eq!(key, "\"name\"");
    let labels = of.at(25).named(1, "nodeSelector");
    assert_eq!(labels.at(21).at(1).at(22).text(1), "string");
    let path = read
        .at(8)
        .named(2, "/api/v1/namespaces/{namespace}/pods/{name}");
    let patch = path.at(8);
    assert!(patch.text(5).starts_with("patch"));
    // Query, path and body parameters are in forms of their own.
    let names: Vec<String> = patch
        .all(8)
        .map(|item| item.at(1))
        .map(|one| match one.all(1).next() {
            Some(body) => body.text(3),
            None => one.at(2).at(3).text(2),
        })
        .collect();
    assert!(names.contains(&"body".to_string()) && names.contains(&"query".to_string()));
    assert_eq!(
        path.all(9).next().expect("one").at(1).at(2).at(4).text(2),
        "path"
    );
    let given = patch.at(9).named(1, "200").at(1).at(2).at(1).text(1);
    assert_eq!(given, "#/definitions/io.k8s.api.core.v1.Pod");
}

#[test]
fn version_3_has_references_beside_schemas() {
    let read = Read::new(&encode(Dialect::V3, &document(Dialect::V3, "apps", "v1")));
    assert_eq!(read.text(1), "3.0.0");
    let schemas = read.at(5).at(1);
    let spec = schemas.named(1, "io.k8s.api.apps.v1.DeploymentSpec").at(1);
    assert_eq!(spec.text(25), "object");
    let template = spec.at(31).named(1, "template").at(1);
    let of = template.all(26).next().expect("allOf").at(2).text(1);
    assert_eq!(
        of,
        "#/components/schemas/io.k8s.api.core.v1.PodTemplateSpec"
    );
    let either = schemas
        .named(1, "io.k8s.apimachinery.pkg.util.intstr.IntOrString")
        .at(1);
    let forms: Vec<String> = either.all(27).map(|one| one.at(1).text(25)).collect();
    assert_eq!(forms, ["string", "integer"]);
    let path = read.at(4).named(1, "/apis/apps/v1/deployments");
    let answer = path.at(4).at(8).named(2, "200").at(1).at(3);
    let schema = answer.named(1, "application/json").at(1).at(2).text(1);
    assert_eq!(
        schema,
        "#/components/schemas/io.k8s.api.apps.v1.DeploymentList"
    );
}
