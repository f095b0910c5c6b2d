use super::*;
use serde_json::json;

fn round(value: &Value) -> Value {
    decode(&encode(value).expect("encodes")).expect("decodes")
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web", "namespace": "default", "labels": {"app": "web"}, "generation": 3,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "managedFields": [{
                "manager": "me", "operation": "Apply", "apiVersion": "v1",
                "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:nodeName": {}}},
            }],
        },
        "spec": {
            "terminationGracePeriodSeconds": 0, "nodeName": "a",
            "volumes": [
                {"name": "v", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "t", "projected": {"sources": [{"configMap": {"name": "c"}}]}},
            ],
            "containers": [{
                "name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 3},
                "readinessProbe": {"tcpSocket": {"port": 80}},
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "stdin": true,
            }],
        },
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}},
        }]},
    })
}

#[test]
fn a_pod_survives() {
    assert_eq!(round(&pod()), pod());
}

#[test]
fn other_forms_survive() {
    for value in [
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "m", "reason": "Conflict", "code": 409,
               "details": {"name": "a", "causes": [{"reason": "r", "message": "m", "field": "f"}]}}),
        json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"a": "aGk=", "empty": ""}}),
        json!({"kind": "Event", "apiVersion": "v1", "metadata": {"name": "s"}, "eventTime": "2026-01-02T03:04:05.123456Z",
               "involvedObject": {"kind": "Pod"}, "reportingComponent": "", "reportingInstance": ""}),
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "5", "remainingItemCount": 3},
               "items": [{"metadata": {"name": "a"}}]}),
        json!({"kind": "DeleteOptions", "apiVersion": "apps/v1", "gracePeriodSeconds": 0, "propagationPolicy": "Foreground"}),
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "a"}}),
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "a"}, "spec": {"replicas": 2}, "status": {"replicas": 1}}),
        json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {"token": "t"},
               "status": {"user": {"username": "u", "extra": {"k": ["a", "b"]}}}}),
    ] {
        let mut expected = value.clone();
        // Empty structures that need not be there are left out.
        for field in ["metadata"] {
            if expected[field] == json!({}) {
                expected.as_object_mut().expect("an object").remove(field);
            }
        }
        assert_eq!(round(&value), expected);
    }
}

#[test]
fn zero_values_are_left_out_as_in_json() {
    // A Go client writes every field that is no pointer.
    let mut metadata = Vec::new();
    wire::push_bytes(&mut metadata, 1, b"web");
    wire::push_bytes(&mut metadata, 2, b"");
    wire::push_number(&mut metadata, 7, 0);
    wire::push_bytes(&mut metadata, 8, b"");
    let mut spec = Vec::new();
    wire::push_number(&mut spec, 4, 0);
    wire::push_number(&mut spec, 11, 0);
    let mut raw = Vec::new();
    wire::push_bytes(&mut raw, 1, &metadata);
    wire::push_bytes(&mut raw, 2, &spec);
    wire::push_bytes(&mut raw, 3, b"");
    let value = decode(&envelope("v1", "Pod", &raw)).expect("decodes");
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"terminationGracePeriodSeconds": 0},
    });
    assert_eq!(value, expected);
}

#[test]
fn known_bytes_are_read_and_written() {
    // `kubectl`'s own encoding of a ConfigMap named "a" with data {"k": "v"}.
    let bytes = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0d\x0a\x03\x0a\x01a\x12\x06\x0a\x01k\x12\x01v\x1a\x00\x22\x00";
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    assert_eq!(encode(&value).expect("encodes"), bytes);
    assert_eq!(decode(bytes).expect("decodes"), value);
}

/// The pod above without its managers, as `Pod.Marshal` of the Go module `k8s.io/api` (v0.37.0) writes
/// it: with every field that is no pointer, also when it is zero.
const PODS_BYTES: &str = "0a2e0a0377656212001a0764656661756c7422002a0032003803420808a5ebdcca0610005a0a0a03\
     617070120377656212cf010a100a0176120b12090a0012050a033147690a110a0174120cd201090a\
     071a050a030a01631288010a01631201692a00320d0a001000185022035443502a003a110a014112\
     001a0a22080a030a017312016b420f0a0d0a0363707512060a043530306d52210a1512130a012f12\
     0a080110001a04687474701a002200100018002003280030005a180a0c1a0a0a06080010501a0012\
     00100018002000280030006a007200800101880100900100a201001a002000320042004a00520161\
     5800600068008201008a01009a0100c201001a3a0a0752756e6e696e671a0022002a003200421e0a\
     0163120c120a0a0808a5ebdcca0610001a00200028003201693a0042004a005a007200880100";

#[test]
fn what_kubernetes_itself_writes_is_read() {
    let digits = PODS_BYTES.as_bytes().chunks(2);
    let bytes: Vec<u8> = digits
        .map(|d| u8::from_str_radix(std::str::from_utf8(d).expect("text"), 16).expect("hex"))
        .collect();
    let mut expected = pod();
    let metadata = expected["metadata"].as_object_mut().expect("an object");
    metadata.remove("managedFields");
    let read = decode(&envelope("v1", "Pod", &bytes)).expect("decodes");
    assert_eq!(read, expected);
}

#[test]
fn every_kind_of_an_empty_object_survives() {
    for kind in kabuki_model::kind::all() {
        let value = json!({"apiVersion": kind.api_version(), "kind": kind.names.kind, "metadata": {"name": "x"}});
        assert_eq!(round(&value), value);
    }
}

#[test]
fn broken_messages_are_refused() {
    let whole = encode(&pod()).expect("encodes");
    for end in 0..whole.len() {
        // Cut between two fields of the outermost message, less may still be a message.
        let _ = decode(&whole[..end]);
    }
    for at in 4..whole.len() {
        let mut other = whole.clone();
        other[at] ^= 0x55;
        let _ = decode(&other);
    }
    assert!(decode(b"k8s").is_err());
    assert!(decode(b"{}").is_err());
    assert!(decode(&envelope("v9", "Nothing", b"")).is_err());
    let long = [b"k8s\0".as_slice(), &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    assert!(decode(&long).is_err());
    // Deeper than any object: `JSONSchemaProps` and the like are not in the table, so nesting
    // comes from messages that hold themselves only through lists.
    assert!(
        encode(&json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": 1}})).is_err()
    );
}

#[test]
fn events_are_framed_by_their_length() {
    let object = encode(&pod()).expect("encodes");
    let framed = event("ADDED", &object);
    let (length, event) = framed.split_at(4);
    assert_eq!(
        length,
        u32::try_from(event.len()).expect("short").to_be_bytes()
    );
    let mut fields = wire::Fields(event);
    let name = fields.next().expect("a field");
    assert_eq!(name, Some((1, wire::Piece::Bytes(b"ADDED"))));
    let Ok(Some((2, wire::Piece::Bytes(extension)))) = fields.next() else {
        panic!("no object");
    };
    let raw = wire::Fields(extension).next().expect("a field");
    assert_eq!(raw, Some((1, wire::Piece::Bytes(&object))));
}
