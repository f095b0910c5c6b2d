//! Each reason why a machine may not join, with its words.

use super::{Admission, Given, decide};
use crate::admitting::tests::world::{Machine, VERSIONS, World, machine};
use jiff::{SignedDuration, Timestamp};
use kabuki_model::bootstrap_token::{self, TokenRole};
use kabuki_protocol::join::{JoinRefusal, JoinRequest, Role, VersionRange};

fn asked(world: &World, machine: &Machine) -> Result<Admission, JoinRefusal> {
    let given = Given {
        request: &machine.request,
        key: machine.key.sha256(),
        now: Timestamp::now(),
        entropy: 7,
        versions: VERSIONS,
        program: "0.1.0",
    };
    decide(&world.view(), &given)
}

async fn refused(change: impl FnOnce(&mut JoinRequest)) -> String {
    let world = World::new().await;
    world.token(|_| {});
    let mut machine = machine("b", None);
    change(&mut machine.request);
    let refusal = asked(&world, &machine).expect_err("refused");
    refusal.to_string()
}

#[tokio::test]
async fn whoever_does_not_know_the_token_learns_nothing_else() {
    for name in ["a", "b", "not a name"] {
        let why = refused(|r| {
            r.name = name.to_string();
            r.token_secret = "t".repeat(26);
        });
        assert!(why.await.contains("not known"), "{name}");
    }
    let why = refused(|r| r.token_id = "ghijkl".to_string()).await;
    assert!(why.contains("not known"), "{why}");
    let world = World::new().await;
    world.token(|_| {});
    world.delete(bootstrap_token::key("abcdef"));
    let revoked = asked(&world, &machine("b", None));
    assert_eq!(revoked, Err(JoinRefusal::UnknownToken));
}

#[tokio::test]
async fn versions_and_clocks_that_cannot_work_are_named() {
    let versions = VersionRange {
        oldest: 4,
        newest: 5,
    };
    let why = refused(|r| r.versions = versions).await;
    assert!(why.contains("versions 4 to 5"), "{why}");
    assert!(why.contains("speaks 2 to 3"), "{why}");
    let why = refused(|r| r.now_s += 1000).await;
    assert!(why.contains("s ahead of the cluster's"), "{why}");
    let why = refused(|r| r.now_s = i64::MIN).await;
    assert!(why.contains("s behind the cluster's"), "{why}");
    // A neighbour's version, and a clock that is a little off.
    let world = World::new().await;
    world.token(|_| {});
    let mut near = machine("b", None);
    near.request.now_s += 200;
    near.request.versions = VersionRange {
        oldest: 3,
        newest: 4,
    };
    assert!(asked(&world, &near).is_ok());
}

#[tokio::test]
async fn a_token_is_good_until_its_end_and_for_its_role() {
    let world = World::new().await;
    let end = Timestamp::now() - SignedDuration::from_secs(1);
    world.token(|t| t.expires = Some(end));
    let why = asked(&world, &machine("b", None)).expect_err("expired");
    let at = end.to_string();
    assert_eq!(why, JoinRefusal::Expired { at });
    let world = World::new().await;
    world.token(|t| t.role = TokenRole::Worker);
    let why = asked(&world, &machine("b", Some(Role::Server))).expect_err("refused");
    assert!(why.to_string().contains("for a worker, not for a server"));
    let admitted = asked(&world, &machine("b", None)).expect("as a worker");
    assert_eq!(admitted.facts.role, Role::Worker);
}

#[tokio::test]
async fn a_request_that_cannot_be_is_refused_with_what_is_wrong() {
    let label = |key: &str| [(key.to_string(), "x".to_string())].into();
    type Change = Box<dyn FnOnce(&mut JoinRequest)>;
    let cases: Vec<(Change, &str)> = vec![
        (Box::new(|r| r.name = "Bad_Name".into()), "Bad_Name"),
        (Box::new(|r| r.name = "a".repeat(64)), "64 characters"),
        (Box::new(|r| r.address = "host".into()), "HOST:PORT"),
        (Box::new(|r| r.address = ":1".into()), "HOST:PORT"),
        (Box::new(|r| r.address = "h:0".into()), "HOST:PORT"),
        (Box::new(move |r| r.labels = label("a b")), "a b"),
        (
            Box::new(move |r| r.labels = label("node-role.kubernetes.io/king")),
            "may not give itself",
        ),
        (
            Box::new(|r| r.taints_json = vec!["{".to_string()]),
            "the taint",
        ),
        (Box::new(|r| r.name = "a".into()), "a node named \"a\""),
    ];
    for (change, expected) in cases {
        let why = refused(change).await;
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

#[tokio::test]
async fn the_number_of_a_server_is_fresh_and_never_zero() {
    let world = World::new().await;
    let taken = world.member.server_id.expect("a server");
    let members = [kabuki_cluster::facts::MemberNode {
        name: "a".to_string(),
        key: String::new(),
        role: Role::Server,
        server_id: Some(taken),
        address: String::new(),
        program: String::new(),
        leaving: false,
    }];
    let drawn = |entropy| super::fresh_id(entropy, &members);
    assert_eq!(drawn(u128::from(taken)), taken.wrapping_add(1).max(1));
    assert_eq!(drawn(0), if taken == 1 { 2 } else { 1 });
}
