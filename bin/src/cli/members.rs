//! `members`: the nodes as members of the cluster, as the leader sees them.

use super::align::Table;
use super::failure::Outcome;
use super::printer::ReportArgs;
use super::session::Session;
use jiff::Timestamp;
use kabuki_model::printing::human_duration;
use kabuki_protocol::join::Role;
use kabuki_protocol::session::MemberInfo;
use serde_json::{Value, json};

/// Arguments of `members`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "VOTE is the part that a server has in the consensus: leader, voter, learner. \
    LAG is how many entries of the log it is behind the leader.\n\n\
    Examples:\n  \
    kabuki members\n  \
    kabuki members -o json\n\n  \
    # The leader's name\n  \
    kabuki members -o jsonpath='{.items[?(@.vote==\"leader\")].name}'"
)]
pub struct MembersArgs {
    #[command(flatten)]
    output: ReportArgs,
}

/// Runs `members`.
pub async fn run(session: &Session, args: MembersArgs) -> Outcome {
    args.output.format()?;
    let members = session.client().await?.members().await?;
    let now = Timestamp::now();
    let items = members.iter().map(value).collect();
    args.output
        .print(&session.out, "MemberList", items, || table(&members, now))
}

fn role(member: &MemberInfo) -> &'static str {
    match member.role {
        Role::Server => "server",
        Role::Worker => "worker",
    }
}

fn value(member: &MemberInfo) -> Value {
    let ends = member.certificate_ends_s;
    let ends = ends.and_then(|s| Timestamp::from_second(s).ok());
    json!({
        "name": member.name, "role": role(member), "vote": member.vote, "lag": member.lag,
        "session": member.session, "heardMilliseconds": member.heard_ms,
        "certificateEnds": ends.map(|at| at.to_string()),
        "address": member.address, "version": member.program,
    })
}

fn table(members: &[MemberInfo], now: Timestamp) -> String {
    let headings = [
        "NAME",
        "ROLE",
        "VOTE",
        "LAG",
        "SESSION",
        "HEARD",
        "CERTIFICATE",
        "ADDRESS",
        "VERSION",
    ];
    let mut rows = vec![headings.map(str::to_string).to_vec()];
    let or_dash = |text: &str| match text.is_empty() {
        true => "-".to_string(),
        false => text.to_string(),
    };
    for member in members {
        rows.push(vec![
            member.name.clone(),
            role(member).to_string(),
            or_dash(&member.vote),
            member.lag.map_or("-".to_string(), |lag| lag.to_string()),
            or_dash(&member.session),
            member.heard_ms.map_or("-".to_string(), heard),
            member
                .certificate_ends_s
                .map_or("-".to_string(), |ends| left(ends, now)),
            or_dash(&member.address),
            or_dash(&member.program),
        ]);
    }
    Table::default().rows(&rows)
}

/// How long ago.
fn heard(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{ms}ms"),
        _ => human_duration(i64::try_from(ms / 1000).unwrap_or(i64::MAX)),
    }
}

/// How long a certificate is still good.
fn left(ends_s: i64, now: Timestamp) -> String {
    match ends_s.saturating_sub(now.as_second()) {
        ..=0 => "ended".to_string(),
        seconds => human_duration(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, role: Role) -> MemberInfo {
        MemberInfo {
            name: name.to_string(),
            role,
            address: "192.0.2.1:6443".to_string(),
            vote: String::new(),
            lag: None,
            session: "connected".to_string(),
            heard_ms: Some(250),
            certificate_ends_s: Some(3600),
            program: "0.1.0".to_string(),
        }
    }

    #[test]
    fn each_member_has_a_row_and_what_is_unknown_a_dash() {
        let leader = MemberInfo {
            vote: "leader".to_string(),
            lag: Some(0),
            session: "self".to_string(),
            heard_ms: None,
            ..member("a", Role::Server)
        };
        let lost = MemberInfo {
            session: "lost".to_string(),
            heard_ms: Some(125_000),
            certificate_ends_s: Some(-5),
            ..member("w", Role::Worker)
        };
        let now = Timestamp::from_second(0).expect("a time");
        let text = table(&[leader, lost], now);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        let address = "192.0.2.1:6443";
        assert_eq!(
            rows[1],
            [
                "a", "server", "leader", "0", "self", "-", "60m", address, "0.1.0"
            ]
        );
        assert_eq!(
            rows[2],
            [
                "w", "worker", "-", "-", "lost", "2m5s", "ended", address, "0.1.0"
            ]
        );
    }

    #[test]
    fn the_json_form_has_exact_values() {
        let value = value(&member("w", Role::Worker));
        assert_eq!(value["certificateEnds"], "1970-01-01T01:00:00Z");
        assert_eq!(value["heardMilliseconds"], 250);
        assert_eq!(value["lag"], Value::Null);
    }
}
