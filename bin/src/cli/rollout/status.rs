//! `rollout status`.

use super::{ChangeArgs, deployments};
use crate::cli::failure::{Failure, Outcome, fail};
use crate::cli::resolver::Found;
use crate::cli::session::Session;
use crate::cli::waiting::{Limit, watch_object};
use kabuki_model::object::Stored;
use serde_json::Value;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Arguments of `rollout status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// TYPE NAME.. or TYPE/NAME..
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    /// Follow it until it is done
    #[arg(
        short,
        long,
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    watch: bool,
    /// How long to wait, for example 1m; 0 is as long as it takes
    #[arg(
        long,
        default_value = "0s",
        hide_default_value = true,
        value_name = "DURATION"
    )]
    timeout: String,
    /// Fail when another revision than this is rolled out meanwhile
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "NUMBER"
    )]
    revision: u64,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `rollout status`.
pub async fn run(session: &Session, args: StatusArgs) -> Outcome {
    let limit = Limit::parse("--timeout", &args.timeout)?;
    for found in deployments(session, &args.what, &args.change, "status").await? {
        match limit.run(follow(session, &args, &found)).await {
            Some(outcome) => outcome?,
            None => fail!("timed out waiting for the condition on {}", found.label()),
        }
    }
    Ok(())
}

async fn follow(session: &Session, args: &StatusArgs, found: &Found) -> Outcome {
    let mut last = String::new();
    let decide = |object: Option<&Arc<Stored>>| {
        let Some(object) = object else {
            return Err(Failure::new(format!(
                "object has been deleted: {}",
                found.label()
            )));
        };
        let (text, done) = progress(&object.to_value()?, args.revision)?;
        if text != last {
            session.out.line(&text)?;
            last = text;
        }
        Ok(match done || !args.watch {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    };
    watch_object(session, found.key(), decide).await
}

/// How far a deployment is, and whether it is done.
fn progress(value: &Value, revision: u64) -> Outcome<(String, bool)> {
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    let (spec, status) = (&value["spec"], &value["status"]);
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    if revision > 0 {
        let current = &value["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
        let current = current.as_str().unwrap_or_default();
        if current != revision.to_string() {
            fail!(
                "desired revision ({revision}) is different from the running revision ({current})"
            );
        }
    }
    if number(&value["metadata"]["generation"]) > number(&status["observedGeneration"]) {
        return Ok((
            "Waiting for deployment spec update to be observed...".to_string(),
            false,
        ));
    }
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    let late = |c: &&Value| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded";
    if conditions.any(|c| late(&c)) {
        fail!("deployment {name:?} exceeded its progress deadline");
    }
    let (desired, updated) = (
        number(&spec["replicas"]),
        number(&status["updatedReplicas"]),
    );
    let (all, available) = (
        number(&status["replicas"]),
        number(&status["availableReplicas"]),
    );
    let waiting = format!("Waiting for deployment {name:?} rollout to finish: ");
    if updated < desired {
        let text = format!("{waiting}{updated} out of {desired} new replicas have been updated...");
        return Ok((text, false));
    }
    if all > updated {
        let text = format!(
            "{waiting}{} old replicas are pending termination...",
            all - updated
        );
        return Ok((text, false));
    }
    if available < updated {
        let text = format!("{waiting}{available} of {updated} updated replicas are available...");
        return Ok((text, false));
    }
    Ok((format!("deployment {name:?} successfully rolled out"), true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(status: Value) -> String {
        let value = json!({
            "metadata": {"name": "web", "generation": 2},
            "spec": {"replicas": 3}, "status": status,
        });
        match progress(&value, 0) {
            Ok((text, _)) => text,
            Err(failure) => failure.text(),
        }
    }

    #[test]
    fn every_stage_has_its_line() {
        let head = "Waiting for deployment \"web\" rollout to finish: ";
        assert_eq!(
            shown(json!({"observedGeneration": 1})),
            "Waiting for deployment spec update to be observed..."
        );
        assert_eq!(
            shown(json!({"observedGeneration": 2, "updatedReplicas": 1})),
            format!("{head}1 out of 3 new replicas have been updated...")
        );
        assert_eq!(
            shown(json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 4})),
            format!("{head}1 old replicas are pending termination...")
        );
        let available = |n: i64| {
            json!({
                "observedGeneration": 2, "updatedReplicas": 3, "replicas": 3,
                "availableReplicas": n,
            })
        };
        assert_eq!(
            shown(available(2)),
            format!("{head}2 of 3 updated replicas are available...")
        );
        assert_eq!(
            shown(available(3)),
            "deployment \"web\" successfully rolled out"
        );
        assert_eq!(
            shown(json!({
                "observedGeneration": 2,
                "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}],
            })),
            "error: deployment \"web\" exceeded its progress deadline"
        );
    }
}
