//! Watches: complete, in order, once; whatever else happens.

use crate::support::{Running, delete, key, labelled, put};
use kabuki_model::Resource;
use kabuki_model::request::ListRequest;
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_plane::raft::RaftError;
use kabuki_plane::raft_group::RaftGroupArgs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn watch(labels: &str, start: WatchStart) -> WatchRequest {
    let mut selection = ListRequest::all(Resource::CONFIG_MAPS, None);
    selection.labels = labels.to_string();
    WatchRequest {
        selection,
        start,
        bookmarks: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_initial_list_is_followed_by_a_bookmark_and_the_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = Running::open(directory.path()).await;
    for n in 0..1200 {
        running
            .group
            .raft
            .propose(put(&format!("c{n:04}"), "{}"))
            .await
            .expect("written");
    }
    let mut events = running
        .group
        .watch
        .subscribe(watch("", WatchStart::List))
        .await
        .expect("begins");
    running.put("new", "{}").await.expect("written");
    for n in 0..1200 {
        let event = events.next().await.expect("goes on");
        let WatchEvent::Added(object) = event else {
            panic!("{event:?}")
        };
        assert_eq!(object.key, key(&format!("c{n:04}")));
    }
    let end = WatchEvent::Bookmark {
        revision: 1200,
        initial_end: true,
    };
    assert_eq!(events.next().await.expect("goes on"), end);
    let event = events.next().await.expect("goes on");
    assert!(matches!(event, WatchEvent::Added(o) if o.key == key("new") && o.revision == 1201));
    assert_eq!(events.revision(), 1201);
}

/// A caller who was answered tells the watches, if it ever looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_does_not_look_at_its_answer_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = Running::open(directory.path()).await;
    let begin = running.put("first", "{}").await.expect("written");
    let request = watch("", WatchStart::After(begin));
    let subscribed = running.group.watch.subscribe(request).await;
    let mut events = subscribed.expect("begins");
    for name in ["kept", "dropped", "looked-at"] {
        let mut writing = Box::pin(running.group.raft.propose(put(name, "{}")));
        // It is asked, and then not looked at again.
        assert!(futures::poll!(&mut writing).is_pending());
        if name == "dropped" {
            let committed = running.group.raft.snapshot_at_least(begin + 2);
            committed.await;
            drop(writing);
        } else if name == "looked-at" {
            writing.await.expect("written");
        }
        let next = tokio::time::timeout(Duration::from_secs(10), events.next());
        let event = next.await.expect("it is told").expect("goes on");
        assert!(matches!(event, WatchEvent::Added(o) if o.key == key(name)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selectors_make_objects_come_and_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = Running::open(directory.path()).await;
    let begin = running.put("other", "{}").await.expect("written");
    let request = watch("app=web", WatchStart::After(begin));
    let mut events = running
        .group
        .watch
        .subscribe(request.clone())
        .await
        .expect("begins");
    for json in [
        labelled("db"),
        labelled("web"),
        labelled("web"),
        labelled("db"),
    ] {
        running.put("c", &json).await.expect("written");
    }
    running
        .group
        .raft
        .propose(delete("c"))
        .await
        .expect("written");
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(events.next().await.expect("goes on"));
    }
    assert!(
        matches!(&seen[0], WatchEvent::Added(o) if o.revision == 3),
        "{seen:?}"
    );
    assert!(
        matches!(&seen[1], WatchEvent::Modified(o) if o.revision == 4),
        "{seen:?}"
    );
    assert!(
        matches!(&seen[2], WatchEvent::Deleted(o) if o.revision == 5),
        "{seen:?}"
    );
    assert_eq!(events.try_next(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_watchers_see_everything_once_and_in_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut args = RaftGroupArgs::single(directory.path());
    args.raft.disk_reserve_bytes = 0;
    args.watch.outbox_events = 4;
    let running = Arc::new(Running::start(args).await.expect("opens"));
    running.ready().await;
    let mut watchers = Vec::new();
    for slowness in [0, 1, 3] {
        let mut events = running
            .group
            .watch
            .subscribe(watch("", WatchStart::After(0)))
            .await
            .expect("begins");
        watchers.push(tokio::spawn(async move {
            let mut revisions = Vec::new();
            while revisions.len() < 3000 {
                revisions.push(events.next().await.expect("goes on").revision());
                // A few pauses are enough to overrun four events many times.
                if slowness > 0 && revisions.len() % (100 / slowness) == 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            revisions
        }));
    }
    let writers: Vec<_> = (0..10)
        .map(|writer| {
            let running = running.clone();
            tokio::spawn(async move {
                for n in 0..300 {
                    running
                        .put(&format!("c{writer}-{}", n % 7), "{}")
                        .await
                        .expect("written");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    for watcher in watchers {
        assert_eq!(
            watcher.await.expect("no panic"),
            (1..=3000).collect::<Vec<_>>()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slower_than_the_history_is_told_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut args = RaftGroupArgs::single(directory.path());
    args.raft.disk_reserve_bytes = 0;
    args.watch.outbox_events = 2;
    args.watch.history.changes = 10;
    let running = Running::start(args).await.expect("opens");
    running.ready().await;
    let request = watch("", WatchStart::After(0));
    let mut slow = running
        .group
        .watch
        .subscribe(request.clone())
        .await
        .expect("begins");
    for n in 0..50 {
        running.put(&format!("c{n}"), "{}").await.expect("written");
    }
    for revision in [1, 2] {
        assert_eq!(slow.next().await.expect("was kept").revision(), revision);
    }
    assert_eq!(
        slow.next().await.expect_err("too slow").reason,
        Reason::Expired
    );
    let late = running
        .group
        .watch
        .subscribe(request.clone())
        .await
        .expect_err("too old");
    assert_eq!(late.reason, Reason::Expired);
    let early = watch("", WatchStart::After(51));
    let early = running
        .group
        .watch
        .subscribe(early)
        .await
        .expect_err("still to come");
    assert_eq!(early.reason, Reason::Timeout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_watchers_get_bookmarks() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut args = RaftGroupArgs::single(directory.path());
    args.raft.disk_reserve_bytes = 0;
    args.watch.bookmark_interval = Duration::from_millis(20);
    let running = Running::start(args).await.expect("opens");
    running.ready().await;
    let mut request = watch("app=web", WatchStart::After(0));
    request.bookmarks = true;
    let mut events = running
        .group
        .watch
        .subscribe(request.clone())
        .await
        .expect("begins");
    running.put("c", &labelled("db")).await.expect("written");
    let bookmark = WatchEvent::Bookmark {
        revision: 1,
        initial_end: false,
    };
    assert_eq!(events.next().await.expect("goes on"), bookmark);
    assert_eq!(events.revision(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resuming_watch_sees_one_history_over_restarts() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = Arc::new(Running::open(directory.path()).await);
    running.ready().await;
    running.put("first", "{}").await.expect("written");
    let mut events = running
        .group
        .watch
        .resuming(watch("", WatchStart::List))
        .await
        .expect("begins");
    let writer = tokio::spawn({
        let running = running.clone();
        async move {
            let mut acknowledged = Vec::new();
            for n in 0..600 {
                if n % 100 == 50 {
                    let victim = ["raft", "wal", "watch"][n / 100 % 3];
                    running
                        .tree
                        .kill(&format!("raft-group/{victim}"))
                        .expect("it runs");
                }
                match running.put(&format!("c{n}"), "{}").await {
                    Ok(revision) => acknowledged.push((revision, format!("c{n}"))),
                    Err(RaftError::Interrupted) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            let last = running.put("last", "{}").await.expect("written");
            (acknowledged, last)
        }
    });
    let mut seen = BTreeMap::new();
    let mut revision = 0;
    loop {
        let event = events.next().await.expect("goes on");
        let Some(object) = event.object() else {
            continue;
        };
        assert!(
            object.revision > revision,
            "{} after {revision}",
            object.revision
        );
        assert!(
            revision == 0 || object.revision == revision + 1,
            "after {revision}: {object:?}"
        );
        revision = object.revision;
        seen.insert(revision, object.key.name.to_string());
        if &*object.key.name == "last" {
            break;
        }
    }
    let (acknowledged, last) = writer.await.expect("no panic");
    assert_eq!(revision, last);
    for (revision, name) in acknowledged {
        assert_eq!(seen.get(&revision), Some(&name));
    }
}
