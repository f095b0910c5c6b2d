use super::*;
use bytes::Bytes;
use kabuki_model::ObjectKey;

fn stored(revision: u64, json: &'static str) -> Arc<Stored> {
    let key = ObjectKey::new(Resource::PODS, "default", "web");
    Arc::new(Stored::new(
        key,
        "u".into(),
        revision,
        Bytes::from_static(json.as_bytes()),
    ))
}

fn change(revision: u64, before: Option<&'static str>, after: &'static str) -> Change {
    Change {
        object: stored(revision, after),
        previous: before.map(|b| stored(revision - 1, b)),
        removed: false,
    }
}

fn revisions(history: &History, after: u64) -> Result<Vec<u64>, Expired> {
    Ok(history
        .since(&Resource::PODS, after)?
        .map(Change::revision)
        .collect())
}

#[test]
fn a_watch_resumes_after_any_revision_that_is_still_held() {
    let mut history = History::new(
        HistoryLimits {
            changes: 3,
            bytes: 1000,
        },
        10,
    );
    for revision in 11..=15 {
        assert!(history.push(&change(revision, None, "{}")));
    }
    assert_eq!(revisions(&history, 12), Ok(vec![13, 14, 15]));
    assert_eq!(revisions(&history, 14), Ok(vec![15]));
    assert_eq!(revisions(&history, 15), Ok(vec![]));
    assert_eq!(
        revisions(&history, 11),
        Err(Expired {
            asked: 11,
            oldest: 12
        })
    );
}

#[test]
fn a_quiet_resource_does_not_expire_while_another_is_busy() {
    let mut history = History::new(
        HistoryLimits {
            changes: 2,
            bytes: 1000,
        },
        10,
    );
    for revision in 11..=30 {
        history.push(&change(revision, None, "{}"));
    }
    assert_eq!(
        history.since(&Resource::SECRETS, 10).expect("held").count(),
        0
    );
    assert!(history.since(&Resource::SECRETS, 9).is_err());
}

#[test]
fn the_past_of_leases_is_shorter() {
    let limits = HistoryLimits {
        changes: 16,
        bytes: 1000,
    };
    let mut history = History::new(limits, 0);
    for revision in 1..=10 {
        let mut renewed = change(revision, None, "{}");
        let key = ObjectKey::new(Resource::LEASES, "kube-node-lease", "n1");
        renewed.object = Arc::new(Stored::new(key, "u".into(), revision, "{}".into()));
        history.push(&renewed);
    }
    let held = history.since(&Resource::LEASES, 8).expect("held");
    assert_eq!(held.map(Change::revision).collect::<Vec<_>>(), [9, 10]);
    assert!(history.since(&Resource::LEASES, 7).is_err());
}

#[test]
fn the_bound_in_bytes_holds_but_the_newest_change_stays() {
    let mut history = History::new(
        HistoryLimits {
            changes: 100,
            bytes: 5,
        },
        0,
    );
    history.push(&change(1, None, "{}"));
    history.push(&change(2, None, "{}"));
    assert_eq!(revisions(&history, 0), Ok(vec![1, 2]));
    history.push(&change(3, None, "{\"long\":true}"));
    assert_eq!(revisions(&history, 2), Ok(vec![3]));
    assert!(revisions(&history, 1).is_err());
}

#[test]
fn what_is_known_already_is_not_added_twice_and_a_gap_ends_what_was_known() {
    let mut history = History::new(HistoryLimits::default(), 0);
    assert!(history.push(&change(1, None, "{}")));
    assert!(!history.push(&change(1, None, "{}")));
    assert!(history.push(&change(5, None, "{}")));
    assert_eq!(revisions(&history, 4), Ok(vec![5]));
    assert!(revisions(&history, 1).is_err());
}

#[test]
fn selections_see_objects_come_and_go() {
    let matches = |s: &Stored| s.json.starts_with(b"{\"a\"");
    let (yes, no) = ("{\"a\":1}", "{}");
    let see = |c: &Change| event_of(c, &matches);
    assert!(matches!(see(&change(2, None, yes)), Some(WatchEvent::Added(o)) if o.revision == 2));
    assert!(matches!(
        see(&change(2, Some(no), yes)),
        Some(WatchEvent::Added(_))
    ));
    assert!(matches!(
        see(&change(2, Some(yes), yes)),
        Some(WatchEvent::Modified(_))
    ));
    assert_eq!(see(&change(2, Some(no), no)), None);
    let Some(WatchEvent::Deleted(left)) = see(&change(2, Some(yes), no)) else {
        panic!("it left the selection");
    };
    assert_eq!((left.revision, &left.json[..]), (2, yes.as_bytes()));
    let mut removal = change(2, Some(yes), yes);
    removal.removed = true;
    assert!(matches!(see(&removal), Some(WatchEvent::Deleted(o)) if o.revision == 2));
    removal.previous = Some(stored(1, no));
    assert_eq!(see(&removal), None);
}
