use proptest::prelude::*;

use super::*;

fn block(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn own() -> NodeNet {
    NodeNet {
        node_ip: Ipv4Addr::new(192, 0, 2, 1),
        pod_cidr: block("10.244.1.0/24"),
        cluster_cidr: block("10.244.0.0/16"),
        vxlan: VxlanSettings {
            device: "kv".to_owned(),
            vni: 7,
            port: 8472,
        },
        mtu: 1450,
    }
}

fn peer(name: &str, pod_cidr: &str, address: &str) -> Peer {
    Peer {
        name: name.to_owned(),
        pod_cidr: block(pod_cidr),
        address: address.parse().unwrap(),
        mode: None,
    }
}

fn segment() -> Vec<ConnectedPrefix> {
    vec![ConnectedPrefix {
        address: own().node_ip.into(),
        prefix_len: 24,
        interface: 3,
    }]
}

fn near() -> Peer {
    peer("near", "10.244.2.0/24", "192.0.2.2")
}

fn far() -> Peer {
    peer("far", "10.244.3.0/24", "198.51.100.3")
}

fn plan(peers: &[Peer], mode: NetworkMode) -> Desired {
    overlay_plan(&own(), peers, &segment(), mode)
}

/// What the kernel has once all steps are done.
fn after(desired: &Desired, mut state: OverlayState) -> OverlayState {
    for change in overlay_changes(desired, &state) {
        state.apply(&change);
    }
    state
}

const DIRECT: Path = Path::Direct {
    via: Ipv4Addr::new(192, 0, 2, 2),
    interface: 3,
};

#[test]
fn the_mode_decides_the_path() {
    let peers = [near(), far()];
    let auto = plan(&peers, NetworkMode::Auto);
    let tunnel = |address: &Peer| match address.address {
        IpAddr::V4(node) => Path::Vxlan { node },
        IpAddr::V6(_) => unreachable!("the tests' addresses are IPv4"),
    };
    assert_eq!(auto.paths[&near().pod_cidr], DIRECT);
    assert_eq!(auto.paths[&far().pod_cidr], tunnel(&far()));
    assert!(auto.problems.is_empty());

    let vxlan = plan(&peers, NetworkMode::Vxlan);
    assert_eq!(vxlan.paths[&near().pod_cidr], tunnel(&near()));

    let direct = plan(&peers, NetworkMode::Direct);
    assert_eq!(direct.paths.len(), 1);
    assert_eq!(direct.device, None);
    let (name, problem) = &direct.problems[0];
    assert_eq!(name, "far");
    assert!(problem.to_string().contains("198.51.100.3"), "{problem}");
}

#[test]
fn a_peer_that_says_another_mode_is_met_the_same_way_from_both_sides() {
    let modes = [NetworkMode::Vxlan, NetworkMode::Direct, NetworkMode::Auto];
    for mine in modes {
        for theirs in modes {
            let seen = |own: NetworkMode, other: NetworkMode| {
                let mut peer = near();
                peer.mode = Some(other);
                let desired = plan(&[peer], own);
                desired.device.is_some()
            };
            assert_eq!(seen(mine, theirs), seen(theirs, mine), "{mine} {theirs}");
        }
    }
}

#[test]
fn there_is_no_device_until_a_peer_needs_it() {
    assert_eq!(plan(&[], NetworkMode::Vxlan).device, None);
    assert_eq!(plan(&[near()], NetworkMode::Auto).device, None);
    let device = plan(&[far()], NetworkMode::Auto).device.unwrap();
    assert_eq!(device.local, own().node_ip);
    assert_eq!(device.mac.to_string(), "0a:4b:0a:f4:01:00");
    let steps = overlay_changes(
        &plan(&[near()], NetworkMode::Auto),
        &OverlayState::default(),
    );
    assert_eq!(steps, [Change::AddRoute(near().pod_cidr, DIRECT)]);
}

#[test]
fn a_segment_counts_only_where_the_nodes_own_address_is() {
    let mut elsewhere = segment();
    elsewhere[0].address = "192.0.2.9".parse().unwrap();
    let desired = overlay_plan(&own(), &[near()], &elsewhere, NetworkMode::Auto);
    assert!(desired.device.is_some());
    let mut alone = segment();
    alone[0].prefix_len = 32;
    let desired = overlay_plan(&own(), &[near()], &alone, NetworkMode::Auto);
    assert!(desired.device.is_some());
}

#[test]
fn peers_that_cannot_be_are_named_with_the_reason() {
    let peers = [
        near(),
        peer("same", "10.244.2.0/25", "192.0.2.3"),
        peer("mine", "10.244.1.128/25", "192.0.2.4"),
        peer("outside", "10.245.0.0/24", "192.0.2.5"),
        peer("me", "10.244.5.0/24", "192.0.2.1"),
        peer("pod", "10.244.6.0/24", "10.244.9.9"),
        peer("six", "fd00::/64", "192.0.2.6"),
        peer("six-too", "10.244.7.0/24", "fd00::1"),
        peer("nobody", "10.244.8.0/24", "0.0.0.0"),
    ];
    let desired = plan(&peers, NetworkMode::Auto);
    assert_eq!(desired.paths.len(), 1);
    let said: BTreeMap<_, _> = desired
        .problems
        .iter()
        .map(|(name, problem)| (name.as_str(), problem.to_string()))
        .collect();
    assert_eq!(said.len(), 8);
    assert!(
        said["same"].contains("10.244.2.0/24 of node near"),
        "{said:?}"
    );
    assert!(
        said["mine"].contains("this node's own 10.244.1.0/24"),
        "{said:?}"
    );
    assert!(
        said["outside"].contains("not inside the cluster CIDR"),
        "{said:?}"
    );
    assert!(said["me"].contains("this node's own"), "{said:?}");
    assert!(said["pod"].contains("for pods"), "{said:?}");
    assert!(said["six"].contains("pod CIDR is IPv6"), "{said:?}");
    assert!(said["six-too"].contains("address is IPv6"), "{said:?}");
}

#[test]
fn one_peer_more_or_less_touches_only_its_entries() {
    let other = peer("other", "10.244.4.0/24", "198.51.100.4");
    let both = plan(&[far(), other.clone()], NetworkMode::Auto);
    let one = plan(&[far()], NetworkMode::Auto);
    let (node, cidr) = (Ipv4Addr::new(198, 51, 100, 4), other.pod_cidr);
    let (end, mac) = tunnel_end(cidr);

    let with_one = after(&one, OverlayState::default());
    assert_eq!(
        overlay_changes(&both, &with_one),
        [
            Change::AddMember(node, cidr),
            Change::SetForwarding(cidr, node),
            Change::SetNeighbour(cidr),
            Change::AddRoute(cidr, Path::Vxlan { node }),
        ]
    );
    let with_both = after(&both, with_one.clone());
    assert_eq!(
        overlay_changes(&one, &with_both),
        [
            Change::DropRoute(cidr),
            Change::DropNeighbour(end),
            Change::DropForwarding(mac),
            Change::DropMember(node, cidr),
        ]
    );
    assert_eq!(after(&one, with_both), with_one);
}

#[test]
fn a_new_daemon_checks_again_and_changes_nothing_else() {
    let desired = plan(&[near(), far()], NetworkMode::Auto);
    let mut found = after(&desired, OverlayState::default());
    found.guarded = false;
    assert_eq!(overlay_changes(&desired, &found), [Change::Guard]);
}

#[test]
fn a_peer_that_moves_is_followed_without_losing_its_route() {
    let before = after(&plan(&[far()], NetworkMode::Auto), OverlayState::default());
    let mut moved = far();
    moved.address = "192.0.2.7".parse().unwrap();
    let steps = overlay_changes(&plan(&[moved], NetworkMode::Auto), &before);
    let direct = Path::Direct {
        via: Ipv4Addr::new(192, 0, 2, 7),
        interface: 3,
    };
    assert_eq!(
        steps,
        [
            Change::ReplaceRoute(far().pod_cidr, direct),
            Change::RemoveDevice,
            Change::Unguard,
        ]
    );
}

#[test]
fn a_device_of_other_settings_is_made_anew_with_all_its_entries() {
    let desired = plan(&[far()], NetworkMode::Auto);
    let mut found = after(&desired, OverlayState::default());
    found.device.as_mut().unwrap().device.settings.vni = 9;
    let steps = overlay_changes(&desired, &found);
    assert_eq!(steps[0], Change::RemoveDevice);
    assert!(matches!(steps[1], Change::CreateDevice(_)));
    assert!(matches!(steps.last(), Some(Change::AddRoute(..))));
    let mut small = after(&desired, OverlayState::default());
    small.device.as_mut().unwrap().device.mtu = 1400;
    let steps = overlay_changes(&desired, &small);
    assert!(matches!(steps[..], [Change::AdjustDevice(_)]), "{steps:?}");
}

#[test]
fn the_mtu_leaves_room_for_vxlan_unless_there_never_is_any() {
    assert_eq!(pod_mtu(1500, NetworkMode::Vxlan), 1450);
    assert_eq!(pod_mtu(1500, NetworkMode::Auto), 1450);
    assert_eq!(pod_mtu(9000, NetworkMode::Direct), 9000);
}

#[test]
fn modes_are_read_and_written() {
    for mode in [NetworkMode::Vxlan, NetworkMode::Direct, NetworkMode::Auto] {
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
    let error = "VXLAN".parse::<NetworkMode>().unwrap_err().to_string();
    assert!(error.contains("vxlan, direct or auto"), "{error}");
}

/// Peers with small numbers, so that blocks and addresses collide often.
fn some_peers() -> impl Strategy<Value = Vec<Peer>> {
    let modes = prop_oneof![
        Just(None),
        Just(Some(NetworkMode::Vxlan)),
        Just(Some(NetworkMode::Direct)),
    ];
    let peer = (0u8..6, 22u8..26, 0u8..2, 0u8..6, modes).prop_map(
        |(third, length, network, last, mode)| {
            let first = IpAddr::V4(Ipv4Addr::new(10, 244, third, 0));
            Peer {
                name: format!("n{third}-{length}-{last}"),
                pod_cidr: Cidr::containing(first, length).unwrap(),
                address: IpAddr::V4(Ipv4Addr::new(192, 0, 2 + network, last)),
                mode,
            }
        },
    );
    proptest::collection::vec(peer, 0..8)
}

proptest! {
    #[test]
    fn whatever_was_there_the_steps_lead_to_what_is_wanted(
        before in some_peers(),
        now in some_peers(),
        guarded: bool,
    ) {
        let mut state = after(&plan(&before, NetworkMode::Auto), OverlayState::default());
        state.guarded &= guarded;
        let desired = plan(&now, NetworkMode::Auto);
        let reached = after(&desired, state);
        prop_assert_eq!(&reached, &after(&desired, OverlayState::default()));
        prop_assert!(overlay_changes(&desired, &reached).is_empty());
    }

    #[test]
    fn no_address_is_ever_two_peers(peers in some_peers()) {
        let desired = plan(&peers, NetworkMode::Auto);
        let blocks: Vec<_> = desired.paths.keys().collect();
        for (at, one) in blocks.iter().enumerate() {
            prop_assert!(!one.overlaps(&own().pod_cidr));
            for other in &blocks[at + 1..] {
                prop_assert!(!one.overlaps(other));
            }
        }
    }

    /// A route by the device is there only while the device, the neighbour, the forwarding
    /// entry and the membership are.
    #[test]
    fn no_step_leaves_a_route_without_what_it_needs(
        before in some_peers(),
        now in some_peers(),
    ) {
        let mut state = after(&plan(&before, NetworkMode::Auto), OverlayState::default());
        let desired = plan(&now, NetworkMode::Auto);
        for change in overlay_changes(&desired, &state) {
            state.apply(&change);
            prop_assert!(state.device.is_none() || state.guarded);
            for (block, route) in &state.routes {
                let (end, mac) = tunnel_end(*block);
                if route.is_none() {
                    prop_assert!(state.device.is_some());
                    prop_assert!(state.neighbours.contains_key(&end));
                    prop_assert!(state.forwarding.contains_key(&mac));
                    prop_assert!(state.members.iter().any(|(_, member)| member == block));
                }
            }
        }
    }
}
