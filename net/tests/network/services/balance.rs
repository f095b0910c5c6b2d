//! Whom connections go to.

use std::collections::BTreeSet;

use super::{Proxy, ask, numbered, service};
use crate::world::on_node;

/// Beyond this, balance as even as ours has a probability below one in a million: the quantiles
/// of chi-square, by the degrees of freedom.
const LIMITS: [(u16, f64); 5] = [(1, 23.9), (2, 27.6), (4, 33.4), (6, 38.3), (9, 44.8)];

#[test]
fn connections_spread_evenly_over_any_number_of_endpoints() {
    on_node(|node| async move {
        let (client, server) = (node.pod("10.244.3.2").await, node.pod("10.244.3.3").await);
        let all = numbered(&server, 10).await;
        let mut proxy = Proxy::new(&node);
        for (freedom, limit) in LIMITS {
            let count = usize::from(freedom) + 1;
            proxy.set(&service("10.96.0.10"), &all[..count]);
            let answers = ask(&client.netns, "10.96.0.10:80", 200 * count).await;
            let mut counts = vec![0f64; count];
            for answer in answers {
                counts[usize::from(answer)] += 1.0;
            }
            let expected = 200.0;
            let chi_square: f64 = counts
                .iter()
                .map(|n| (n - expected).powi(2) / expected)
                .sum();
            assert!(
                chi_square < limit,
                "{count} endpoints: {counts:?}: {chi_square}"
            );
        }
    });
}

#[test]
fn a_client_with_affinity_comes_back_to_the_same_endpoint_until_that_is_gone() {
    on_node(|node| async move {
        let server = node.pod("10.244.3.3").await;
        let all = numbered(&server, 7).await;
        let mut proxy = Proxy::new(&node);
        let mut web = service("10.96.0.10");
        web.affinity_s = Some(600);
        proxy.set(&web, &all);
        let mut chosen = BTreeSet::new();
        for number in 10..30 {
            let client = node.pod(&format!("10.244.3.{number}")).await;
            let answers = ask(&client.netns, "10.96.0.10:80", 12).await;
            let first = answers[0];
            assert!(answers.iter().all(|a| *a == first), "{answers:?}");
            chosen.insert(first);
            if number > 10 {
                continue;
            }
            // Its endpoint goes: the client gets another, and keeps that.
            let mut left = all.clone();
            left.remove(usize::from(first));
            proxy.set(&web, &left);
            let answers = ask(&client.netns, "10.96.0.10:80", 12).await;
            assert!(answers.iter().all(|a| *a == answers[0] && *a != first));
            let trace = proxy.trace("10.96.0.10:80", Some("10.244.3.10"), &[]);
            assert!(
                matches!(trace.fate, kabuki_net::Fate::Again(t) if t.port == 8000 + u16::from(answers[0])),
                "{trace:?}"
            );
            proxy.set(&web, &all);
        }
        assert!(chosen.len() > 1, "clients differ");
    });
}

#[test]
fn affinity_ends_after_its_time_without_a_connection() {
    on_node(|node| async move {
        let (client, server) = (node.pod("10.244.3.2").await, node.pod("10.244.3.3").await);
        let all = numbered(&server, 10).await;
        let mut proxy = Proxy::new(&node);
        let mut web = service("10.96.0.10");
        web.affinity_s = Some(1);
        proxy.set(&web, &all);
        let first = ask(&client.netns, "10.96.0.10:80", 1).await[0];
        // Each new choice is another one with nine in ten; a hundred seconds are patience only.
        let mut next = first;
        for _ in 0..50 {
            tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
            next = ask(&client.netns, "10.96.0.10:80", 1).await[0];
            if next != first {
                break;
            }
        }
        assert_ne!(next, first);
    });
}
