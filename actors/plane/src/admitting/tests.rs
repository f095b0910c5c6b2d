//! Joining, renewing, founding and changing the CA, on a state behind the real admission.

pub(crate) mod world;

use super::charter;
use super::decide::WANTED_SERVERS;
use super::found::{FoundError, Founding, bootstrap_cluster, found, refound};
use super::node::{CONTROL_PLANE, HOST_ADDRESSES};
use super::rotation::{Phase, RotationError, next_step, progress};
use kabuki_cluster::{Credentials, Member, facts};
use kabuki_model::bootstrap_token;
use kabuki_model::status::Reason;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};
use kabuki_protocol::join::{JoinRefusal, Role};
use std::sync::Arc;
use world::{Floor, World, founding_args, machine};

fn node_key(name: &str) -> ObjectKey {
    ObjectKey::new(Resource::NODES, "", name)
}

#[tokio::test]
async fn a_founder_writes_the_cluster_into_the_state_and_lets_go_of_the_ca() {
    let world = World::new().await;
    let pki = world.dir.path().join("pki");
    assert!(!pki.join("ca.key").exists());
    assert!(pki.join("ca.crt").exists());
    assert_eq!(Founding::load(world.dir.path()).expect("reads"), None);
    let view = world.view();
    let read = charter::Charter::read(&view).expect("a charter");
    assert_eq!(read.cluster_id, world.member.cluster_id);
    let (authority, _) = charter::authority(&view).expect("a CA");
    assert_eq!(world.credentials.bundle_pem(), authority.certificate_pem());
    let seal = charter::seal_key(&view).expect("a key");
    assert_eq!(world.credentials.seal_key(), seal);
    let node = world.node("a");
    let annotations = &node["metadata"]["annotations"];
    assert_eq!(annotations[facts::KEY], world.credentials.key_sha256());
    let id = world.member.server_id.expect("a server").to_string();
    assert_eq!(annotations[facts::SERVER_ID], id);
    assert_eq!(annotations[HOST_ADDRESSES], "192.0.2.1");
    assert_eq!(node["spec"]["podCIDR"], "10.244.0.0/24");
    assert_eq!(node["metadata"]["labels"][CONTROL_PLANE], "");
    assert_eq!(node["metadata"]["finalizers"][0], facts::VOTE_FINALIZER);
    let names: Vec<_> = world.credentials.bundle_sha256();
    assert_eq!(names, [authority.sha256()]);
}

#[tokio::test]
async fn founding_may_be_interrupted_anywhere_and_changes_nothing_when_done_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let args = founding_args(&dir);
    let (member, credentials) = found(&args).expect("founds");
    // The machine died before its membership was written.
    std::fs::remove_file(Member::path(dir.path())).expect("removes");
    let (again, other) = found(&args).expect("founds");
    assert_eq!(credentials.key_sha256(), other.key_sha256());
    assert_eq!(credentials.bundle_pem(), other.bundle_pem());
    assert_ne!(member.cluster_id, again.cluster_id);
    let owed = std::fs::read(dir.path().join("founding.json")).expect("reads");
    let floor = Floor(World::empty().await);
    for _ in 0..2 {
        let done = bootstrap_cluster(&floor, dir.path(), &other).await;
        done.expect("writes");
        // As if the last step had been lost.
        std::fs::write(dir.path().join("founding.json"), &owed).expect("writes");
    }
    let view = super::Ground::newest(&floor).await.expect("reads");
    let (authority, _) = charter::authority(&*view).expect("a CA");
    assert_eq!(authority.certificate_pem(), other.bundle_pem());
    let refused = found(&args).expect_err("it is a node");
    assert!(matches!(refused, FoundError::Member { .. }), "{refused}");
    let loaded = Credentials::load(dir.path()).expect("loads");
    assert_eq!(loaded.seal_key(), charter::seal_key(&*view).expect("a key"));
}

#[tokio::test]
async fn ranges_that_cannot_be_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let args = founding_args(&dir);
    let cases = [
        (
            "10.244.0.1/16",
            "10.96.0.0/16",
            24,
            "begins at 10.244.0.0/16",
        ),
        ("10.244.0.0/16", "10.244.8.0/24", 24, "shares addresses"),
        ("10.244.0.0/16", "10.96.0.0/16", 30, "use /16 to /29"),
        ("10.244.0.0/16", "fd00::/112", 24, "range of services"),
    ];
    for (pods, services, prefix, expected) in cases {
        let mut args = args.clone();
        args.cluster_cidr = pods.to_string();
        args.service_cidr = services.to_string();
        args.node_prefix = prefix;
        let error = found(&args).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(!dir.path().join("pki").exists());
}

#[tokio::test]
async fn a_worker_joins_with_what_it_needs_and_nothing_more() {
    let world = World::new().await;
    world.token(|_| {});
    let mut machine = machine("w", Some(Role::Worker));
    machine.request.labels = [("disk".to_string(), "ssd".to_string())].into();
    machine.request.taints_json = vec![r#"{"key":"gpu","effect":"NoSchedule"}"#.to_string()];
    let joined = world.join(&machine.request).await.expect("joins");
    assert_eq!((joined.role, joined.server_id), (Role::Worker, None));
    assert_eq!(joined.pod_cidr, "10.244.1.0/24");
    assert_eq!(joined.servers, world.member.servers);
    assert_ne!(joined.seal_key, world.credentials.seal_key());
    let node = world.node("w");
    let annotations = &node["metadata"]["annotations"];
    assert_eq!(annotations[facts::KEY], machine.key.sha256());
    assert_eq!(annotations[facts::ADDRESS], "192.0.2.7:6443");
    assert_eq!(node["metadata"]["labels"]["disk"], "ssd");
    assert!(node["metadata"]["finalizers"].is_null());
    let taints = node["spec"]["taints"].as_array().expect("taints");
    assert_eq!(taints.len(), 2, "{taints:?}");
    let dir = tempfile::tempdir().expect("a folder");
    let (certificate, bundle) = (&joined.certificate_pem, &joined.bundle_pem);
    let created = Credentials::create(
        dir.path(),
        machine.key,
        certificate,
        bundle,
        &joined.seal_key,
    );
    let credentials = created.expect("they fit");
    assert_eq!(
        (credentials.name(), credentials.role()),
        ("w", Role::Worker)
    );
}

#[tokio::test]
async fn a_machine_that_asks_again_gets_the_same_and_another_of_its_name_nothing() {
    let world = World::new().await;
    world.token(|_| {});
    let mut first = machine("b", None);
    let joined = world.join(&first.request).await.expect("joins");
    assert_eq!(joined.role, Role::Server);
    assert_eq!(joined.servers.len(), 2);
    assert_eq!(joined.seal_key, world.credentials.seal_key());
    let before = world.view().revision();
    let again = world.join(&first.request).await.expect("joins");
    assert_eq!(again.server_id, joined.server_id);
    assert_eq!(again.pod_cidr, joined.pod_cidr);
    assert_eq!(world.view().revision(), before, "nothing is written");
    // Its address changed meanwhile.
    first.request.address = "192.0.2.8:6443".to_string();
    let moved = world.join(&first.request).await.expect("joins");
    assert_eq!(moved.server_id, joined.server_id);
    let told = &world.node("b")["metadata"]["annotations"][facts::ADDRESS];
    assert_eq!(told, "192.0.2.8:6443");
    let taken = world.join(&machine("b", None).request).await;
    let name = "b".to_string();
    assert_eq!(taken, Err(JoinRefusal::NameTaken { name }));
    first.request.role = Some(Role::Worker);
    let refused = world.join(&first.request).await.expect_err("refused");
    assert!(refused.to_string().contains("is a member as a server"));
}

#[tokio::test]
async fn a_token_for_one_node_admits_one_of_two_that_come_at_once() {
    let world = World::new().await;
    world.token(|t| t.one_time = true);
    let (one, other) = (machine("b", None), machine("c", None));
    let alone = |admitting: &super::Admitting| super::Admitting {
        // As on two servers that both believe to lead: nothing but the state keeps them apart.
        turn: Arc::default(),
        ..admitting.clone()
    };
    let (first, second) = (alone(&world.admitting), alone(&world.admitting));
    let outcomes = tokio::join!(
        first.admit_here(&one.request, 1),
        second.admit_here(&other.request, 1)
    );
    let (joined, refused) = match outcomes {
        (Ok(_), Err(why)) => ("b", why),
        (Err(why), Ok(_)) => ("c", why),
        both => panic!("{both:?}"),
    };
    let by = joined.to_string();
    assert_eq!(refused, JoinRefusal::Used { by });
    // The one that was let in may ask again, the other may not.
    let (in_, out) = match joined {
        "b" => (one, other),
        _ => (other, one),
    };
    assert!(world.join(&in_.request).await.is_ok());
    assert!(world.join(&out.request).await.is_err());
}

#[tokio::test]
async fn a_token_that_was_marked_before_a_crash_admits_the_one_that_it_was_marked_for() {
    let world = World::new().await;
    let (one, other) = (machine("b", None), machine("c", None));
    let key = one.key.sha256().to_string();
    world.token(|t| {
        t.one_time = true;
        t.used_by = Some(bootstrap_token::UsedBy {
            node: "b".to_string(),
            key,
        });
    });
    assert!(world.join(&other.request).await.is_err());
    assert!(world.join(&one.request).await.is_ok());
}

#[tokio::test]
async fn servers_are_made_until_there_are_enough_and_then_workers() {
    let world = World::new().await;
    world.token(|_| {});
    let mut blocks = Vec::new();
    for number in 1..=WANTED_SERVERS {
        let joined = world
            .join(&machine(&format!("n{number}"), None).request)
            .await;
        let joined = joined.expect("joins");
        let expected = match number < WANTED_SERVERS {
            true => Role::Server,
            false => Role::Worker,
        };
        assert_eq!(joined.role, expected, "{number}");
        blocks.push(joined.pod_cidr);
    }
    blocks.sort();
    blocks.dedup();
    assert_eq!(blocks.len(), WANTED_SERVERS);
}

#[tokio::test]
async fn a_full_range_is_said_and_a_removed_node_makes_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut args = founding_args(&dir);
    args.cluster_cidr = "10.244.0.0/23".to_string();
    let world = World::founded(args, dir).await;
    world.token(|_| {});
    let worker = |name| machine(name, Some(Role::Worker)).request;
    world.join(&worker("b")).await.expect("joins");
    let range = "10.244.0.0/23".to_string();
    let full = world.join(&worker("c")).await;
    assert_eq!(full, Err(JoinRefusal::NoPodCidr { range }));
    world.delete(node_key("b"));
    let joined = world.join(&worker("c")).await.expect("joins");
    assert_eq!(joined.pod_cidr, "10.244.1.0/24");
}

#[tokio::test]
async fn a_member_is_signed_for_until_it_is_removed() {
    let world = World::new().await;
    world.token(|_| {});
    let (worker, stranger) = (machine("w", Some(Role::Worker)), machine("w", None));
    world.join(&worker.request).await.expect("joins");
    let admitting = &world.admitting;
    let before = world.view().revision();
    let signed = admitting.sign_anew("w", &worker.request.csr_pem).await;
    assert!(signed.expect("signs").0.contains("BEGIN CERTIFICATE"));
    assert_eq!(world.view().revision(), before, "nothing is written");
    let refused = admitting.sign_anew("w", &stranger.request.csr_pem).await;
    let refused = refused.expect_err("another key");
    assert!(refused.message.contains("another key"), "{refused}");
    world.delete(node_key("w"));
    let refused = admitting.sign_anew("w", &worker.request.csr_pem).await;
    let refused = refused.expect_err("removed");
    assert_eq!(refused.reason, Reason::Forbidden);
    assert!(refused.message.contains("was removed"), "{refused}");
}

fn ca_and_nodes(world: &World) -> (Arc<Stored>, Vec<Arc<Stored>>) {
    let view = world.view();
    let nodes = view.scan(&Resource::NODES, None, None).cloned().collect();
    (view.get(&charter::ca_key()).expect("a CA").clone(), nodes)
}

#[tokio::test]
async fn the_ca_is_changed_only_as_fast_as_every_member_follows() {
    let world = World::new().await;
    world.token(|_| {});
    let worker = machine("w", Some(Role::Worker));
    world.join(&worker.request).await.expect("joins");
    let old = world.credentials.bundle_pem();
    let own_csr = world.credentials.csr_pem().expect("a request");
    for (phase, to) in [
        (Phase::Steady, Phase::Begun),
        (Phase::Begun, Phase::Signing),
        (Phase::Signing, Phase::Steady),
    ] {
        let (ca, nodes) = ca_and_nodes(&world);
        let now = progress(&ca, &nodes).expect("reads");
        assert_eq!((now.phase, now.members), (phase, 2));
        assert_eq!(now.waiting, Vec::<String>::new());
        let step = next_step(&ca, &nodes, false).expect("a step");
        assert_eq!(step.to, to);
        world.perform(&step.write);
        let (ca, nodes) = ca_and_nodes(&world);
        assert_eq!(progress(&ca, &nodes).expect("reads").waiting, ["a", "w"]);
        if to != Phase::Steady {
            let refused = next_step(&ca, &nodes, false).expect_err("too early");
            assert!(matches!(refused, RotationError::Waiting { .. }));
            next_step(&ca, &nodes, true).expect("without them");
        }
        let (certificate, bundle) = {
            let signed = world.admitting.sign_anew("a", &own_csr).await;
            signed.expect("signs")
        };
        world
            .credentials
            .install(&certificate, &bundle)
            .expect("fits");
        let csr = &worker.request.csr_pem;
        world.admitting.sign_anew("w", csr).await.expect("signs");
    }
    let new = world.credentials.bundle_pem();
    assert_ne!(old, new);
    assert!(!old.contains(&new) && !new.contains(&old));
    assert_eq!(world.credentials.bundle_sha256().len(), 1);
}

#[tokio::test]
async fn another_machine_begins_anew_from_a_state_and_forgets_the_other_servers() {
    let world = World::new().await;
    world.token(|_| {});
    world
        .join(&machine("b", Some(Role::Server)).request)
        .await
        .expect("joins");
    world
        .join(&machine("w", Some(Role::Worker)).request)
        .await
        .expect("joins");
    let dir = tempfile::tempdir().expect("a folder");
    let args = founding_args(&dir);
    let (member, credentials) = refound(&args, &world.view()).expect("founds");
    assert_eq!(member.cluster_id, world.member.cluster_id);
    assert_eq!(credentials.seal_key(), world.credentials.seal_key());
    assert_eq!(credentials.bundle_pem(), world.credentials.bundle_pem());
    let floor = Floor(world.state.clone());
    let done = bootstrap_cluster(&floor, dir.path(), &credentials).await;
    done.expect("writes");
    let view = world.view();
    assert!(view.get(&node_key("b")).is_none());
    assert!(view.get(&node_key("w")).is_some());
    let annotations = &world.node("a")["metadata"]["annotations"];
    assert_eq!(annotations[facts::KEY], credentials.key_sha256());
    let id = member.server_id.expect("a server").to_string();
    assert_eq!(annotations[facts::SERVER_ID], id);
}
