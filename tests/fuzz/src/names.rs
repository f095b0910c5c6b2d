//! Packets to the name server, and answers of other name servers.
//!
//! The first byte chooses. What holds of a question: its answer keeps to the limit, is a message,
//! answers this question, and never answers an answer. Of an answer that is kept: what is made of
//! it is a message again, within the limit, however late.

use kabuki_dns::forward::Stored;
use kabuki_dns::hickory_proto::op::{Message, MessageType, OpCode, Query as Question};
use kabuki_dns::hickory_proto::rr::{Name as ProtoName, RecordType};
use kabuki_dns::respond::{Reply, aliases, refuse, respond};
use kabuki_dns::wire::{Name, Query, UDP_MIN, Unanswerable};
use kabuki_dns::zone::{Zone, ZoneSettings};
use kabuki_model::k8s_openapi::api::core::v1::Service;
use kabuki_model::k8s_openapi::api::discovery::v1::EndpointSlice;
use kabuki_model::service::{Directory, ServiceRecord, SliceRecord};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::OnceLock;

/// Takes a packet.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0..128, packet)) => question(packet),
        Some((_, packet)) => answer(packet),
        None => {}
    }
}

/// Packets of both kinds.
pub fn seeds() -> Vec<Vec<u8>> {
    let names = [
        ("web.x.svc.cluster.local.", RecordType::A),
        ("_http._tcp.many.x.svc.cluster.local.", RecordType::SRV),
        ("10-244-0-1.many.x.svc.cluster.local.", RecordType::AAAA),
        ("1.0.244.10.in-addr.arpa.", RecordType::PTR),
        ("ext.x.svc.cluster.local.", RecordType::A),
        ("www.example.", RecordType::ANY),
    ];
    let mut seeds = Vec::new();
    for (name, kind) in names {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Question::query(
            ProtoName::from_ascii(name).expect("a name"),
            kind,
        ));
        seeds.push([vec![0], message.to_vec().expect("a packet")].concat());
        message.set_edns(kabuki_dns::hickory_proto::op::Edns::new());
        let packet = message.to_vec().expect("a packet");
        seeds.push([vec![0], packet.clone()].concat());
        let mut out = vec![0; 65_535];
        let mut query = Query::default();
        query.read(&packet).expect("is plain");
        if let Reply::Done(length) = respond(zone(), &query, &packet, 0, &mut out, 65_535) {
            seeds.push([&[128], &out[..length]].concat());
        }
    }
    seeds
}

fn zone() -> &'static Zone {
    static ZONE: OnceLock<Zone> = OnceLock::new();
    ZONE.get_or_init(|| {
        let mut directory = Directory::default();
        let service = |value: Value| ServiceRecord::from(&read::<Service>(value));
        let meta = |name: &str| json!({"name": name, "namespace": "x"});
        let ports = json!([{"name": "http", "port": 80}]);
        for (name, spec) in [
            ("web", json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": ports})),
            ("many", json!({"clusterIP": "None", "ports": ports})),
            ("ext", json!({"type": "ExternalName", "externalName": "www.example"})),
        ] {
            directory.put_service(service(json!({"metadata": meta(name), "spec": spec})));
        }
        let endpoints: Vec<Value> = (0..100)
            .map(|n| match n % 2 {
                0 => json!({"addresses": [format!("10.244.0.{n}")]}),
                _ => json!({"addresses": [format!("10.244.0.{n}")], "hostname": format!("h{}", n % 8)}),
            })
            .collect();
        let slice = json!({
            "metadata": {"name": "s", "namespace": "x", "labels": {"kubernetes.io/service-name": "many"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints,
        });
        let slice = SliceRecord::of(&read::<EndpointSlice>(slice));
        directory.put_slice(slice.expect("belongs to a service"));
        let settings = ZoneSettings {
            domain: "cluster.local".to_string(),
            pod_blocks: vec![(Ipv4Addr::new(10, 244, 0, 0).into(), 16)],
            service_blocks: vec![(Ipv4Addr::new(10, 96, 0, 0).into(), 12)],
            servers: vec![Ipv4Addr::new(10, 96, 0, 10).into()],
        };
        let mut zone = Zone::new(&settings).expect("a zone");
        for (key, entry) in directory.iter() {
            zone.update(key, Some(entry), 0);
        }
        zone
    })
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn question(packet: &[u8]) {
    let mut query = Query::default();
    let mut out = [0xaa; 1232];
    match query.read(packet) {
        Err(Unanswerable::Silence | Unanswerable::Odd) => {}
        Err(Unanswerable::Code(code)) => {
            let length = refuse(&query, packet, code, &mut out);
            assert!(length <= UDP_MIN);
            check(&out[..length], packet);
        }
        Ok(()) => {
            let limit = query.udp_limit();
            for turn in [0, 1, u32::MAX] {
                match respond(zone(), &query, packet, turn, &mut out, limit) {
                    Reply::Done(length) => {
                        assert!(length <= limit, "{length} bytes for {limit}");
                        check(&out[..length], packet);
                    }
                    Reply::Alias => {
                        assert!(
                            !aliases(zone(), &query.name).is_empty(),
                            "an alias leads nowhere"
                        );
                    }
                    Reply::Elsewhere => {}
                }
            }
        }
    }
}

/// An answer is a message that answers the packet.
fn check(answer: &[u8], packet: &[u8]) {
    assert_eq!(answer[..2], packet[..2], "another identifier");
    assert!(
        packet[2] & 128 == 0 && answer[2] & 128 != 0,
        "an answer was answered"
    );
    let message = Message::from_vec(answer).expect("the answer is no message");
    if let Some(asked) = message.queries.first() {
        let name = Name::from_text(&asked.name().to_ascii());
        let shown = name.map(|n| n.wire().len());
        // A label may hold a dot, which a text cannot show.
        if let Ok(length) = shown {
            assert!(length <= 255);
        }
    }
}

fn answer(packet: &[u8]) {
    let Ok(message) = Message::from_vec(packet) else {
        return;
    };
    let Some(asked) = message.queries.first() else {
        return;
    };
    let name = asked.name().to_lowercase();
    let mut question = Message::new(9, MessageType::Query, OpCode::Query);
    question.add_query(asked.clone());
    let Some(stored) = Stored::of(&message, &name, (Ipv4Addr::LOCALHOST, 53).into(), 1000) else {
        return;
    };
    let Ok(packet) = question.to_vec() else {
        return;
    };
    let mut query = Query::default();
    if query.read(&packet).is_err() {
        return;
    }
    let mut out = vec![0; 65_535 + 11];
    for (now, limit) in [(1000, 512), (5000, 1232), (u64::MAX / 2, 65_535)] {
        let length = stored.render(&query, &packet, now, &mut out, limit);
        assert!(length <= limit, "{length} bytes for {limit}");
        let again = Message::from_vec(&out[..length]).expect("what was kept is no message");
        assert_eq!(again.metadata.id, 9);
    }
}
