//! How a process ended, as clients are told on the error channel: a `Status` with the exit code.

use bytes::Bytes;
use kabuki_model::StatusError;
use kabuki_protocol::node::Outcome;
use serde_json::json;

/// The `Status` of an end.
pub(super) fn status(end: &Result<Outcome, StatusError>) -> Bytes {
    let status = match end {
        Ok(Outcome::Complete | Outcome::Exited(0)) => {
            json!({"metadata": {}, "status": "Success"})
        }
        Ok(Outcome::Exited(code)) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => error.to_json(),
    };
    Bytes::from(status.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_a_cause_of_the_status() {
        let text = status(&Ok(Outcome::Exited(3)));
        let status: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(status["reason"], "NonZeroExitCode");
        assert_eq!(status["details"]["causes"][0]["message"], "3");
    }
}
