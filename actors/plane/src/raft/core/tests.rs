//! Replicas on modelled disks and a modelled network, driven by one seed: an example of a shell,
//! and a search for what must not happen.

mod world;

use super::Reconfigure;
use world::{Faults, World};

fn add(id: u64) -> Reconfigure {
    Reconfigure {
        add_learners: vec![id],
        ..Reconfigure::default()
    }
}

fn promote(ids: &[u64]) -> Reconfigure {
    Reconfigure {
        promote: ids.to_vec(),
        ..Reconfigure::default()
    }
}

#[test]
fn three_replicas_agree_on_what_is_acknowledged() {
    let mut world = World::of(3, 1, Faults::NONE);
    let leader = world.settle();
    let token = world.propose(leader, "a");
    world.run_until("the answer", |world| {
        world.acknowledged.contains_key(&token)
    });
    world.settle();
    world.check_agreement();
}

#[test]
fn what_only_says_that_more_is_committed_is_not_answered() {
    let mut world = World::of(3, 1, Faults::NONE);
    let leader = world.settle();
    let (before, writes) = (world.appends_answered, 100);
    for n in 0..writes {
        world.propose(leader, &format!("c{n}"));
        world.settle();
    }
    // Each of two followers promises to have each write; a heartbeat in between has some repeated.
    let answers = world.appends_answered - before;
    assert!((2 * writes..3 * writes).contains(&answers), "{answers}");
}

#[test]
fn notices_wait_for_entries_that_follow_closely() {
    let notices = |seed| {
        let mut world = World::of(3, seed, Faults::NONE);
        let leader = world.settle();
        let before = world.notices;
        for n in 0..100 {
            let token = world.propose(leader, &format!("c{n}"));
            world.run_until("the answer", |world| {
                world.acknowledged.contains_key(&token)
            });
        }
        let notices = world.notices - before;
        // The last is told although no entry follows.
        world.settle();
        world.check_agreement();
        notices
    };
    let (far, close) = (notices(1), notices(2));
    assert!(close * 2 < far, "{close} of {far}");
}

#[test]
fn all_servers_stay_awake_while_entries_follow_closely() {
    let most_awake = |seed| {
        let mut world = World::of(3, seed, Faults::NONE);
        let leader = world.settle();
        let mut most = 0;
        for n in 0..100 {
            let token = world.propose(leader, &format!("c{n}"));
            world.run_until("the answer", |world| {
                world.acknowledged.contains_key(&token)
            });
            most = most.max(world.awake());
        }
        world.run_until("sleep", |world| world.awake() == 0);
        most
    };
    assert_eq!((most_awake(1), most_awake(2)), (0, 3));
}

#[test]
fn a_seed_replays_step_by_step() {
    let run = |seed| {
        let mut world = World::of(3, seed, Faults::ALL);
        world.chaos(2_000);
        world.digest()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn nothing_acknowledged_is_lost_and_no_read_is_stale_under_faults() {
    let seeds = std::env::var("RAFT_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok());
    let first = std::env::var("RAFT_SEED").ok().and_then(|n| n.parse().ok());
    let (first, count) = match first {
        Some(seed) => (seed, 1),
        None => (1, seeds.unwrap_or(40)),
    };
    let (mut acknowledged, mut reads, mut snapshots) = (0, 0, 0);
    for seed in first..first + count {
        // From storms to a crash now and then.
        let faults = Faults::every(20 << (seed % 7));
        let mut world = World::of(1 + seed % 5, seed, faults);
        world.chaos(4_000);
        world.faults = Faults::NONE;
        world.start_all();
        world.write_at_last();
        world.settle();
        world.check_agreement();
        acknowledged += world.acknowledged.len() as u64;
        reads += world.reads_served;
        snapshots += world.snapshots_sent;
    }
    // Otherwise this proves nothing.
    println!("{acknowledged} writes, {reads} reads, {snapshots} snapshots");
    assert!(acknowledged > 3 * count && reads > 3 * count && snapshots > 0);
}

#[test]
fn a_server_that_joins_is_caught_up_by_a_snapshot_and_votes() {
    let mut world = World::of(1, 3, Faults::NONE);
    let leader = world.settle();
    for n in 0..50 {
        world.propose(leader, &format!("c{n}"));
    }
    world.settle();
    for id in [2, 3] {
        world.join(id);
        world.reconfigure(leader, &add(id)).expect("added");
    }
    world.settle();
    world
        .reconfigure(leader, &promote(&[2, 3]))
        .expect("promoted");
    world.settle();
    world.check_agreement();
    assert!(world.snapshots_sent >= 2);
    let members = world.replica(leader).members();
    assert_eq!(members.voters, [1, 2, 3]);
    assert!(members.learners.is_empty() && members.outgoing.is_empty());
    world.stop(leader);
    assert_ne!(world.settle(), leader);
}

#[test]
fn a_removed_server_learns_it_and_stays_quiet() {
    let mut world = World::of(3, 5, Faults::NONE);
    let leader = world.settle();
    let gone = if leader == 3 { 2 } else { 3 };
    let remove = Reconfigure {
        remove: vec![gone],
        ..Reconfigure::default()
    };
    // It misses the change, and only hears of it when it wants to lead.
    world.stop(gone);
    world.reconfigure(leader, &remove).expect("removed");
    world.start(gone);
    world.run_until("it knows", |world| world.replica(gone).leadership().removed);
    let term = world.replica(leader).leadership().term;
    world.settle();
    assert_eq!(
        world.replica(leader).leadership().term,
        term,
        "it disturbs nobody"
    );
}

#[test]
fn a_server_that_is_removed_while_it_is_busy_sleeps() {
    let mut world = World::of(3, 2, Faults::NONE);
    let leader = world.settle();
    let gone = if leader == 3 { 2 } else { 3 };
    let mut number = 0;
    while world.awake() < 3 {
        let token = world.propose(leader, &format!("c{number}"));
        number += 1;
        world.run_until("the answer", |world| {
            world.acknowledged.contains_key(&token)
        });
    }
    let remove = Reconfigure {
        remove: vec![gone],
        ..Reconfigure::default()
    };
    world.reconfigure(leader, &remove).expect("removed");
    world.run_until("sleep", |world| {
        world.replica(gone).leadership().removed && world.awake() == 0
    });
}

#[test]
fn a_follower_that_wrongly_lost_its_leader_disturbs_nobody() {
    let mut world = World::of(3, 11, Faults::NONE);
    let leader = world.settle();
    let before = world.replica(leader).leadership();
    let follower = if leader == 3 { 2 } else { 3 };
    for _ in 0..5 {
        world.peer_lost(follower, leader);
        assert_eq!(world.replica(follower).leadership().leader, None);
        world.run_until("it follows again", |world| {
            world.replica(follower).leadership().leader.is_some()
        });
    }
    assert_eq!(world.replica(leader).leadership(), before);
}

#[test]
fn changes_of_the_servers_that_cannot_be_are_refused_by_name() {
    let mut world = World::of(1, 9, Faults::NONE);
    let leader = world.settle();
    let refused = |world: &mut World, change| {
        let error = world.reconfigure(leader, &change).expect_err("refused");
        error.to_string()
    };
    let nothing = refused(&mut world, Reconfigure::default());
    assert!(nothing.contains("names no server"), "{nothing}");
    let learner = refused(&mut world, promote(&[2]));
    assert!(
        learner.contains("server 2") && learner.contains("no learner"),
        "{learner}"
    );
    let there = refused(&mut world, add(1));
    assert!(there.contains("there already"), "{there}");
    let itself = Reconfigure {
        remove: vec![1],
        ..Reconfigure::default()
    };
    let itself = refused(&mut world, itself);
    assert!(itself.contains("hand leadership over first"), "{itself}");
}
