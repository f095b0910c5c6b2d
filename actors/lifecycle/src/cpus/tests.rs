//! Processors of one's own.

use super::*;
use proptest::prelude::*;
use serde_json::json;

/// Sockets of cores of two threads each, numbered as Linux numbers them: the second threads after
/// all first ones.
fn machine(sockets: u32, cores: u32) -> Topology {
    let all = sockets * cores;
    Topology::new((0..all * 2).map(move |cpu| {
        let core = cpu % all;
        let place = Place {
            socket: core / cores,
            core: core % cores,
        };
        (cpu, place)
    }))
}

fn set(text: &str) -> CpuSet {
    text.parse().expect("a set")
}

fn pod(cpus: &[&str]) -> Pod {
    let containers: Vec<_> = cpus
        .iter()
        .enumerate()
        .map(|(i, cpu)| {
            let limits = json!({"cpu": cpu, "memory": "1Mi"});
            json!({"name": format!("c{i}"), "resources": {"requests": limits, "limits": limits}})
        })
        .collect();
    serde_json::from_value(json!({"spec": {"containers": containers}})).expect("a pod")
}

#[test]
fn sets_are_written_as_the_kernel_writes_them() {
    for text in ["", "0", "0-2,7", "1,3,5-6"] {
        assert_eq!(set(text).to_string(), text);
    }
    assert_eq!(set("3,1,2,1").to_string(), "1-3");
    for bad in ["a", "3-1", "1-", "-1", "99999999"] {
        assert!(bad.parse::<CpuSet>().is_err(), "{bad}");
    }
}

#[test]
fn only_whole_processors_of_guaranteed_pods_are_exclusive() {
    let names = |pod: &Pod| exclusive(pod);
    assert_eq!(names(&pod(&["2"])), [("c0".to_string(), 2)]);
    assert_eq!(names(&pod(&["1500m", "1"])), [("c1".to_string(), 1)]);
    let mut burstable = pod(&["2"]);
    let spec = burstable.spec.as_mut().expect("a spec");
    spec.containers[0]
        .resources
        .as_mut()
        .expect("resources")
        .limits = None;
    assert_eq!(names(&burstable), []);
}

#[test]
fn whole_cores_are_taken_first_and_what_is_begun_is_filled() {
    // Two sockets of four cores: the threads of core 0 are 0 and 8.
    let mut pool = CpuPool::new(machine(2, 4), set("0"));
    let mut taken = |uid: &str, cpu: &str| {
        pool.admit(uid, &pod(&[cpu])).expect("there are enough");
        pool.of(uid, "c0").to_string()
    };
    assert_eq!(taken("two", "2"), "1,9", "one core of the socket in use");
    assert_eq!(taken("one", "1"), "8", "the rest of the reserved core");
    assert_eq!(taken("socket", "8"), "4-7,12-15", "a whole socket");
    assert_eq!(taken("three", "3"), "2-3,10", "a core and a thread");
    assert_eq!(pool.shared().to_string(), "0,11");
}

#[test]
fn what_the_system_keeps_is_never_given_away() {
    let mut pool = CpuPool::new(machine(1, 1), set("0"));
    assert_eq!(pool.admit("a", &pod(&["1"])), Ok(true));
    assert_eq!(pool.admit("a", &pod(&["1"])), Ok(false), "once is enough");
    let error = pool.admit("b", &pod(&["1"])).expect_err("nothing is left");
    assert_eq!(
        error.to_string(),
        "not enough cpus available to satisfy request: requested=1, available=0"
    );
    assert_eq!(pool.of("b", "c0"), &set("0"), "it shares");
    assert!(pool.release("a") && !pool.release("a"));
    assert_eq!(pool.shared(), &set("0-1"));
    // All of a pod's containers, or none.
    assert!(pool.admit("c", &pod(&["1", "1"])).is_err());
    assert_eq!(pool.shared(), &set("0-1"));
}

#[test]
fn what_was_written_down_is_checked() {
    let machine = || machine(1, 2);
    let mut pool = CpuPool::new(machine(), set("0"));
    pool.admit("a", &pod(&["2"])).expect("enough");
    let text = serde_json::to_string(pool.state()).expect("JSON");
    assert!(text.contains(r#""policyName":"static""#), "{text}");
    let state: CpuState = serde_json::from_str(&text).expect("a state");
    assert_eq!(
        CpuPool::resume(machine(), set("0"), state.clone()),
        Ok(pool)
    );
    let bad = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(&state).expect("JSON");
        change(&mut value);
        let state = serde_json::from_value(value).expect("a state");
        let error = CpuPool::resume(machine(), set("0"), state).expect_err("refused");
        error.to_string()
    };
    assert!(bad(&|s| s["policyName"] = "none".into()).contains("differs from state"));
    assert!(bad(&|s| s["defaultCpuSet"] = "0-3".into()).contains("given away twice"));
    assert!(bad(&|s| s["defaultCpuSet"] = "0,2,9".into()).contains("the machine has 0-3"));
    let other = CpuPool::resume(machine(), set("1"), state.clone()).expect_err("refused");
    assert!(other.to_string().contains("not all reserved"), "{other}");
}

proptest! {
    #[test]
    fn no_processor_is_lost_or_given_twice(
        steps in prop::collection::vec((0..6u8, 1..5usize, any::<bool>()), 0..40),
    ) {
        let topology = machine(2, 3);
        let mut pool = CpuPool::new(topology.clone(), set("0,6"));
        for (who, count, comes) in steps {
            let uid = format!("p{who}");
            if comes {
                let _ = pool.admit(&uid, &pod(&[&count.to_string()]));
            } else {
                pool.release(&uid);
            }
            prop_assert!(set("0,6").is_subset(pool.shared()));
            let state = pool.state().clone();
            let again = CpuPool::resume(topology.clone(), set("0,6"), state);
            prop_assert_eq!(again.as_ref(), Ok(&pool));
        }
        let held = !pool.state().entries.is_empty();
        prop_assert_eq!(pool.retain(|_| false), held);
        prop_assert_eq!(pool.shared().len(), 12);
    }
}
