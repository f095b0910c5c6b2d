use super::*;

fn voter(id: u64) -> ServerState {
    ServerState {
        id,
        votes: true,
        known: true,
        wanted: true,
        silent: Duration::ZERO,
        behind: 0,
        leader: id == 1,
    }
}

fn learner(id: u64) -> ServerState {
    ServerState {
        votes: false,
        ..voter(id)
    }
}

fn silent(server: ServerState) -> ServerState {
    ServerState {
        silent: Duration::from_secs(60),
        ..server
    }
}

fn leaving(server: ServerState) -> ServerState {
    ServerState {
        wanted: false,
        ..server
    }
}

fn change(servers: &[ServerState]) -> Option<Reconfigure> {
    match next_step(servers)? {
        Step::Change(change) => Some(change),
        Step::HandOver { to } => panic!("hands over to {to}"),
    }
}

fn promote(ids: &[u64]) -> Option<Reconfigure> {
    Some(Reconfigure {
        promote: ids.to_vec(),
        ..Reconfigure::default()
    })
}

#[test]
fn a_new_server_learns_first() {
    let new = ServerState {
        known: false,
        ..learner(2)
    };
    let wanted = Reconfigure {
        add_learners: vec![2],
        ..Reconfigure::default()
    };
    assert_eq!(change(&[voter(1), new]), Some(wanted));
}

#[test]
fn two_servers_have_one_vote_the_third_makes_three_the_fifth_five() {
    assert_eq!(change(&[voter(1), learner(2)]), None);
    let three = [voter(1), learner(2), learner(3)];
    assert_eq!(change(&three), promote(&[2, 3]));
    let four = [voter(1), voter(2), voter(3), learner(4)];
    assert_eq!(change(&four), None);
    let five = [voter(1), voter(2), voter(3), learner(4), learner(5)];
    assert_eq!(change(&five), promote(&[4, 5]));
    let seven: Vec<_> = (1..=5).map(voter).chain((6..=7).map(learner)).collect();
    assert_eq!(change(&seven), None);
}

#[test]
fn who_is_behind_or_silent_gets_no_vote() {
    let behind = ServerState {
        behind: CAUGHT_UP_ENTRIES + 1,
        ..learner(3)
    };
    assert_eq!(change(&[voter(1), learner(2), behind]), None);
    assert_eq!(change(&[voter(1), learner(2), silent(learner(3))]), None);
}

#[test]
fn a_silent_voter_is_replaced_by_a_healthy_learner_only() {
    let alone = [voter(1), voter(2), silent(voter(3))];
    assert_eq!(change(&alone), None);
    let replaced = Reconfigure {
        promote: vec![4],
        demote: vec![3],
        ..Reconfigure::default()
    };
    let four = [voter(1), voter(2), silent(voter(3)), learner(4)];
    assert_eq!(change(&four), Some(replaced));
    let none = [voter(1), voter(2), silent(voter(3)), silent(learner(4))];
    assert_eq!(change(&none), None);
}

#[test]
fn a_voter_that_leaves_loses_its_vote_and_the_number_stays_odd() {
    let two_left = [voter(1), voter(2), leaving(voter(3))];
    let wanted = Reconfigure {
        demote: vec![2],
        remove: vec![3],
        ..Reconfigure::default()
    };
    assert_eq!(change(&two_left), Some(wanted));
    let with_learner = [voter(1), voter(2), leaving(voter(3)), learner(4)];
    let wanted = Reconfigure {
        promote: vec![4],
        remove: vec![3],
        ..Reconfigure::default()
    };
    assert_eq!(change(&with_learner), Some(wanted));
    let learner_leaves = [voter(1), leaving(learner(2))];
    let wanted = Reconfigure {
        remove: vec![2],
        ..Reconfigure::default()
    };
    assert_eq!(change(&learner_leaves), Some(wanted));
}

#[test]
fn a_leader_that_leaves_hands_over_first() {
    let three = [leaving(voter(1)), voter(2), voter(3)];
    assert_eq!(next_step(&three), Some(Step::HandOver { to: 2 }));
    // A lone voter first gives a vote to another.
    let two = [leaving(voter(1)), learner(2)];
    assert_eq!(change(&two), promote(&[2]));
    let two = [leaving(voter(1)), voter(2)];
    assert_eq!(next_step(&two), Some(Step::HandOver { to: 2 }));
    assert_eq!(next_step(&[leaving(voter(1))]), None, "the last one stays");
}

/// From any state, steps that succeed lead to a state with no further step and an odd number of
/// votes among those who are wanted.
#[test]
fn steps_end_with_an_odd_number_of_votes() {
    for case in 0_u64..20_000 {
        let mut bits = case.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut draw = |n: u64| {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (bits >> 33) % n
        };
        let count = 1 + draw(7);
        let mut servers: Vec<ServerState> = (1..=count)
            .map(|id| {
                let server = ServerState {
                    known: id == 1 || draw(4) > 0,
                    votes: id == 1,
                    wanted: id == 1 || draw(5) > 0,
                    silent: Duration::from_secs(draw(2) * 60 * u64::from(id != 1)),
                    ..voter(id)
                };
                ServerState {
                    votes: server.votes || (server.known && draw(2) == 0),
                    ..server
                }
            })
            .collect();
        for _ in 0..20 {
            match next_step(&servers) {
                None => break,
                Some(Step::HandOver { to }) => {
                    servers.iter_mut().for_each(|s| s.leader = s.id == to);
                }
                Some(Step::Change(change)) => perform(&mut servers, &change),
            }
        }
        assert_eq!(next_step(&servers), None, "case {case}: {servers:?}");
        let votes = servers.iter().filter(|s| s.votes).count();
        assert!(votes % 2 == 1 && votes <= 5, "case {case}: {servers:?}");
        assert!(servers.iter().all(|s| !s.votes || s.wanted), "case {case}");
    }
}

fn perform(servers: &mut Vec<ServerState>, change: &Reconfigure) {
    for server in servers.iter_mut() {
        server.known |= change.add_learners.contains(&server.id);
        server.votes |= change.promote.contains(&server.id);
        server.votes &= !change.demote.contains(&server.id);
        assert!(!(server.leader && change.remove.contains(&server.id)));
    }
    servers.retain(|s| !change.remove.contains(&s.id));
}

#[test]
fn a_leader_that_leaves_is_one_of_the_odd_number_while_nobody_can_take_over() {
    let servers = [leaving(voter(1)), silent(voter(2)), learner(3), learner(4)];
    let wanted = Reconfigure {
        promote: vec![3, 4],
        demote: vec![2],
        ..Reconfigure::default()
    };
    assert_eq!(change(&servers), Some(wanted), "1, 3 and 4 decide");
}
