//! Several servers: elections, replication, restarts and cuts.

use crate::network::Cluster;
use kabuki_plane::raft::{RaftError, Reconfigure};
use kabuki_plane::raft_group::RaftGroupArgs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn others(cluster: &Cluster, one: u64) -> Vec<u64> {
    cluster.ids().into_iter().filter(|id| *id != one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_replicate_what_the_leader_acknowledges() {
    let cluster = Cluster::of(3).await;
    let revision = cluster.put("web", "{\"a\":1}").await;
    cluster.agree(&[11, 12, 13], revision).await;
    for id in [11, 12, 13] {
        let server = cluster.server(id);
        assert_eq!(server.read("web").as_deref(), Some("{\"a\":1}"));
        let members = server.group.raft.members().await.expect("answered");
        assert_eq!(members.voters, [11, 12, 13]);
    }
    let leader = cluster.leader().await;
    let refused = cluster.server(others(&cluster, leader)[0]).put("web", "{}");
    let expected = RaftError::NotLeader {
        leader: Some(leader),
    };
    assert_eq!(refused.await, Err(expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_leaders_and_followers_lose_nothing_and_never_hang() {
    // Snapshots all the time, and messages lost all the time.
    let configure = |args: &mut RaftGroupArgs| args.raft.snapshot_commands = 7;
    let mut cluster = Cluster::configured(3, configure).await;
    cluster.network.lose_one_in(50);
    let mut names = Vec::new();
    let mut revision = 0;
    for round in 0..20 {
        let leader = cluster.leader().await;
        let victim = match round % 3 {
            0 | 1 => leader,
            _ => others(&cluster, leader)[0],
        };
        match round % 2 {
            0 => cluster.kill(victim).await,
            _ => cluster.stop(victim).await,
        }
        for n in 0..10 {
            names.push(format!("c-{}-{n}", round % 2));
            cluster.put(&names[names.len() - 1], "{}").await;
        }
        cluster.start(victim).await;
        names.push(format!("after-{round}"));
        revision = cluster.put(&names[names.len() - 1], "{}").await;
    }
    cluster.network.lose_one_in(0);
    cluster.agree(&[11, 12, 13], revision).await;
    for id in [11, 12, 13] {
        let missing = names.iter().find(|n| cluster.server(id).read(n).is_none());
        assert_eq!(missing, None, "at {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_servers_come_back_after_all_were_killed() {
    let mut cluster = Cluster::of(3).await;
    for round in 0..5 {
        let revision = cluster.put(&format!("c{round}"), "{}").await;
        for id in [11, 12, 13] {
            cluster.kill(id).await;
        }
        for id in [13, 11, 12] {
            cluster.start(id).await;
        }
        cluster.leader().await;
        cluster.agree(&[11, 12, 13], revision).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_lost_its_quorum_refuses_at_once_and_comes_back() {
    let cluster = Cluster::of(3).await;
    cluster.put("web", "{}").await;
    let leader = cluster.leader().await;
    let majority = others(&cluster, leader);
    cluster.network.cut(&[leader], &majority);
    let old = &cluster.server(leader).group.raft;
    let mut leadership = old.leadership();
    leadership
        .wait_for(|l| l.stranded)
        .await
        .expect("it notices");
    let refused = cluster.server(leader).put("web", "{}").await;
    assert_eq!(refused, Err(RaftError::NoQuorum));
    assert_eq!(old.read_barrier().await, Err(RaftError::NoQuorum));
    let next = cluster.leader_among(&majority).await;
    let written = cluster.server(next).put("web", "{\"new\":1}").await;
    let revision = written.expect("a majority goes on");
    cluster.network.heal();
    cluster.agree(&[11, 12, 13], revision).await;
    leadership
        .wait_for(|l| !l.stranded)
        .await
        .expect("a leader");
    old.read_barrier().await.expect("a majority again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_of_followers_refuses_and_the_majority_goes_on() {
    let cluster = Cluster::of(5).await;
    let leader = cluster.leader().await;
    let minority = others(&cluster, leader)[..2].to_vec();
    let majority: Vec<u64> = others(&cluster, minority[0])
        .into_iter()
        .filter(|id| *id != minority[1])
        .collect();
    cluster.network.cut(&minority, &majority);
    for id in &minority {
        let server = cluster.server(*id);
        let mut leadership = server.group.raft.leadership();
        leadership
            .wait_for(|l| l.stranded)
            .await
            .expect("it notices");
        assert_eq!(server.put("web", "{}").await, Err(RaftError::NoQuorum));
        let read = server.group.raft.read_barrier().await;
        assert_eq!(read, Err(RaftError::NoQuorum));
    }
    let written = cluster.server(leader).put("web", "{}").await;
    let revision = written.expect("a majority goes on");
    cluster.network.heal();
    cluster.agree(&[11, 12, 13, 14, 15], revision).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hears_nobody_is_replaced() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    // Its own messages still arrive everywhere.
    for id in others(&cluster, leader) {
        cluster.network.cut_one_way(id, leader);
    }
    let next = cluster.leader_among(&others(&cluster, leader)).await;
    let revision = cluster
        .server(next)
        .put("web", "{}")
        .await
        .expect("written");
    cluster.network.heal();
    cluster.agree(&[11, 12, 13], revision).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lost_its_connection_finds_a_leader_again() {
    let cluster = Cluster::of(3).await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let raft = &cluster.server(others(&cluster, leader)[0]).group.raft;
        let mut leadership = raft.leadership();
        leadership.borrow_and_update();
        raft.peer_lost(leader).expect("told");
        leadership.changed().await.expect("it forgets the leader");
        let found = leadership.wait_for(|l| l.leader.is_some()).await;
        found.expect("it follows again");
        cluster.put("web", "{}").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_barrier_never_ends_before_what_was_acknowledged_is_visible() {
    let cluster = Arc::new(Cluster::of(3).await);
    let stop = Arc::new(AtomicBool::new(false));
    let newest = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut tasks = Vec::new();
    for id in cluster.ids() {
        let (cluster, stop, newest) = (cluster.clone(), stop.clone(), newest.clone());
        tasks.push(tokio::spawn(async move {
            let raft = &cluster.server(id).group.raft;
            let mut served = 0;
            while !stop.load(Ordering::Relaxed) {
                let least = newest.load(Ordering::SeqCst);
                match raft.read_barrier().await {
                    Ok(()) => {
                        let seen = kabuki_model::view::View::revision(&raft.snapshot());
                        assert!(seen >= least, "{id} shows {seen}, {least} was acknowledged");
                        served += 1;
                    }
                    Err(RaftError::NoQuorum | RaftError::ReadTimeout { .. }) => {
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            served
        }));
    }
    for round in 0..4 {
        let leader = cluster.leader().await;
        for n in 0..20 {
            let revision = cluster.put(&format!("c-{round}-{n}"), "{}").await;
            newest.fetch_max(revision, Ordering::SeqCst);
        }
        // The old leader goes on answering whoever asks it.
        let majority = others(&cluster, leader);
        cluster.network.cut(&[leader], &majority);
        let next = cluster.leader_among(&majority).await;
        for n in 0..20 {
            let name = format!("d-{round}-{n}");
            let written = cluster.server(next).put(&name, "{}").await;
            newest.fetch_max(written.expect("written"), Ordering::SeqCst);
        }
        cluster.network.heal();
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        assert!(task.await.expect("no panic") > 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_without_losing_or_refusing_a_write() {
    let cluster = Arc::new(Cluster::of(3).await);
    let first = cluster.leader().await;
    let raft = &cluster.server(first).group.raft;
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                for m in 0..30 {
                    cluster.put(&format!("c-{n}-{m}"), "{}").await;
                }
            })
        })
        .collect();
    let next = raft.transfer_leadership(None).await.expect("handed over");
    assert_ne!(next, first);
    for writer in writers {
        writer.await.expect("no panic");
    }
    let leader = cluster.leader().await;
    let back = &cluster.server(leader).group.raft;
    assert_eq!(back.transfer_leadership(Some(first)).await, Ok(first));
    let nobody = Cluster::of(1).await;
    let alone = nobody.server(11).group.raft.transfer_leadership(None).await;
    assert!(matches!(alone, Err(RaftError::NoSuccessor { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_of_an_earlier_term_is_refused_by_the_next_leader() {
    let mut cluster = Cluster::of(3).await;
    cluster.put("web", "{}").await;
    let first = cluster.leader().await;
    let term = cluster.server(first).group.raft.status().leadership.term;
    cluster.kill(first).await;
    let next = cluster.leader().await;
    let command = kabuki_model::command::Command {
        term,
        ..crate::support::put("web", "{\"late\":1}")
    };
    let late = cluster.server(next).group.raft.propose(command).await;
    let current = cluster.server(next).group.raft.status().leadership.term;
    let stale = kabuki_model::command::Applied::StaleTerm { current };
    assert_eq!(late, Ok(stale));
    assert_eq!(cluster.server(next).read("web").as_deref(), Some("{}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_is_caught_up_by_the_log_or_by_a_snapshot() {
    for snapshot_commands in [50_000, 10] {
        let configure = match snapshot_commands {
            10 => |args: &mut RaftGroupArgs| args.raft.snapshot_commands = 10,
            _ => |_: &mut RaftGroupArgs| {},
        };
        let mut cluster = Cluster::configured(3, configure).await;
        let leader = cluster.leader().await;
        let away = others(&cluster, leader)[0];
        cluster.put("before", "{}").await;
        cluster.kill(away).await;
        let sent = cluster.network.snapshots.load(Ordering::Relaxed);
        let mut revision = 0;
        for n in 0..60 {
            // A snapshot is worth it only when there is more log than state.
            revision = cluster.put(&format!("c{}", n % 5), "{}").await;
        }
        cluster.start(away).await;
        cluster.agree(&[away], revision).await;
        let by_snapshot = cluster.network.snapshots.load(Ordering::Relaxed) > sent;
        assert_eq!(by_snapshot, snapshot_commands == 10);
        let one = cluster.server(away).group.raft.snapshot();
        let other = cluster.server(leader).group.raft.snapshot();
        assert!(one.iter().eq(other.iter()));
        // What it was given is what it has after a restart.
        cluster.kill(away).await;
        cluster.start(away).await;
        cluster.agree(&[away], revision).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_from_one_to_three_to_five_and_replaces_a_voter() {
    let mut cluster = Cluster::of(1).await;
    cluster.put("web", "{}").await;
    for (ids, voters) in [
        (vec![12, 13], vec![11, 12, 13]),
        (vec![14, 15], vec![11, 12, 13, 14, 15]),
    ] {
        for id in &ids {
            cluster.start(*id).await;
        }
        cluster.grow(&ids).await;
        let leader = cluster.leader().await;
        let members = cluster.server(leader).group.raft.members().await;
        let members = members.expect("answered");
        assert_eq!((members.voters, members.learners), (voters, vec![]));
    }
    let leader = cluster.leader().await;
    let gone = others(&cluster, leader)[0];
    cluster.start(16).await;
    let add = Reconfigure {
        add_learners: vec![16],
        ..Reconfigure::default()
    };
    cluster.reconfigure(add).await;
    let replace = Reconfigure {
        promote: vec![16],
        remove: vec![gone],
        ..Reconfigure::default()
    };
    cluster.reconfigure(replace).await;
    let raft = &cluster.server(gone).group.raft;
    let mut leadership = raft.leadership();
    leadership
        .wait_for(|l| l.removed)
        .await
        .expect("it learns it");
    assert!(raft.status().removed);
    assert_eq!(
        cluster.server(gone).put("web", "{}").await,
        Err(RaftError::Removed)
    );
    assert_eq!(raft.read_barrier().await, Err(RaftError::Removed));
    let revision = cluster.put("after", "{}").await;
    cluster.agree(&[16], revision).await;
    let leader = cluster.leader().await;
    let members = cluster.server(leader).group.raft.members().await;
    let members = members.expect("answered");
    assert!(!members.voters.contains(&gone) && members.voters.contains(&16));
    assert!(members.progress.iter().all(|p| p.silent_ticks < 20));
    // A restart tells it nothing else.
    cluster.stop(gone).await;
    cluster.start(gone).await;
    let mut leadership = cluster.server(gone).group.raft.leadership();
    leadership
        .wait_for(|l| l.removed)
        .await
        .expect("it learns it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_with_an_emptied_disk_is_replaced_by_a_new_one() {
    let mut cluster = Cluster::of(3).await;
    let revision = cluster.put("web", "{}").await;
    let leader = cluster.leader().await;
    let lost = others(&cluster, leader)[0];
    cluster.kill(lost).await;
    cluster.empty(lost);
    cluster.start(14).await;
    let add = Reconfigure {
        add_learners: vec![14],
        ..Reconfigure::default()
    };
    cluster.reconfigure(add).await;
    let replace = Reconfigure {
        promote: vec![14],
        remove: vec![lost],
        ..Reconfigure::default()
    };
    cluster.reconfigure(replace).await;
    cluster.agree(&[14], revision).await;
    // The new one counts: without it and with one of the old ones there is no majority.
    let other = others(&cluster, 14);
    cluster.kill(other[0]).await;
    cluster.put("after", "{}").await;
}
