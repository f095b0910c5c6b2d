//! Questions and their answers as texts in `tests/golden`: the fixture below, asked what each file
//! asks. With `GOLDEN_WRITE=1` the files are written anew.

use super::*;
use crate::wire::{CLASS_IN, UDP_MAX, UDP_MIN};
use crate::zone::ZoneSettings;
use hickory_proto::op::Message;
use hickory_proto::rr::{Record, RecordType};
use kabuki_model::k8s_openapi::api::core::v1::Service;
use kabuki_model::k8s_openapi::api::discovery::v1::EndpointSlice;
use kabuki_model::service::{Directory, ServiceRecord, SliceRecord};
use std::fmt::Write;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// The cluster of the files, from the API's own objects.
fn zone() -> Zone {
    let mut directory = Directory::default();
    let text = std::fs::read_to_string(golden("cluster.json")).unwrap();
    for line in text.lines().filter(|l| l.starts_with('{')) {
        if line.contains("\"addressType\"") {
            let slice: EndpointSlice = serde_json::from_str(line).unwrap();
            directory.put_slice(SliceRecord::of(&slice).unwrap());
        } else {
            let service: Service = serde_json::from_str(line).unwrap();
            directory.put_service(ServiceRecord::from(&service));
        }
    }
    let block = |text: &str, length| (text.parse().unwrap(), length);
    let mut zone = Zone::new(&ZoneSettings {
        domain: "cluster.local".to_string(),
        pod_blocks: vec![block("10.244.0.0", 16), block("fd00:10:244::", 48)],
        service_blocks: vec![block("10.3.0.0", 16)],
        servers: vec!["10.3.0.10".parse().unwrap()],
    })
    .unwrap();
    for (key, entry) in directory.iter() {
        zone.update(key, Some(entry), 0);
    }
    zone
}

/// A question's packet.
fn packet(name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
    let mut packet = b"\x12\x34\x01\0\0\x01\0\0\0\0\0".to_vec();
    packet.push(u8::from(edns.is_some()));
    for label in name.split('.').filter(|l| !l.is_empty()) {
        packet.push(label.len() as u8);
        packet.extend(label.bytes());
    }
    packet.push(0);
    packet.extend(kind.to_be_bytes());
    packet.extend(CLASS_IN.to_be_bytes());
    if let Some(size) = edns {
        packet.extend([0, 0, 41]);
        packet.extend(size.to_be_bytes());
        packet.extend([0; 6]);
    }
    packet
}

fn ask(zone: &Zone, name: &str, kind: u16, edns: Option<u16>, turn: u32) -> (Reply, Vec<u8>) {
    let packet = packet(name, kind, edns);
    let mut query = Query::default();
    query.read(&packet).unwrap();
    let mut out = vec![0; 65_535];
    let limit = query.udp_limit();
    let reply = respond(zone, &query, &packet, turn, &mut out, limit);
    if let Reply::Done(length) = reply {
        out.truncate(length);
    }
    (reply, out)
}

fn shown(zone: &Zone, question: &str) -> String {
    let mut words = question.split_whitespace();
    let (name, kind) = (words.next().unwrap(), words.next().unwrap());
    let kind: RecordType = kind.parse().unwrap();
    let (reply, answer) = ask(zone, name, kind.into(), Some(1232), 0);
    let mut text = format!("? {question}\n");
    match reply {
        Reply::Elsewhere => text.push_str("not here\n"),
        Reply::Alias => {
            let name = Name::from_text(name).unwrap();
            for name in aliases(zone, &name) {
                let _ = writeln!(text, "alias, not here: {name}");
            }
        }
        Reply::Done(_) => {
            let message = Message::from_vec(&answer).expect("hickory reads the answer");
            let meta = &message.metadata;
            assert!(meta.authoritative && meta.recursion_available && !meta.truncation);
            assert_eq!((meta.id, message.queries.len()), (0x1234, 1));
            let _ = writeln!(text, "{}", meta.response_code);
            let sections = [
                ("", &message.answers),
                ("authority: ", &message.authorities),
                ("more: ", &message.additionals),
            ];
            for (section, records) in sections {
                for record in records {
                    let _ = writeln!(text, "{section}{}", line(record));
                }
            }
        }
    }
    text
}

fn line(record: &Record) -> String {
    let line = record.to_string();
    // The serial says only how often something changed.
    match record.record_type() {
        RecordType::SOA => line.split(' ').take(6).collect::<Vec<_>>().join(" "),
        _ => line,
    }
}

/// Asks every question of a file, and compares.
fn check(file: &str) {
    let zone = zone();
    let path = golden(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut now = String::new();
    for block in text.split("\n\n").map(str::trim_end) {
        for comment in block.lines().filter(|l| l.starts_with('#')) {
            now.push_str(&format!("{comment}\n"));
        }
        if let Some(question) = block.lines().find_map(|l| l.strip_prefix("? ")) {
            now.push_str(&shown(&zone, question));
        }
        now.push('\n');
    }
    let now = format!("{}\n", now.trim_end());
    if std::env::var_os("GOLDEN_WRITE").is_some() {
        std::fs::write(&path, &now).unwrap();
        return;
    }
    for (expected, found) in text.split("\n\n").zip(now.split("\n\n")) {
        assert_eq!(expected.trim_end(), found.trim_end(), "in {file}");
    }
    assert_eq!(text, now);
}

#[test]
fn every_example_of_the_specification_is_answered() {
    check("specification.txt");
}

#[test]
fn names_that_lack_records_and_names_that_are_not_there_are_told_apart() {
    check("existence.txt");
}

#[test]
fn what_the_specification_leaves_open_is_decided() {
    check("decisions.txt");
}

#[test]
fn the_letters_case_of_a_question_is_kept() {
    let (_, answer) = ask(
        &zone(),
        "KuberNETES.default.svc.Cluster.LOCAL",
        kind::A,
        None,
        0,
    );
    let kept = b"\x0aKuberNETES\x07default\x03svc\x07Cluster\x05LOCAL\0";
    assert_eq!(&answer[12..12 + kept.len()], kept);
    let message = Message::from_vec(&answer).unwrap();
    assert_eq!(message.answers.len(), 1);
    assert!(message.answers[0].name.eq_case(message.queries[0].name()));
}

#[test]
fn addresses_take_turns_in_coming_first() {
    let zone = zone();
    let firsts: std::collections::BTreeSet<String> = (0..9)
        .map(|turn| {
            let (_, answer) = ask(
                &zone,
                "headless.default.svc.cluster.local",
                kind::A,
                None,
                turn,
            );
            let message = Message::from_vec(&answer).unwrap();
            assert_eq!(message.answers.len(), 4);
            message.answers[0].data.to_string()
        })
        .collect();
    assert_eq!(firsts.len(), 4);
}

/// A headless service with many endpoints.
fn crowd(count: u8) -> Zone {
    let mut directory = Directory::default();
    let service = r#"{"metadata":{"name":"many","namespace":"x"},"spec":{"clusterIP":"None",
        "ports":[{"name":"p","port":1}]}}"#;
    let service: Service = serde_json::from_str(service).unwrap();
    directory.put_service(ServiceRecord::from(&service));
    let endpoints: Vec<String> = (0..count)
        .map(|n| format!(r#"{{"addresses":["10.244.0.{n}"]}}"#))
        .collect();
    let slice = format!(
        r#"{{"metadata":{{"name":"s","namespace":"x","labels":{{"kubernetes.io/service-name":"many"}}}},
        "addressType":"IPv4","ports":[{{"name":"p","port":9}}],"endpoints":[{}]}}"#,
        endpoints.join(",")
    );
    let slice: EndpointSlice = serde_json::from_str(&slice).unwrap();
    directory.put_slice(SliceRecord::of(&slice).unwrap());
    let mut zone = Zone::new(&ZoneSettings {
        domain: "cluster.local".to_string(),
        pod_blocks: Vec::new(),
        service_blocks: Vec::new(),
        servers: Vec::new(),
    })
    .unwrap();
    for (key, entry) in directory.iter() {
        zone.update(key, Some(entry), 0);
    }
    zone
}

#[test]
fn what_does_not_fit_is_cut_and_said_to_be() {
    let zone = crowd(200);
    for (edns, most) in [
        (None, UDP_MIN),
        (Some(100), UDP_MIN),
        (Some(800), 800),
        (Some(9000), UDP_MAX),
    ] {
        for (name, kind) in [
            ("many.x.svc.cluster.local", kind::A),
            ("_p._tcp.many.x.svc.cluster.local", kind::SRV),
        ] {
            let (_, answer) = ask(&zone, name, kind, edns, 3);
            assert!(
                answer.len() <= most && answer.len() + 80 > most,
                "{}",
                answer.len()
            );
            let message = Message::from_vec(&answer).expect("is whole");
            assert!(message.metadata.truncation && !message.answers.is_empty());
            assert_eq!(message.edns.is_some(), edns.is_some());
        }
    }
}

#[test]
fn over_tcp_it_fits() {
    let zone = crowd(200);
    let packet = packet("_p._tcp.many.x.svc.cluster.local", kind::SRV, Some(1232));
    let mut query = Query::default();
    query.read(&packet).unwrap();
    let mut out = vec![0; 65_535];
    let Reply::Done(length) = respond(&zone, &query, &packet, 0, &mut out, 65_535) else {
        panic!("the zone has it");
    };
    let message = Message::from_vec(&out[..length]).expect("is whole");
    assert!(!message.metadata.truncation);
    assert_eq!(message.answers.len(), 200);
    // Places beyond those that can be pointed at have no additional records.
    assert!(!message.additionals.is_empty());
}

#[test]
fn aliases_in_a_circle_end() {
    let zone = zone();
    let (reply, answer) = ask(
        &zone,
        "circle-a.default.svc.cluster.local",
        kind::A,
        None,
        0,
    );
    assert!(matches!(reply, Reply::Done(_)));
    let message = Message::from_vec(&answer).unwrap();
    assert_eq!(u16::from(message.metadata.response_code), rcode::SERV_FAIL);
}

#[test]
fn refusals_keep_the_question_where_there_is_one() {
    let mut query = Query::default();
    let mut out = [0; UDP_MIN];
    let packet = packet("a.b", kind::A, Some(512));
    query.read(&packet).unwrap();
    let length = refuse(&query, &packet, rcode::BAD_VERS, &mut out);
    let message = Message::from_vec(&out[..length]).unwrap();
    assert_eq!(u16::from(message.metadata.response_code), rcode::BAD_VERS);
    assert_eq!(message.queries.len(), 1);
    assert!(query.read(&packet[..14]).is_err());
    let length = refuse(&query, &packet[..14], rcode::FORM_ERR, &mut out);
    let message = Message::from_vec(&out[..length]).unwrap();
    assert_eq!((length, message.queries.len()), (12, 0));
}
