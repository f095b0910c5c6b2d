use super::*;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

const GIB: i64 = 1 << 30;

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    owned.collect()
}

fn memory(available: i64) -> Observation {
    Observation {
        signal: Signal::MemoryAvailable,
        available,
        capacity: 8 * GIB,
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(2_000_000_000 + seconds).expect("a time")
}

#[test]
fn settings_are_read_as_kubelets_and_faults_are_named() {
    let hard = texts(&[("memory.available", "1Gi"), ("nodefs.available", "12.5%")]);
    let soft = texts(&[("memory.available", "2Gi")]);
    let grace = texts(&[("memory.available", "1m30s")]);
    let none = texts(&[]);
    let read = Settings::parse(Some(&hard), &soft, &grace, &none).expect("settings");
    assert_eq!(read.hard.len(), 2);
    assert_eq!(read.hard[&Signal::NodeFsAvailable].of(1000), 125);
    let (amount, period) = read.soft[&Signal::MemoryAvailable];
    assert_eq!((amount.of(1), period.as_secs()), (2 * GIB, 90));
    let usual = Settings::parse(None, &none, &none, &none).expect("settings");
    assert_eq!(usual, Settings::default());
    let refused = Settings::parse(None, &soft, &none, &none).expect_err("no grace");
    assert_eq!(refused, SettingsError::Grace("memory.available"));
    for (name, value) in [
        ("disk", "1Gi"),
        ("memory.available", "much"),
        ("memory.available", "101%"),
    ] {
        let wrong = texts(&[(name, value)]);
        assert!(Settings::parse(Some(&wrong), &none, &none, &none).is_err());
    }
}

#[test]
fn a_hard_threshold_counts_at_once_and_a_soft_one_after_its_grace() {
    let mut settings = Settings::default();
    let soft = (Amount::Of(GIB), SignedDuration::from_secs(60));
    settings.soft.insert(Signal::MemoryAvailable, soft);
    settings.max_pod_grace_s = 30;
    let mut monitor = Monitor::default();
    let mut judge =
        |available: i64, now: i64| monitor.judge(&settings, &[memory(available)], at(now));
    assert_eq!(judge(2 * GIB, 0).pressed, Pressure::default());
    let low = judge(GIB / 2, 10);
    assert!(low.pressed.memory && low.reclaim.is_none());
    assert!(judge(GIB / 2, 69).reclaim.is_none());
    assert_eq!(judge(GIB / 2, 70).reclaim.map(|r| r.grace_s), Some(30));
    // The grace begins anew after every relief.
    judge(2 * GIB, 80);
    assert!(judge(GIB / 2, 90).reclaim.is_none());
    assert_eq!(judge(50 << 20, 91).reclaim.map(|r| r.grace_s), Some(0));
}

#[test]
fn more_than_the_threshold_is_reclaimed_when_that_is_asked_for() {
    let mut settings = Settings::default();
    let more = Amount::Of(GIB);
    settings
        .minimum_reclaim
        .insert(Signal::MemoryAvailable, more);
    let mut monitor = Monitor::default();
    let mut is_short = |available: i64| {
        let judged = monitor.judge(&settings, &[memory(available)], at(0));
        judged.reclaim.is_some()
    };
    assert!(!is_short(101 << 20));
    assert!(is_short(99 << 20));
    assert!(is_short(101 << 20), "not enough yet");
    assert!(!is_short(GIB + (101 << 20)));
    assert!(!is_short(101 << 20));
}

#[test]
fn memory_is_reclaimed_before_disk_and_what_cannot_be_measured_says_nothing() {
    let disk = Observation {
        signal: Signal::NodeFsAvailable,
        available: 0,
        capacity: 100,
    };
    let unknown = Observation {
        capacity: 0,
        ..disk
    };
    let mut monitor = Monitor::default();
    let settings = Settings::default();
    let judged = monitor.judge(&settings, &[disk, memory(0)], at(0));
    assert!(judged.pressed.disk && judged.pressed.memory);
    let first = judged.reclaim.expect("a shortage").observed.signal;
    assert_eq!(first, Signal::MemoryAvailable);
    let judged = Monitor::default().judge(&settings, &[unknown], at(0));
    assert_eq!(judged.pressed, Pressure::default());
}

fn pod(priority: i32, memory: &str) -> Pod {
    let resources = json!({"requests": {"memory": memory}});
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {
        "priority": priority, "containers": [{"name": "main", "resources": resources}]}}))
    .expect("a pod")
}

fn using(memory: i64) -> PodUse {
    PodUse {
        memory,
        containers: vec![ContainerUse {
            name: "main".to_string(),
            memory,
            disk: 0,
        }],
        ..PodUse::default()
    }
}

#[test]
fn who_exceeds_its_request_goes_first_then_who_matters_less_then_who_exceeds_by_most() {
    let pods = [
        pod(0, "1Gi"),
        pod(0, "4Gi"),
        pod(10, "0"),
        pod(0, "0"),
        pod(2_000_000_000, "0"),
    ];
    let uses = [2 * GIB, 3 * GIB, 5 * GIB, 3 * GIB / 2, 7 * GIB].map(using);
    let all: Vec<(&Pod, PodUse)> = pods.iter().zip(uses).collect();
    assert_eq!(rank(Signal::MemoryAvailable, &all), [3, 0, 2, 1]);
}

#[test]
fn the_message_is_kubelets() {
    let reclaim = Reclaim {
        observed: memory(90 << 20),
        threshold: 100 << 20,
        grace_s: 0,
    };
    let text = message(&reclaim, &pod(0, "1Gi"), &using(2 * GIB));
    assert_eq!(
        text,
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. \
         Container main was using 2Gi, request is 1Gi, has larger consumption of memory. "
    );
}

#[test]
fn pods_of_the_node_itself_are_never_evicted() {
    let mut own = pod(0, "0");
    let source = [(
        "kubernetes.io/config.source".to_string(),
        "file".to_string(),
    )];
    own.metadata.annotations = Some(source.into());
    assert!(is_critical(&own));
    assert!(!is_critical(&pod(1, "0")));
}

proptest! {
    /// Whatever pods there are: the order is complete, and nobody who keeps within its request
    /// goes before somebody who does not.
    #[test]
    fn who_keeps_within_its_request_goes_last(
        drawn in proptest::collection::vec((0..3_i32, 0..4_i64, 0..4_i64), 0..12)
    ) {
        let pods: Vec<Pod> = drawn.iter().map(|(p, r, _)| pod(*p, &r.to_string())).collect();
        let all: Vec<(&Pod, PodUse)> =
            pods.iter().zip(drawn.iter().map(|(_, _, u)| using(*u))).collect();
        let order = rank(Signal::MemoryAvailable, &all);
        prop_assert_eq!(order.len(), pods.len());
        let exceeds: Vec<bool> = order.iter().map(|i| drawn[*i].2 > drawn[*i].1).collect();
        prop_assert!(exceeds.is_sorted_by(|a, b| a >= b));
    }
}
