use super::*;
use proptest::prelude::*;

fn probe(period: i32, delay: i32, successes: i32, failures: i32) -> Probe {
    Probe {
        period_seconds: Some(period),
        initial_delay_seconds: Some(delay),
        success_threshold: Some(successes),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn fails() -> Outcome {
    Outcome::Failure("no".to_string())
}

#[test]
fn a_probe_begins_after_its_delay_and_keeps_its_rhythm() {
    let mut prober = Prober::new(
        ProbeKind::Liveness,
        &probe(5, 10, 1, 3),
        true,
        1_000,
        false,
        0,
    );
    assert_eq!(prober.due_ms(), 9_000);
    prober.took(Outcome::Success, 9_020);
    assert_eq!(prober.due_ms(), 14_000);
    // One that took longer than a period is due again at once, and then in the old rhythm.
    prober.took(Outcome::Success, 26_500);
    assert_eq!(prober.due_ms(), 24_000);
    prober.took(Outcome::Success, 26_600);
    assert_eq!(prober.due_ms(), 29_000);
}

#[test]
fn an_adopted_probe_goes_on_in_its_old_rhythm() {
    let young = Prober::new(
        ProbeKind::Readiness,
        &probe(10, 0, 1, 3),
        true,
        34_000,
        true,
        500,
    );
    assert_eq!(young.due_ms(), 500 + 6_000);
    let fresh = Prober::new(
        ProbeKind::Readiness,
        &probe(10, 0, 1, 3),
        true,
        34_000,
        false,
        500,
    );
    assert_eq!(fresh.due_ms(), 500);
}

#[test]
fn readiness_turns_after_so_many_results_in_a_row() {
    let mut prober = Prober::new(ProbeKind::Readiness, &probe(1, 0, 2, 3), false, 0, false, 0);
    assert_eq!(prober.took(Outcome::Success, 0).turned, None);
    assert_eq!(prober.took(fails(), 0).turned, None);
    assert_eq!(prober.took(Outcome::Success, 0).turned, None);
    assert_eq!(prober.took(Outcome::Success, 0).turned, Some(true));
    assert_eq!(prober.took(Outcome::Success, 0).turned, None, "it is known");
    assert_eq!(prober.took(fails(), 0).turned, None);
    assert_eq!(prober.took(fails(), 0).turned, None);
    assert_eq!(prober.took(fails(), 0).turned, Some(false));
}

#[test]
fn liveness_and_startup_fail_at_their_threshold() {
    let mut liveness = Prober::new(ProbeKind::Liveness, &probe(1, 0, 1, 2), true, 0, false, 0);
    assert_eq!(liveness.took(Outcome::Success, 0).turned, None);
    assert_eq!(liveness.took(fails(), 0).turned, None);
    assert_eq!(liveness.took(fails(), 0).turned, Some(false));
    let mut startup = Prober::new(ProbeKind::Startup, &probe(1, 0, 1, 1), false, 0, false, 0);
    assert_eq!(startup.took(fails(), 0).turned, Some(false));
    let mut startup = Prober::new(ProbeKind::Startup, &probe(1, 0, 1, 1), false, 0, false, 0);
    assert_eq!(startup.took(Outcome::Success, 0).turned, Some(true));
}

#[test]
fn failures_read_as_kubelet_writes_them() {
    let mut prober = Prober::new(ProbeKind::Readiness, &Probe::default(), false, 0, false, 0);
    let outcome = Outcome::Failure("HTTP probe failed with statuscode: 500".to_string());
    let event = prober.took(outcome, 0).event;
    let text = "Readiness probe failed: HTTP probe failed with statuscode: 500";
    assert_eq!(event, Some(("Unhealthy", text.to_string())));
    assert_eq!((prober.due_ms(), prober.timeout_ms()), (10_000, 1_000));
}

#[test]
fn the_first_attempt_is_at_once_and_later_ones_are_on_a_beat() {
    let kind = ProbeKind::Readiness;
    let mut prober = Prober::new(kind, &probe(1, 0, 1, 3), false, 0, false, 1_234);
    assert_eq!(prober.due_ms(), 1_234);
    prober.took(Outcome::Success, 1_240);
    assert_eq!(prober.due_ms(), 2_250);
    prober.took(Outcome::Success, 2_251);
    assert_eq!(prober.due_ms(), 3_250, "no attempt is moved twice");
    let adopted = Prober::new(kind, &probe(1, 0, 1, 3), false, 700, true, 1_234);
    assert_eq!(adopted.due_ms(), 1_550);
}

proptest! {
    #[test]
    fn a_probe_is_never_due_in_the_far_past_or_future(
        period in 1..60i32,
        ends in prop::collection::vec(0..200_000u64, 1..40),
    ) {
        let mut prober = Prober::new(ProbeKind::Liveness, &probe(period, 0, 1, 3), true, 0, false, 0);
        let period_ms = u64::try_from(period).expect("positive") * 1000;
        let mut now = 0;
        for took in ends {
            now = now.max(prober.due_ms()) + took;
            prober.took(Outcome::Success, now);
            prop_assert!(prober.due_ms() + period_ms > now, "at most one is made up for");
            prop_assert!(prober.due_ms() <= now + period_ms);
            prop_assert_eq!(prober.due_ms() % period_ms, 0, "the rhythm is kept");
        }
    }
}
