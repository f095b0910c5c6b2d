//! The programs as the kernel checks and runs them, on frames made by hand.

mod frame;

use super::layout::{FLOW_AT, FLOW_CONFIRMED};
use super::*;
use frame::{ACK, FIN, Frame, POD, RST, SYN, back, out, sum};
use kabuki_bpf::{Assembler, R0, R2, Size};

const MTU: u32 = 1450;
const BRIDGE: u32 = 7;
const OVERLAY: u32 = 8;
/// Frames of a trial come in by the loopback interface, the first of every namespace.
const LINK: u32 = 1;

/// The kernel's verdicts: the filter has no opinion, and the packet was sent elsewhere.
const LONG: i32 = -1;
const SHORT: i32 = 7;

/// What is said where programs are not for us, or for nobody.
const UNABLE: [io::ErrorKind; 2] = [io::ErrorKind::PermissionDenied, io::ErrorKind::Unsupported];

/// Fails, unless it is known that this host cannot do what the tests need.
pub(crate) fn untested(why: &str) {
    assert!(
        std::env::var_os("KABUKI_WITHOUT_BPF").is_some(),
        "{why}; KABUKI_WITHOUT_BPF=1 has the tests of the short way left out"
    );
    println!("not tested: {why}");
}

/// A node with one pod, and a connection of it that has not begun.
struct Trial {
    loaded: Shortcuts,
}

impl Trial {
    /// `None` where the kernel takes no programs from us, which it says.
    fn new() -> Option<Self> {
        Self::with(Delivery::Within)
    }

    fn with(delivery: Delivery) -> Option<Self> {
        let places = Places {
            overlay: OVERLAY,
            bridge: BRIDGE,
            mtu: MTU,
            cluster: "10.244.0.0/16".parse().unwrap(),
            own: "10.244.1.0/24".parse().unwrap(),
        };
        match with_locked_memory(|| Shortcuts::load_all(places, delivery)) {
            Ok(loaded) => {
                let mut context = [0; 192];
                context[36] = BRIDGE as u8;
                if let Err(error) = loaded.to_wire.run(&out(1).bytes(), &context) {
                    untested(&format!(
                        "trials of this kernel cannot say where packets come in: {error}"
                    ));
                    return None;
                }
                loaded.admit(POD.parse().unwrap(), LINK).unwrap();
                Some(Self { loaded })
            }
            Err(error) if UNABLE.contains(&error.kind()) => {
                untested(&format!(
                    "loading programs needs root and a kernel that lets it: {error}"
                ));
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn leave(&self, frame: &Frame) -> i32 {
        run(&self.loaded.from_pod, frame, 0, 0).0
    }

    fn arrive(&self, frame: &Frame) -> i32 {
        run(&self.loaded.from_wire, frame, OVERLAY, 0).0
    }

    /// To the VXLAN device, from the bridge, with other hardware addresses.
    fn to_wire(&self, frame: &Frame) {
        let routed = Frame {
            macs: *b"far-d-device",
            ..frame.clone()
        };
        let (verdict, _) = run(&self.loaded.to_wire, &routed, BRIDGE, 0);
        assert_eq!(verdict, LONG);
    }

    fn to_pod(&self, frame: &Frame) {
        let routed = Frame {
            macs: *b"pod-agateway",
            ..frame.clone()
        };
        let (verdict, _) = run(&self.loaded.to_pod, &routed, OVERLAY, 0);
        assert_eq!(verdict, LONG);
    }

    /// A packet each way, the long way.
    fn establish(&self) {
        assert_eq!(self.leave(&out(1)), LONG);
        self.to_wire(&out(1));
        assert_eq!(self.arrive(&back(1)), LONG);
        self.to_pod(&back(1));
    }

    /// Whether packets go the short way, each way. Those that do not are noted.
    fn is_short(&self) -> (bool, bool) {
        let verdicts = (self.leave(&out(2)), self.arrive(&back(2)));
        assert!([LONG, SHORT].contains(&verdicts.0) && [LONG, SHORT].contains(&verdicts.1));
        (verdicts.0 == SHORT, verdicts.1 == SHORT)
    }

    fn flow(&self, frame: &Frame) -> Option<[u8; FLOW]> {
        self.loaded.flows.get(&frame.key()).unwrap()
    }
}

fn run(program: &Program, frame: &Frame, came_by: u32, gso_size: u32) -> (i32, Vec<u8>) {
    let mut context = [0; 192];
    context[36..40].copy_from_slice(&came_by.to_ne_bytes());
    context[176..180].copy_from_slice(&gso_size.to_ne_bytes());
    program.run(&frame.bytes(), &context).unwrap()
}

#[test]
fn a_connection_seen_both_ways_takes_the_short_way() {
    let Some(trial) = Trial::new() else { return };
    assert_eq!(trial.is_short(), (false, false));
    trial.establish();
    let (verdict, after) = run(&trial.loaded.from_pod, &out(3), 0, 0);
    assert_eq!(verdict, SHORT);
    // As at the end of the long way.
    assert_eq!(&after[..12], b"far-d-device");
    assert_eq!(after[22], 63);
    assert_eq!(sum(&after[14..34]), 0xffff, "the checksum is wrong");
    assert_eq!(after[34..], out(3).bytes()[34..]);
    let (verdict, after) = run(&trial.loaded.from_wire, &back(3), OVERLAY, 0);
    assert_eq!(verdict, SHORT);
    assert_eq!(&after[..12], b"pod-agateway");
    assert_eq!((after[22], sum(&after[14..34])), (63, 0xffff));
}

#[test]
fn what_goes_to_the_pod_by_the_link_is_no_other_frame() {
    let Some(trial) = Trial::with(Delivery::Across) else {
        return;
    };
    trial.establish();
    let (verdict, after) = run(&trial.loaded.from_wire, &back(3), OVERLAY, 0);
    assert_eq!((verdict, &after[..12]), (SHORT, &b"pod-agateway"[..]));
}

#[test]
fn checksums_stay_right_whatever_they_are() {
    let Some(trial) = Trial::new() else { return };
    trial.establish();
    // Lengths make all kinds of checksums, with and without a carry.
    for payload in (0..1400).step_by(7) {
        for ttl in [2, 3, 64, 128, 255] {
            let frame = Frame {
                ttl,
                payload,
                ..out(3)
            };
            let (verdict, after) = run(&trial.loaded.from_pod, &frame, 0, 0);
            assert_eq!((verdict, after[22]), (SHORT, ttl - 1));
            assert_eq!(sum(&after[14..34]), 0xffff, "{payload} bytes, {ttl} hops");
        }
    }
}

#[test]
fn one_way_alone_is_not_enough() {
    let Some(trial) = Trial::new() else { return };
    assert_eq!(trial.leave(&out(1)), LONG);
    trial.to_wire(&out(1));
    assert_eq!(trial.is_short(), (false, false));
    // Noted and confirmed are two things.
    assert_eq!(trial.arrive(&back(1)), LONG);
    assert_eq!(trial.is_short(), (false, false));
}

#[test]
fn what_was_translated_never_takes_the_short_way() {
    let Some(trial) = Trial::new() else { return };
    // The pod speaks to a service; the filter makes of it an endpoint on another node.
    let to_service = Frame {
        to: ("10.96.0.10", 80),
        ..out(1)
    };
    for seq in 1..5 {
        let to_service = Frame {
            seq,
            ..to_service.clone()
        };
        assert_eq!(trial.leave(&to_service), LONG);
        trial.to_wire(&out(seq));
        // The reply comes from the endpoint, and goes to the pod as if from the service.
        assert_eq!(trial.arrive(&back(seq)), LONG);
        let translated = Frame {
            from: to_service.to,
            ..back(seq)
        };
        trial.to_pod(&translated);
    }
    assert!(trial.flow(&back(1)).is_none(), "replies take room");

    // At the same time a packet to the endpoint itself has been noted under the same name, and was
    // given another on the way.
    assert_eq!(trial.leave(&out(1000)), LONG);
    trial.to_wire(&out(5));
    assert_eq!(trial.arrive(&back(1)), LONG);
    trial.to_pod(&back(1));
    assert_eq!(trial.is_short(), (false, false));
}

#[test]
fn beginnings_and_ends_take_the_long_way() {
    let Some(trial) = Trial::new() else { return };
    for flags in [FIN | ACK, RST, RST | ACK] {
        for from_pod in [true, false] {
            trial.establish();
            assert_eq!(trial.is_short(), (true, true));
            let verdict = match from_pod {
                true => trial.leave(&Frame { flags, ..out(9) }),
                false => trial.arrive(&Frame { flags, ..back(9) }),
            };
            assert_eq!(verdict, LONG);
            // And all that follows, though it is seen to be unchanged.
            trial.establish();
            assert_eq!(trial.is_short(), (false, false));
            // A new connection of the same name.
            let syn = Frame {
                flags: SYN,
                ..out(9)
            };
            assert_eq!(trial.leave(&syn), LONG);
            assert!(trial.flow(&out(0)).is_none() && trial.flow(&back(0)).is_none());
        }
    }
    trial.establish();
    let syn = Frame {
        flags: SYN | ACK,
        ..back(9)
    };
    assert_eq!(trial.arrive(&syn), LONG);
    assert_eq!(trial.is_short(), (false, false));
}

#[test]
fn only_plain_tcp_between_pods_is_touched() {
    let Some(trial) = Trial::new() else { return };
    trial.establish();
    assert_eq!(trial.is_short(), (true, true));
    type Change = fn(&mut Frame);
    let changes: [(&str, Change); 8] = [
        ("more fragments", |f| f.fragment = 0x2000),
        ("a later fragment", |f| f.fragment = 5),
        ("options", |f| f.head = 0x46),
        ("UDP", |f| f.protocol = 17),
        ("a VLAN tag", |f| f.ethertype = 0x8100),
        ("IPv6", |f| f.ethertype = 0x86dd),
        ("the last hop", |f| f.ttl = 1),
        ("no hop", |f| f.ttl = 0),
    ];
    for (what, change) in changes {
        for mut frame in [out(3), back(3)] {
            change(&mut frame);
            let verdict = match frame.from.0 {
                POD => trial.leave(&frame),
                _ => trial.arrive(&frame),
            };
            assert_eq!(verdict, LONG, "{what}");
        }
        assert_eq!(trial.is_short(), (true, true), "{what}");
    }
    // A frame that ends within its headers.
    let cut = out(3).bytes()[..50].to_vec();
    for program in [&trial.loaded.from_pod, &trial.loaded.from_wire] {
        assert_eq!(program.run(&cut, &[0; 192]).unwrap().0, LONG);
    }
    // The same node, the world outside, the endpoints of nobody.
    for to in ["10.244.1.9", "8.8.8.8", "10.243.2.2"] {
        let elsewhere = Frame {
            to: (to, 80),
            ..out(3)
        };
        assert_eq!(trial.leave(&elsewhere), LONG);
        assert!(trial.flow(&elsewhere).is_none(), "{to} is noted");
    }
    let nobody = Frame {
        to: ("10.244.1.9", 4000),
        ..back(3)
    };
    assert_eq!(trial.arrive(&nobody), LONG);
}

#[test]
fn what_is_too_large_takes_the_long_way() {
    let Some(trial) = Trial::new() else { return };
    trial.establish();
    let largest = MTU as usize - 40;
    let sized = |payload| Frame { payload, ..out(3) };
    assert_eq!(trial.leave(&sized(largest)), SHORT);
    assert_eq!(trial.leave(&sized(largest + 1)), LONG);
    // One that is divided on its way counts as its largest part.
    let divided = |part| run(&trial.loaded.from_pod, &sized(3000), 0, part).0;
    assert_eq!(divided(MTU - 40), SHORT);
    assert_eq!(divided(MTU - 39), LONG);
}

#[test]
fn no_pod_speaks_for_another() {
    let Some(trial) = Trial::new() else { return };
    trial.establish();
    let other = LINK + 1;
    trial.loaded.admit(POD.parse().unwrap(), other).unwrap();
    assert_eq!(trial.leave(&out(3)), LONG);
    // Another pod has the address by now.
    trial.loaded.dismiss(POD.parse().unwrap(), LINK).unwrap();
    assert_eq!(trial.arrive(&back(3)), SHORT);
    trial.loaded.dismiss(POD.parse().unwrap(), other).unwrap();
    assert_eq!(trial.is_short(), (false, false));
    trial.loaded.admit(POD.parse().unwrap(), LINK).unwrap();
    assert_eq!(trial.is_short(), (true, true));
}

#[test]
fn what_was_routed_before_a_change_counts_no_more_after_it() {
    let Some(trial) = Trial::new() else { return };
    trial.establish();
    trial.loaded.renew().unwrap();
    // Noted before the next change, confirmed after it.
    assert_eq!(trial.is_short(), (false, false));
    trial.loaded.renew().unwrap();
    trial.to_wire(&out(2));
    trial.to_pod(&back(2));
    assert_eq!(trial.is_short(), (false, false));
    trial.to_wire(&out(2));
    trial.to_pod(&back(2));
    assert_eq!(trial.is_short(), (true, true));
    trial.loaded.close().unwrap();
    trial.establish();
    assert_eq!(trial.is_short(), (false, false));
}

#[test]
fn what_was_confirmed_is_good_for_a_while_only() {
    let Some(trial) = Trial::new() else { return };
    trial.establish();
    assert_eq!(trial.is_short(), (true, true));
    let age = |frame: &Frame| {
        let mut flow = trial.flow(frame).unwrap();
        flow[FLOW_AT as usize..][..8].fill(0);
        trial.loaded.flows.put(&frame.key(), &flow).unwrap();
    };
    age(&out(0));
    assert_eq!(trial.is_short(), (false, true), "each way has its own time");
    assert_eq!(trial.is_short(), (false, true), "it must be confirmed");
    trial.to_wire(&out(2));
    assert_eq!(trial.is_short(), (true, true));
    age(&back(0));
    assert_eq!(trial.is_short(), (true, false));
    trial.to_pod(&back(2));
    assert_eq!(trial.is_short(), (true, true));
}

#[test]
fn only_what_came_the_long_way_is_confirmed() {
    let Some(trial) = Trial::new() else { return };
    let confirmed =
        |frame: &Frame| trial.flow(frame).unwrap()[FLOW_CONFIRMED as usize..][..8] != [0; 8];
    assert_eq!(trial.leave(&out(1)), LONG);
    // From the node itself, from the pod's own link, and from elsewhere.
    for came_by in [0, LINK, OVERLAY, 99] {
        run(&trial.loaded.to_wire, &out(1), came_by, 0);
        assert!(!confirmed(&out(1)), "{came_by}");
    }
    run(&trial.loaded.to_wire, &out(1), BRIDGE, 0);
    assert!(confirmed(&out(1)));
    assert_eq!(trial.arrive(&back(1)), LONG);
    for came_by in [0, LINK, BRIDGE, 99] {
        run(&trial.loaded.to_pod, &back(1), came_by, 0);
        assert!(!confirmed(&back(1)), "{came_by}");
    }
    run(&trial.loaded.to_pod, &back(1), OVERLAY, 0);
    assert!(confirmed(&back(1)));
}

#[test]
fn a_program_that_the_kernel_refuses_is_explained() {
    if Trial::new().is_none() {
        return;
    }
    let mut code = Assembler::default();
    code.load(Size::Word, R0, R2, 0);
    code.exit();
    let refused = load("wrong", code.finish()).err().unwrap().to_string();
    assert!(
        refused.starts_with("wrong: ") && refused.contains("R2"),
        "{refused}"
    );
}

#[test]
fn blocks_are_as_in_packets() {
    let block = |text: &str| raw_block(text.parse().unwrap());
    let bytes = |(network, mask): (u32, u32)| (network.to_ne_bytes(), mask.to_ne_bytes());
    assert_eq!(
        bytes(block("10.244.0.0/16")),
        ([10, 244, 0, 0], [255, 255, 0, 0])
    );
    assert_eq!(
        bytes(block("10.244.7.128/25")),
        ([10, 244, 7, 128], [255, 255, 255, 128])
    );
    assert_eq!(bytes(block("0.0.0.0/0")), ([0; 4], [0; 4]));
}

#[test]
fn old_kernels_do_not_count_what_does_not_come_across_the_link() {
    for (release, delivery) in [
        ("6.18.44-fc-v657", Delivery::Within),
        ("6.7.0", Delivery::Within),
        ("10.0-rc1", Delivery::Within),
        ("6.6.64", Delivery::Across),
        ("6.1.0-30-amd64", Delivery::Across),
        ("5.10.0-33-cloud-amd64", Delivery::Across),
        ("", Delivery::Across),
        ("plan9", Delivery::Across),
    ] {
        assert_eq!(Delivery::of_kernel(release), delivery, "{release}");
    }
}
