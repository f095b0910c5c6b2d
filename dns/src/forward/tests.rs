//! What is kept, and for how long. The clock stands still and is moved by hand.

use super::*;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{RData, Record};
use proptest::prelude::*;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::net::UdpSocket;

const LIMITS: CacheLimits = CacheLimits {
    entries: 64,
    bytes: 1 << 16,
};

struct World {
    forwarder: Arc<Forwarder>,
    asked: Arc<AtomicUsize>,
    dead: Arc<AtomicBool>,
}

/// A server whose names have addresses for 10 seconds, but for those that begin with `no`, which
/// are missing for 20.
async fn world() -> World {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let (asked, dead) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (count, silent) = (asked.clone(), dead.clone());
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            if !silent.load(Ordering::SeqCst) {
                let message = Message::from_vec(&buffer[..length]).unwrap();
                socket.send_to(&answer(&message), from).await.unwrap();
            }
        }
    });
    World {
        forwarder: forwarder(vec![address]),
        asked,
        dead,
    }
}

fn forwarder(servers: Vec<SocketAddr>) -> Arc<Forwarder> {
    Forwarder::new(ForwardConfig {
        upstreams: Upstreams::Fixed(servers),
        stubs: Vec::new(),
        own: Vec::new(),
        cache: LIMITS,
    })
}

fn answer(asked: &Message) -> Vec<u8> {
    let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    let query = asked.queries[0].clone();
    let name = query.name().clone();
    answer.add_query(query);
    if name.to_lowercase().to_string().starts_with("no") {
        answer.metadata.response_code = ResponseCode::NXDomain;
        let soa = SOA::new(ProtoName::root(), ProtoName::root(), 1, 1, 1, 1, 20);
        answer.add_authority(Record::from_rdata(ProtoName::root(), 100, RData::SOA(soa)));
    } else {
        answer.add_answer(Record::from_rdata(name, 10, RData::A(A::new(192, 0, 2, 1))));
    }
    answer.to_vec().unwrap()
}

impl World {
    async fn ask(&self, name: &str) -> (Option<u16>, Origin) {
        let name = Name::from_text(name).unwrap();
        let resolved = self.forwarder.resolve(&name, 1, false, false).await;
        (resolved.stored.map(|s| s.rcode), resolved.origin)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn answers_and_their_lack_are_kept_for_their_time() {
    let world = world().await;
    assert_eq!(world.ask("a.example").await, (Some(0), Origin::Asked));
    assert_eq!(world.ask("no.example").await, (Some(3), Origin::Asked));
    pass(9).await;
    assert_eq!(world.ask("A.Example").await, (Some(0), Origin::Kept));
    assert_eq!(world.ask("no.example").await, (Some(3), Origin::Kept));
    pass(2).await;
    assert_eq!(world.ask("a.example").await, (Some(0), Origin::Asked));
    assert_eq!(world.ask("no.example").await, (Some(3), Origin::Kept));
    pass(10).await;
    assert_eq!(world.ask("no.example").await, (Some(3), Origin::Asked));
    assert_eq!(world.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_has_run_out_is_better_than_none() {
    let world = world().await;
    world.ask("a.example").await;
    world.dead.store(true, Ordering::SeqCst);
    pass(11).await;
    assert_eq!(world.ask("a.example").await, (Some(0), Origin::Stale));
    // There was none for this one.
    assert_eq!(world.ask("b.example").await, (None, Origin::Asked));
    pass(24 * 3600).await;
    assert_eq!(world.ask("a.example").await, (None, Origin::Asked));
    world.dead.store(false, Ordering::SeqCst);
    // Nobody is asked again at once.
    assert_eq!(world.ask("a.example").await, (None, Origin::Kept));
    pass(6).await;
    assert_eq!(world.ask("a.example").await, (Some(0), Origin::Asked));
}

#[tokio::test(start_paused = true)]
async fn without_servers_it_fails_at_once() {
    let none = forwarder(Vec::new());
    let name = Name::from_text("a.example").unwrap();
    assert!(none.resolve(&name, 1, false, false).await.stored.is_none());
}

fn stored(name: &str, addresses: u8, ttl: u32) -> Stored {
    let proto = ProtoName::from_ascii(name).unwrap();
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(proto.clone(), RecordType::A));
    for n in 0..addresses {
        let data = RData::A(A::new(192, 0, 2, n));
        message.add_answer(Record::from_rdata(proto.clone(), ttl, data));
    }
    Stored::of(&message, &proto, ([192, 0, 2, 9], 53).into(), 1000).unwrap()
}

#[test]
fn a_kept_answer_says_how_long_it_still_is_good() {
    let stored = stored("www.example.", 2, 100);
    let mut packet = question_packet("WWW.example", true);
    let mut query = crate::wire::Query::default();
    query.read(&packet).unwrap();
    let mut out = vec![0; 2000];
    let length = stored.render(&query, &packet, 31_000, &mut out, 1232);
    let message = Message::from_vec(&out[..length]).unwrap();
    assert!(message.answers.iter().all(|r| r.ttl == 70) && message.answers.len() == 2);
    assert!(message.edns.is_some() && message.queries[0].name().to_string() == "WWW.example.");
    // What has run out says little.
    stored.render(&query, &packet, 500_000, &mut out, 1232);
    assert_eq!(
        Message::from_vec(&out[..length]).unwrap().answers[0].ttl,
        30
    );
    // What does not fit is cut.
    packet = question_packet("www.example", false);
    query.read(&packet).unwrap();
    let many = self::stored("www.example.", 100, 100);
    let length = many.render(&query, &packet, 1000, &mut out, 512);
    let message = Message::from_vec(&out[..length]).unwrap();
    assert!(message.metadata.truncation && message.answers.is_empty());
}

fn question_packet(name: &str, edns: bool) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(
        ProtoName::from_ascii(name).unwrap(),
        RecordType::A,
    ));
    if edns {
        message.set_edns(hickory_proto::op::Edns::new());
    }
    message.to_vec().unwrap()
}

proptest! {
    #[test]
    fn the_cache_keeps_to_its_bounds(
        questions in proptest::collection::vec((0..200_u32, 1..40_u8), 0..300),
    ) {
        let limits = CacheLimits { entries: 20, bytes: 8000 };
        let mut cache = Cache::new(limits);
        for (n, addresses) in questions {
            let name = format!("n{n}.example.");
            let key = cache::key(&Name::from_text(&name).unwrap(), 1, false, false);
            cache.get(&key, 2000);
            cache.put(key.clone(), Arc::new(stored(&name, addresses, 60)));
            let (entries, bytes) = cache.usage();
            prop_assert!(entries <= limits.entries && bytes <= limits.bytes);
        }
    }
}
