//! Strategies, intensity, order, nesting.

use super::*;
use crate::{Restart, Strategy};

fn three(strategy: Strategy, log: &Log) -> ([Probe; 3], SupervisorSpec) {
    let probes = ["a", "b", "c"].map(|name| Probe::new(name, log));
    let spec = probes
        .iter()
        .fold(SupervisorSpec::new(strategy), |spec, p| {
            spec.child(p.child())
        });
    (probes, spec)
}

/// Crashes `b` of three and returns what happened then, as far as its siblings are concerned.
async fn crash_the_middle(strategy: Strategy) -> Vec<String> {
    let (tree, log) = (Tree::new(), Log::default());
    let (probes, spec) = three(strategy, &log);
    let root = start(&tree, spec).await;
    assert_eq!(log.take(), ["start a", "start b", "start c"]);
    probes[1].tell(ProbeMessage::Panic);
    restarted(&tree, "root/b", 2).await;
    for probe in &probes {
        assert_eq!(
            probe.ping().await,
            Ok(1),
            "{} answers anew or still",
            probe.name
        );
    }
    let happened = log.take();
    root.stop(LIMIT).await.expect("nothing holds on");
    assert_eq!(
        log.take(),
        ["stop c", "gone c", "stop b", "gone b", "stop a", "gone a"],
        "stops are in reverse order"
    );
    happened
}

#[tokio::test]
async fn one_for_one_restarts_only_the_failed_child() {
    assert_eq!(
        crash_the_middle(Strategy::OneForOne).await,
        ["gone b", "start b"]
    );
}

#[tokio::test]
async fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    let happened = crash_the_middle(Strategy::OneForAll).await;
    let happened: Vec<_> = happened
        .iter()
        .map(String::as_str)
        .filter(|l| *l != "gone b")
        .collect();
    assert_eq!(
        happened,
        [
            "stop c", "gone c", "stop a", "gone a", "start a", "start b", "start c"
        ]
    );
}

#[tokio::test]
async fn rest_for_one_restarts_the_failed_child_and_those_after_it() {
    let happened = crash_the_middle(Strategy::RestForOne).await;
    let happened: Vec<_> = happened
        .iter()
        .map(String::as_str)
        .filter(|l| *l != "gone b")
        .collect();
    assert_eq!(happened, ["stop c", "gone c", "start b", "start c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_failure_is_healed_and_told() {
    let (tree, log) = (Tree::new(), Log::default());
    let probe = Probe::new("a", &log);
    let root = start(
        &tree,
        SupervisorSpec::new(Strategy::OneForOne).child(probe.child()),
    )
    .await;
    let told = || {
        tree.get("root/a")
            .and_then(|info| info.last_failure)
            .unwrap_or_default()
    };

    probe.tell(ProbeMessage::Panic);
    restarted(&tree, "root/a", 2).await;
    assert_eq!(told(), "told to panic");

    probe.tell(ProbeMessage::Fail);
    restarted(&tree, "root/a", 3).await;
    assert_eq!(told(), "told to fail");

    tree.kill("root/a").expect("it runs");
    restarted(&tree, "root/a", 4).await;
    assert_eq!(told(), "killed");

    let (_never, until) = tokio::sync::oneshot::channel();
    probe.tell(ProbeMessage::Hold(until));
    tree.kill("root/a").expect("it runs");
    restarted(&tree, "root/a", 5).await;

    assert_eq!(probe.ping().await, Ok(1));
    assert_eq!(tree.get("root/a").map(|info| info.restarts), Some(4));
    root.stop(LIMIT).await.expect("nothing holds on");
}

#[tokio::test]
async fn only_a_permanent_child_restarts_after_a_normal_end() {
    for (restart, after) in [
        (Restart::Permanent, ActorState::Running),
        (Restart::Transient, ActorState::Stopped),
        (Restart::Temporary, ActorState::Stopped),
    ] {
        let (tree, log) = (Tree::new(), Log::default());
        let probe = Probe::new("a", &log);
        let child = probe.child().restart(restart);
        let root = start(&tree, SupervisorSpec::new(Strategy::OneForOne).child(child)).await;
        probe.tell(ProbeMessage::End);
        let is_after = || {
            let info = tree
                .get("root/a")
                .expect("a static child is never forgotten");
            info.state == after && (after == ActorState::Stopped || info.starts == 2)
        };
        eventually(&tree, "the state after a normal end", is_after).await;
        if after == ActorState::Stopped {
            let error = probe.ping().await.expect_err("it has ended for good");
            assert_eq!(error, CallError::Unavailable { actor: "a".into() });
        }
        root.stop(LIMIT).await.expect("nothing holds on");
    }
}

#[tokio::test]
async fn a_transient_child_restarts_after_a_failure_and_a_temporary_one_does_not() {
    let (tree, log) = (Tree::new(), Log::default());
    let (transient, temporary) = (Probe::new("a", &log), Probe::new("b", &log));
    let spec = SupervisorSpec::new(Strategy::OneForOne)
        .child(transient.child().restart(Restart::Transient))
        .child(temporary.child().restart(Restart::Temporary));
    let root = start(&tree, spec).await;
    temporary.tell(ProbeMessage::Panic);
    transient.tell(ProbeMessage::Panic);
    restarted(&tree, "root/a", 2).await;
    let state = || tree.get("root/b").map(|info| info.state);
    eventually(&tree, "b has stopped", || {
        state() == Some(ActorState::Stopped)
    })
    .await;
    root.stop(LIMIT).await.expect("nothing holds on");
}

#[tokio::test]
async fn too_many_restarts_stop_the_siblings_and_fail_the_supervisor() {
    let (tree, log) = (Tree::new(), Log::default());
    let (probes, spec) = three(Strategy::OneForOne, &log);
    let mut root = start(&tree, spec.intensity(2, LIMIT)).await;
    for restarts in 1..=2 {
        probes[0].tell(ProbeMessage::Panic);
        restarted(&tree, "root/a", restarts + 1).await;
    }
    log.take();
    probes[0].tell(ProbeMessage::Panic);
    let reason = root.wait().await.expect("it failed");
    assert_eq!(
        reason,
        "gave up: too many restarts, the last one of root/a after: told to panic"
    );
    let happened = log.take();
    let happened: Vec<_> = happened
        .iter()
        .map(String::as_str)
        .filter(|l| *l != "gone a")
        .collect();
    assert_eq!(happened, ["stop c", "gone c", "stop b", "gone b"]);
}

fn nested(log: &Log) -> ([Probe; 3], SupervisorSpec) {
    let probes = ["a", "b", "c"].map(|name| Probe::new(name, log));
    let (first, inner) = (probes[0].clone(), [probes[1].clone(), probes[2].clone()]);
    let inner = ChildSpec::supervisor("inner", move |_place| {
        let spec = SupervisorSpec::new(Strategy::OneForOne).intensity(1, LIMIT);
        inner
            .iter()
            .fold(spec, |spec, probe| spec.child(probe.child()))
    });
    let spec = SupervisorSpec::new(Strategy::OneForOne)
        .intensity(100, Duration::from_secs(1))
        .child(first.child())
        .child(inner);
    (probes, spec)
}

#[tokio::test]
async fn an_exhausted_inner_supervisor_is_restarted_by_the_outer_one() {
    let (tree, log) = (Tree::new(), Log::default());
    let ([a, b, c], spec) = nested(&log);
    let root = start(&tree, spec).await;
    b.tell(ProbeMessage::Panic);
    restarted(&tree, "root/inner/b", 2).await;
    b.tell(ProbeMessage::Panic);
    restarted(&tree, "root/inner/b", 3).await;
    restarted(&tree, "root/inner/c", 2).await;
    assert_eq!(
        (a.ping().await, b.ping().await, c.ping().await),
        (Ok(1), Ok(1), Ok(1))
    );
    let inner = tree.get("root/inner").expect("it is there");
    assert_eq!((inner.starts, inner.restarts), (2, 1));
    assert_eq!(
        tree.get("root/a").map(|info| info.starts),
        Some(1),
        "a was not concerned"
    );
    root.stop(LIMIT).await.expect("nothing holds on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_each_actor_of_a_tree_in_turn_is_healed() {
    let (tree, log) = (Tree::new(), Log::default());
    let (probes, spec) = nested(&log);
    let root = start(&tree, spec).await;
    let paths: Vec<_> = tree.snapshot().into_iter().map(|info| info.path).collect();
    assert_eq!(
        paths,
        [
            "root",
            "root/a",
            "root/inner",
            "root/inner/b",
            "root/inner/c"
        ]
    );
    for path in paths.iter().skip(1).cycle().take(40) {
        let before = tree.get(path).expect("known").starts;
        // Between two kills an actor may be down on its way to the next incarnation.
        eventually(&tree, path, || tree.kill(path).is_ok()).await;
        restarted(&tree, path, before + 1).await;
        for probe in &probes {
            let answer = probe.ping().await;
            let dropped = CallError::Dropped {
                actor: probe.name.into(),
            };
            assert!(
                answer.is_ok() || answer == Err(dropped),
                "{path}: {answer:?}"
            );
        }
    }
    root.stop(LIMIT).await.expect("nothing holds on");
    let alive = probes.map(|probe| *probe.alive.lock().expect("count"));
    assert_eq!(alive, [0, 0, 0]);
}

#[tokio::test]
async fn a_child_that_does_not_start_fails_the_tree_and_stops_what_had_started() {
    let (tree, log) = (Tree::new(), Log::default());
    let (probes, spec) = three(Strategy::OneForOne, &log);
    *probes[2].refuse_start.lock().expect("switch") = true;
    let error = Root::start(&tree, "root", spec)
        .await
        .expect_err("c refuses");
    assert!(
        error.to_string().contains("child c did not start: "),
        "{error}"
    );
    assert!(error.to_string().contains("told not to start"), "{error}");
    assert_eq!(
        log.take(),
        ["start a", "start b", "stop b", "gone b", "stop a", "gone a"]
    );
}

#[tokio::test]
async fn a_child_that_fails_to_restart_is_tried_again() {
    let (tree, log) = (Tree::new(), Log::default());
    let probe = Probe::new("a", &log);
    let spec = SupervisorSpec::new(Strategy::OneForOne)
        .never_give_up()
        .backoff(Duration::from_millis(1), Duration::from_millis(5))
        .child(probe.child());
    let root = start(&tree, spec).await;
    *probe.refuse_start.lock().expect("switch") = true;
    probe.tell(ProbeMessage::Panic);
    let tries = || tree.get("root/a").map_or(0, |info| info.restarts);
    eventually(&tree, "several tries", || tries() >= 3).await;
    *probe.refuse_start.lock().expect("switch") = false;
    assert_eq!(probe.ping().await, Ok(1), "the call waits for the restart");
    root.stop(LIMIT).await.expect("nothing holds on");
}

#[tokio::test]
async fn a_child_that_does_not_stop_in_time_is_killed() {
    let (tree, log) = (Tree::new(), Log::default());
    let mut probe = Probe::new("a", &log);
    probe.hang_on_stop = true;
    let child = probe.child().shutdown_timeout(Duration::from_millis(20));
    let root = start(&tree, SupervisorSpec::new(Strategy::OneForOne).child(child)).await;
    root.stop(LIMIT).await.expect("nothing holds on");
    assert_eq!(log.take(), ["start a", "gone a"]);
}
