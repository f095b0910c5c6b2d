//! Discovery, in network namespaces of its own.

use crate::join::{Plane, server_of, token, wish};
use crate::world::{World, run};
use kabuki_cluster::discovery::{Responder, seek};
use kabuki_cluster::join::{JoinError, join_by_discovery};
use kabuki_protocol::join::{JoinRefusal, Role};
use nix::sched::{CloneFlags, unshare};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Runs a test inside a network namespace that ends with it.
fn isolated<F: Future<Output = ()>>(
    setup: &'static [&'static [&'static str]],
    test: impl FnOnce() -> F + Send + 'static,
) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
        for arguments in setup {
            let done = Command::new("ip")
                .args(*arguments)
                .status()
                .expect("ip runs");
            assert!(done.success(), "{arguments:?}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let limited = async { tokio::time::timeout(Duration::from_secs(30), test()).await };
        runtime.block_on(limited).expect("it ends in time");
    });
    thread.join().expect("the test passes");
}

const LOOPBACK: &[&[&str]] = &[&["link", "set", "lo", "up"]];
const TWO_NETWORKS: &[&[&str]] = &[
    &["link", "set", "lo", "up"],
    &[
        "link", "add", "east", "type", "veth", "peer", "name", "east-far",
    ],
    &[
        "link", "add", "west", "type", "veth", "peer", "name", "west-far",
    ],
    &["address", "add", "192.0.2.1/25", "dev", "east"],
    &["address", "add", "192.0.2.129/25", "dev", "west"],
    &["link", "set", "east", "up"],
    &["link", "set", "west", "up"],
    &["link", "set", "east-far", "up"],
    &["link", "set", "west-far", "up"],
];

#[test]
fn a_member_of_the_sought_cluster_answers_and_others_do_not() {
    isolated(LOOPBACK, || async {
        let (ours, other) = (World::new(), World::new());
        let member = Responder::new(ours.node("a", Role::Server), "192.0.2.9:6443");
        let stranger = Responder::new(other.node("b", Role::Server), "192.0.2.10:6443");
        let (_tree, _root) = run(member.child()).await;
        let (_other_tree, _other_root) = run(stranger.child()).await;
        let mut seeker = seek(ours.authority.sha256());
        let mut found = std::collections::BTreeSet::new();
        while found.len() < 2 {
            found.insert(seeker.next().await);
        }
        // The address that it told, and the one that it answered from.
        let expected = ["127.0.0.1:6443", "192.0.2.9:6443"];
        assert_eq!(
            found.iter().map(String::as_str).collect::<Vec<_>>(),
            expected
        );
    });
}

#[test]
fn every_interface_is_asked() {
    isolated(TWO_NETWORKS, || async {
        let world = World::new();
        let member = Responder::new(world.node("a", Role::Server), "192.0.2.9:6443");
        let (_tree, _root) = run(member.child()).await;
        let mut seeker = seek(world.authority.sha256());
        let mut found = std::collections::BTreeSet::new();
        while found.len() < 4 {
            found.insert(seeker.next().await);
        }
        for seen in ["192.0.2.1:6443", "192.0.2.129:6443", "127.0.0.1:6443"] {
            assert!(found.contains(seen), "{found:?}");
        }
    });
}

#[test]
fn a_search_goes_on_without_a_network_and_ends_when_there_is_one() {
    isolated(&[], || async {
        let world = World::new();
        let member = Responder::new(world.node("a", Role::Server), "192.0.2.9:6443");
        let mut seeker = seek(world.authority.sha256());
        let early = tokio::time::timeout(Duration::from_millis(50), seeker.next()).await;
        assert!(early.is_err());
        let done = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(done.expect("ip runs").success());
        let (_tree, _root) = run(member.child()).await;
        let found = seeker.next().await;
        assert!(found.ends_with(":6443"), "{found}");
    });
}

#[test]
fn the_token_alone_is_enough_to_join() {
    isolated(LOOPBACK, || async {
        let world = World::new();
        let plane = Arc::new(Plane::of(&world));
        let server = server_of(&world, &plane).await;
        // What it tells is not reached from here; where it answered from is.
        let told = format!("192.0.2.9:{}", server.address.port());
        let member = Responder::new(world.node("a", Role::Server), &told);
        let (_tree, _root) = run(member.child()).await;
        let joined = join_by_discovery(&token(&world), &wish(world.dir())).await;
        assert_eq!(joined.expect("it joins").member.name, "n");
    });
}

#[test]
fn a_refusal_ends_the_search() {
    isolated(LOOPBACK, || async {
        let world = World::new();
        let mut plane = Plane::of(&world);
        plane.refusal = Some(JoinRefusal::UnknownToken);
        let server = server_of(&world, &Arc::new(plane)).await;
        let told = server.address.to_string();
        let member = Responder::new(world.node("a", Role::Server), &told);
        let (_tree, _root) = run(member.child()).await;
        let error = join_by_discovery(&token(&world), &wish(world.dir())).await;
        let error = error.expect_err("the token is not known");
        assert!(
            matches!(error, JoinError::Refused(JoinRefusal::UnknownToken)),
            "{error}"
        );
    });
}
