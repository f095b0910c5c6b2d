//! Children that come and go.

use super::*;
use crate::{ChildError, Restart, Strategy, SupervisorHandle};

async fn pool(tree: &Tree) -> (SupervisorHandle, Root) {
    let handle = SupervisorHandle::new("pool");
    let spec = SupervisorSpec::new(Strategy::OneForOne)
        .never_give_up()
        .backoff(Duration::from_millis(1), Duration::from_millis(10))
        .handle(&handle);
    let root = start(tree, spec).await;
    (handle, root)
}

async fn names(pool: &SupervisorHandle) -> Vec<String> {
    let children = pool.which_children(LIMIT).await.expect("it answers");
    children
        .iter()
        .map(|child| child.name.to_string())
        .collect()
}

#[tokio::test]
async fn children_are_started_listed_and_terminated() {
    let (tree, log) = (Tree::new(), Log::default());
    let (pool, root) = pool(&tree).await;
    let (a, b) = (Probe::new("a", &log), Probe::new("b", &log));
    pool.start_child(a.child(), LIMIT).await.expect("a starts");
    pool.start_child(b.child(), LIMIT).await.expect("b starts");
    assert_eq!(names(&pool).await, ["a", "b"]);
    let taken = pool.start_child(a.child(), LIMIT).await;
    assert_eq!(taken, Err(ChildError::Exists("a".into())));

    pool.terminate_child("a", LIMIT).await.expect("a stops");
    assert_eq!(log.take(), ["start a", "start b", "stop a", "gone a"]);
    assert_eq!(names(&pool).await, ["b"]);
    assert_eq!(tree.get("root/a"), None);
    assert_eq!(
        a.ping().await,
        Err(CallError::Unavailable { actor: "a".into() })
    );
    let unknown = pool.terminate_child("a", LIMIT).await;
    assert_eq!(unknown, Err(ChildError::Unknown("a".to_owned())));

    pool.start_child(a.child(), LIMIT)
        .await
        .expect("the name is free again");
    assert_eq!(a.ping().await, Ok(1));
    root.stop(LIMIT).await.expect("nothing holds on");
}

#[tokio::test]
async fn a_child_that_does_not_start_is_not_kept() {
    let (tree, log) = (Tree::new(), Log::default());
    let (pool, root) = pool(&tree).await;
    let probe = Probe::new("a", &log);
    *probe.refuse_start.lock().expect("switch") = true;
    let error = pool
        .start_child(probe.child(), LIMIT)
        .await
        .expect_err("it refuses");
    assert!(matches!(error, ChildError::Start { .. }), "{error}");
    for name in ["", "a/b"] {
        let nameless = ChildSpec::worker(name, &probe.slot, {
            let probe = probe.clone();
            move |_place| (probe.clone(), ())
        });
        let error = pool
            .start_child(nameless, LIMIT)
            .await
            .expect_err("no path has such a part");
        assert_eq!(error, ChildError::InvalidName(name.into()));
    }
    assert!(names(&pool).await.is_empty());
    root.stop(LIMIT).await.expect("nothing holds on");
}

#[tokio::test]
async fn a_crash_loop_of_one_child_leaves_the_others_alone() {
    let (tree, log) = (Tree::new(), Log::default());
    let (pool, root) = pool(&tree).await;
    let (bad, good) = (Probe::new("bad", &log), Probe::new("good", &log));
    pool.start_child(bad.child(), LIMIT)
        .await
        .expect("bad starts");
    pool.start_child(good.child(), LIMIT)
        .await
        .expect("good starts");
    for crash in 1..=20 {
        bad.slot
            .deliver(ProbeMessage::Panic, LIMIT)
            .await
            .expect("bad is restarted");
        restarted(&tree, "root/bad", crash + 1).await;
        assert_eq!(good.ping().await, Ok(crash));
    }
    root.stop(LIMIT).await.expect("nothing holds on");
}

#[tokio::test]
async fn a_slow_stop_of_one_child_does_not_delay_the_start_of_another() {
    let (tree, log) = (Tree::new(), Log::default());
    let (pool, root) = pool(&tree).await;
    let (slow, other) = (Probe::new("slow", &log), Probe::new("other", &log));
    let (free, until) = tokio::sync::oneshot::channel();
    pool.start_child(slow.child().shutdown_timeout(LIMIT), LIMIT)
        .await
        .expect("slow starts");
    slow.tell(ProbeMessage::Hold(until));
    let stopping = tokio::spawn({
        let pool = pool.clone();
        async move { pool.terminate_child("slow", LIMIT).await }
    });
    pool.start_child(other.child(), LIMIT)
        .await
        .expect("other starts");
    assert_eq!(other.ping().await, Ok(1));
    assert!(!stopping.is_finished());
    drop(free);
    stopping.await.expect("no panic").expect("slow stops");
    assert_eq!(names(&pool).await, ["other"]);
    root.stop(LIMIT).await.expect("nothing holds on");
}

#[tokio::test]
async fn a_temporary_child_is_forgotten_when_it_ends() {
    let (tree, log) = (Tree::new(), Log::default());
    let (pool, root) = pool(&tree).await;
    let probe = Probe::new("a", &log);
    let child = probe.child().restart(Restart::Temporary);
    pool.start_child(child, LIMIT).await.expect("it starts");
    probe.tell(ProbeMessage::End);
    eventually(&tree, "a is forgotten", || tree.get("root/a").is_none()).await;
    assert!(names(&pool).await.is_empty());
    root.stop(LIMIT).await.expect("nothing holds on");
}

#[tokio::test]
async fn whoever_asked_for_children_asks_again_after_the_supervisor_restarted() {
    let (tree, log) = (Tree::new(), Log::default());
    let (handle, probe) = (SupervisorHandle::new("pool"), Probe::new("a", &log));
    let pool = ChildSpec::supervisor("pool", {
        let handle = handle.clone();
        move |_place| SupervisorSpec::new(Strategy::OneForOne).handle(&handle)
    });
    let owner = ChildSpec::new("owner", {
        let (handle, probe) = (handle.clone(), probe.clone());
        move |place| {
            let (handle, child) = (handle.clone(), probe.child());
            let owner = Probe::new("owner", &Log::default());
            async move {
                handle.start_child(child, LIMIT).await?;
                Ok(place.spawn(owner, ()).await?.get_cell())
            }
        }
    });
    let spec = SupervisorSpec::new(Strategy::RestForOne)
        .child(pool)
        .child(owner);
    let root = start(&tree, spec).await;
    assert_eq!(probe.ping().await, Ok(1));
    tree.kill("root/pool").expect("it runs");
    restarted(&tree, "root/owner", 2).await;
    assert_eq!(probe.ping().await, Ok(1));
    assert_eq!(log.take(), ["start a", "gone a", "start a"]);
    root.stop(LIMIT).await.expect("nothing holds on");
}
