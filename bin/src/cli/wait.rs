//! `wait`: until a condition holds.

use super::failure::{Failure, Outcome, fail};
use super::resolver::{self, FileArgs, Found, SelectArgs};
use super::session::Session;
use super::waiting::{Limit, duration, until_gone, watch_object};
use kabuki_model::jsonpath::{self, JsonPath};
use kabuki_model::kind::Kind;
use kabuki_model::object::{ObjectKey, Stored};
use serde_json::Value;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki wait --for=condition=Ready pod/web-1 --timeout=30s\n  \
    kabuki wait --for=condition=Available=false deploy/web\n  \
    kabuki wait --for=jsonpath='{.status.phase}'=Running pod -l app=web\n  \
    kabuki wait --for=delete pod/web-1\n  \
    kabuki wait --for=create configmap/settings")]
pub struct WaitArgs {
    /// TYPE NAME.. or TYPE/NAME..
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    /// condition=NAME[=VALUE], jsonpath=PATH[=VALUE], delete or create
    #[arg(long = "for", value_name = "CONDITION")]
    condition: String,
    /// How long to wait; 0 looks once, a negative time is a week
    #[arg(
        long,
        default_value = "30s",
        allow_hyphen_values = true,
        value_name = "DURATION"
    )]
    timeout: String,
    /// All objects of the type
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    select: SelectArgs,
}

/// What is waited for.
#[derive(Debug, PartialEq)]
enum Goal {
    Deleted,
    Created,
    Condition {
        name: String,
        value: String,
    },
    Path {
        path: JsonPath,
        value: Option<String>,
    },
}

/// A negative time limit of `wait` is this: a week.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Runs `wait`.
pub async fn run(session: &Session, args: WaitArgs) -> Outcome {
    let goal = Goal::parse(&args.condition)?;
    let timeout = duration("--timeout", args.timeout.trim_start_matches('-'))?;
    let limit = match args.timeout.starts_with('-') {
        true => Limit::after(LONGEST),
        false if timeout.is_zero() => Limit::after(Duration::from_millis(100)),
        false => Limit::of(timeout),
    };
    if goal == Goal::Created {
        return created(session, &args, &limit).await;
    }
    let findings = resolver::find_either(session, &args.what, &args.select, &args.files).await?;
    let mut failures = findings.failures;
    if goal == Goal::Deleted {
        failures.retain(|f| !f.is_not_found());
    } else if findings.found.is_empty() && failures.is_empty() {
        fail!("no matching resources found");
    }
    let waits = findings
        .found
        .iter()
        .map(|found| reached(session, found, &goal, &limit));
    for outcome in futures::future::join_all(waits).await {
        if let Err(failure) = outcome {
            failures.push(failure);
        }
    }
    Failure::gather(failures)
}

async fn reached(session: &Session, found: &Found, goal: &Goal, limit: &Limit) -> Outcome {
    let key = found.key();
    if *goal == Goal::Deleted {
        until_gone(session, found, limit)
            .await
            .map_err(|failure| match failure {
                Failure::Local(_) => timed_out(found.kind, key),
                other => other,
            })?;
        return met(session, found.kind, key);
    }
    let decide = |object: Option<&Arc<Stored>>| {
        let Some(object) = object else {
            return Err(Failure::new(format!(
                "{} was deleted meanwhile",
                found.label()
            )));
        };
        Ok(match goal.holds(&object.to_value()?) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    };
    match limit.run(watch_object(session, key, decide)).await {
        Some(outcome) => outcome?,
        None => return Err(timed_out(found.kind, key)),
    }
    met(session, found.kind, key)
}

async fn created(session: &Session, args: &WaitArgs, limit: &Limit) -> Outcome {
    let wanted = resolver::parse(&args.what)?;
    if wanted.iter().any(|w| w.names.is_empty()) {
        fail!("--for=create waits for objects by name: TYPE/NAME");
    }
    for wanted in wanted {
        for name in &wanted.names {
            let namespace = session.namespace()?;
            let key = session.key(wanted.kind, &namespace, name);
            let decide = |object: Option<&Arc<Stored>>| {
                Ok(match object {
                    Some(_) => ControlFlow::Break(()),
                    None => ControlFlow::Continue(()),
                })
            };
            match limit.run(watch_object(session, &key, decide)).await {
                Some(outcome) => outcome?,
                None => return Err(timed_out(wanted.kind, &key)),
            }
            met(session, wanted.kind, &key)?;
        }
    }
    Ok(())
}

fn met(session: &Session, kind: &Kind, key: &ObjectKey) -> Outcome {
    session.out.line(format!(
        "{} condition met",
        resolver::label(kind, &key.name)
    ))
}

fn timed_out(kind: &Kind, key: &ObjectKey) -> Failure {
    Failure::new(format!(
        "timed out waiting for the condition on {}/{}",
        kind.resource.plural(),
        key.name
    ))
}

impl Goal {
    fn parse(text: &str) -> Outcome<Self> {
        let lower = text.to_lowercase();
        if lower == "delete" {
            return Ok(Self::Deleted);
        }
        if lower == "create" {
            return Ok(Self::Created);
        }
        if let Some(rest) = text.strip_prefix("condition=") {
            let (name, value) = rest.split_once('=').unwrap_or((rest, "true"));
            return Ok(Self::Condition {
                name: name.to_string(),
                value: value.to_string(),
            });
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let rest = rest.trim_matches('\'');
            // What follows the closing brace; a path may hold `=` itself.
            let (path, value) = match rest.rfind('}') {
                Some(at) => (&rest[..=at], rest[at + 1..].strip_prefix('=')),
                None => rest
                    .split_once('=')
                    .map_or((rest, None), |(p, v)| (p, Some(v))),
            };
            let value = value.map(|v| v.trim_matches(['\'', '"']).to_string());
            return Ok(Self::Path {
                path: JsonPath::parse_relaxed(path)?,
                value,
            });
        }
        fail!(
            "unrecognized condition: {text:?}; use condition=NAME[=VALUE], jsonpath=PATH[=VALUE], \
             delete or create"
        )
    }

    fn holds(&self, object: &Value) -> bool {
        match self {
            Self::Deleted => false,
            Self::Created => true,
            Self::Condition { name, value } => {
                let generation = object["metadata"]["generation"].as_i64();
                let observed = object["status"]["observedGeneration"].as_i64();
                // A status that is older than the spec says nothing of it.
                if observed.is_some() && observed < generation {
                    return false;
                }
                let mut conditions = object["status"]["conditions"]
                    .as_array()
                    .into_iter()
                    .flatten();
                let found = conditions.find(|c| {
                    c["type"]
                        .as_str()
                        .is_some_and(|t| t.eq_ignore_ascii_case(name))
                });
                let status = found.and_then(|c| c["status"].as_str());
                status.is_some_and(|s| s.eq_ignore_ascii_case(value))
            }
            Self::Path { path, value } => {
                let found = path.find(object).unwrap_or_default();
                match value {
                    None => !found.is_empty(),
                    Some(value) => found.iter().any(|f| jsonpath::shown(f) == *value),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(goal: &str, object: Value) -> bool {
        Goal::parse(goal).expect("parses").holds(&object)
    }

    #[test]
    fn conditions_are_compared_without_case() {
        let pod = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert!(holds("condition=ready", pod.clone()));
        assert!(!holds("condition=Ready=false", pod.clone()));
        assert!(!holds("condition=Available", pod));
    }

    #[test]
    fn a_status_of_an_older_generation_does_not_count() {
        let deployment = |observed: i64| {
            json!({
                "metadata": {"generation": 2},
                "status": {
                    "observedGeneration": observed,
                    "conditions": [{"type": "Available", "status": "True"}],
                },
            })
        };
        assert!(!holds("condition=Available", deployment(1)));
        assert!(holds("condition=Available", deployment(2)));
    }

    #[test]
    fn paths_have_values_or_exist() {
        let pod = json!({"status": {"phase": "Running"}});
        assert!(holds("jsonpath='{.status.phase}'=Running", pod.clone()));
        assert!(holds("jsonpath={.status.phase}", pod.clone()));
        assert!(!holds("jsonpath={.status.podIP}", pod.clone()));
        assert!(!holds("jsonpath={.status.phase}=Pending", pod));
        assert!(Goal::parse("ready").is_err());
    }
}
