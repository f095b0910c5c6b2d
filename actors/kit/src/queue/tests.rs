//! Sentences about single keys, then properties of arbitrary histories.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

type Queue = WorkQueue<u8, Duration>;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn queue() -> Queue {
    let (retry_initial, retry_max) = (ms(10), ms(100));
    WorkQueue::new(QueueConfig {
        retry_initial,
        retry_max,
        rate: None,
    })
}

#[test]
fn a_key_added_many_times_is_handed_out_once_and_in_order() {
    let mut queue = queue();
    for key in [3, 1, 3, 2, 1] {
        queue.add(key);
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.next(ms(0))).collect();
    assert_eq!(order, [3, 1, 2]);
}

#[test]
fn a_key_added_while_in_process_comes_again_after_it_is_done() {
    let mut queue = queue();
    queue.add(1);
    assert_eq!(queue.next(ms(0)), Some(1));
    queue.add(1);
    assert_eq!(queue.next(ms(0)), None, "never twice at the same time");
    assert_eq!(queue.next_wakeup(ms(0)), None);
    queue.done(&1);
    assert_eq!(queue.next(ms(0)), Some(1));
    queue.done(&1);
    assert!(queue.is_empty());
}

#[test]
fn failures_back_off_exponentially_up_to_the_cap_and_success_forgets_them() {
    let (mut queue, mut now) = (queue(), ms(0));
    queue.add(1);
    for expected in [10, 20, 40, 80, 100, 100] {
        assert_eq!(queue.next(now), Some(1));
        assert_eq!(queue.retry(&1, now), Some(ms(expected)));
        assert_eq!(queue.next_wakeup(now), Some(now + ms(expected)));
        assert_eq!(queue.next(now + ms(expected - 1)), None);
        now += ms(expected);
    }
    assert_eq!(queue.next(now), Some(1));
    queue.done(&1);
    assert_eq!(queue.failures(&1), 0);
    assert!(queue.is_empty());
}

#[test]
fn news_about_a_failed_key_beat_its_backoff_and_make_it_pointless() {
    let mut queue = queue();
    queue.add(1);
    queue.next(ms(0));
    queue.retry(&1, ms(0));
    queue.add(1);
    assert_eq!(queue.next(ms(1)), Some(1));
    queue.done(&1);
    assert_eq!(queue.next_wakeup(ms(1)), None);

    queue.add(1);
    queue.next(ms(1));
    queue.add(1);
    assert_eq!(queue.retry(&1, ms(1)), Some(Duration::ZERO));
    assert_eq!((queue.next(ms(1)), queue.failures(&1)), (Some(1), 1));
}

#[test]
fn of_several_delays_the_earliest_stands_and_survives_earlier_work() {
    let mut queue = queue();
    queue.add_after(1, ms(0), ms(50));
    queue.add_after(1, ms(0), ms(80));
    queue.add_after(1, ms(0), ms(30));
    queue.add(1);
    assert_eq!(queue.next(ms(0)), Some(1));
    queue.done(&1);
    assert_eq!(queue.next_wakeup(ms(0)), Some(ms(30)));
    assert_eq!(queue.next(ms(29)), None);
    assert_eq!(queue.next(ms(30)), Some(1));
    queue.done(&1);
    assert!(queue.is_empty(), "the later delays were replaced");
}

#[test]
fn forgetting_a_key_drops_its_delays_its_place_and_its_failures() {
    let mut queue = queue();
    queue.add(1);
    queue.next(ms(0));
    queue.retry(&1, ms(0));
    queue.add_after(1, ms(0), ms(5));
    queue.forget(&1);
    queue.add(2);
    queue.forget(&2);
    assert!(queue.is_empty());
    assert_eq!((queue.ready(), queue.waiting()), (0, 0));

    queue.add(3);
    queue.next(ms(0));
    queue.add(3);
    queue.forget(&3);
    assert_eq!(queue.in_process(), 1);
    queue.done(&3);
    assert!(queue.is_empty());
}

#[test]
fn the_rate_lets_a_burst_go_and_then_one_key_per_interval() {
    let rate = Some(Rate {
        interval: ms(10),
        burst: 3,
    });
    let mut queue: Queue = WorkQueue::new(QueueConfig {
        rate,
        ..QueueConfig::default()
    });
    (0..6).for_each(|key| queue.add(key));
    let mut at = Vec::new();
    let mut now = ms(100);
    while let Some(wakeup) = queue.next_wakeup(now) {
        now = wakeup;
        assert!(queue.next(now).is_some(), "a wake-up is never in vain");
        at.push(now.as_millis());
    }
    assert_eq!(at, [100, 100, 100, 110, 120, 130]);
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8),
    AddAfter(u8, u64),
    Next,
    Done(u8),
    Retry(u8),
    Forget(u8),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0u8..4;
    let step = prop_oneof![
        4 => key.clone().prop_map(Step::Add),
        2 => (key.clone(), 0u64..200).prop_map(|(key, delay)| Step::AddAfter(key, delay)),
        5 => Just(Step::Next),
        3 => key.clone().prop_map(Step::Done),
        2 => key.clone().prop_map(Step::Retry),
        1 => key.prop_map(Step::Forget),
        3 => (0u64..60).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..80)
}

proptest! {
    /// No key is in process twice; every key added (and not forgotten) since it was last handed
    /// out comes out in the end; the queue ends empty; `next_wakeup` never lies.
    #[test]
    fn nothing_added_is_lost_and_nothing_runs_twice_at_once(steps in steps(), limited in any::<bool>()) {
        let rate = limited.then_some(Rate { interval: ms(7), burst: 2 });
        let mut queue: Queue = WorkQueue::new(QueueConfig {
            retry_initial: ms(10), retry_max: ms(100), rate,
        });
        let mut now = ms(1_000);
        let mut working = BTreeSet::new();
        let mut owed = BTreeSet::new();
        for step in steps {
            match step {
                Step::Add(key) => { queue.add(key); owed.insert(key); }
                Step::AddAfter(key, delay) => {
                    queue.add_after(key, now, ms(delay));
                    owed.insert(key);
                }
                Step::Next => {
                    let promised = queue.next_wakeup(now) == Some(now);
                    let taken = queue.next(now);
                    // What is due, but for keys in process only, wakes in vain once.
                    prop_assert!(promised || taken.is_none());
                    if let Some(key) = taken {
                        prop_assert!(working.insert(key), "{key} is in process twice");
                        owed.remove(&key);
                    }
                }
                Step::Done(key) => { queue.done(&key); working.remove(&key); }
                Step::Retry(key) => {
                    if queue.retry(&key, now).is_some() { owed.insert(key); }
                    working.remove(&key);
                }
                Step::Forget(key) => { queue.forget(&key); owed.remove(&key); }
                Step::Pass(time) => now += ms(time),
            }
            prop_assert_eq!(queue.in_process(), working.len());
        }
        for key in working { queue.done(&key); }
        let mut handed = BTreeMap::<u8, u32>::new();
        while let Some(wakeup) = queue.next_wakeup(now) {
            prop_assert!(wakeup >= now);
            now = wakeup;
            if let Some(key) = queue.next(now) {
                *handed.entry(key).or_default() += 1;
                queue.done(&key);
            }
            prop_assert!(handed.values().sum::<u32>() < 100, "it never ends");
        }
        // A key with a delay outstanding may have been handed out before it for another reason.
        prop_assert!(owed.iter().all(|key| handed.contains_key(key)), "{:?} of {:?}", handed, owed);
        prop_assert!(queue.is_empty());
    }
}
