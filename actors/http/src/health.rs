//! `/livez`, `/readyz`, `/healthz`: whether the server is well, as a whole and part by part, in the
//! words that probes and `kubectl get --raw /readyz?verbose` know.

use crate::error;
use crate::request::Context;
use crate::response::{Response, TEXT, answer, full, refusal};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use kabuki_protocol::front::HealthCheck;

/// Answers `/livez`, `/readyz`, `/healthz` and `/livez/CHECK`.
pub fn health(context: &Context, endpoint: &str, check: Option<&str>) -> Response {
    let mut checks = context.front.checks();
    if endpoint == "livez" {
        checks.retain(|c| c.live);
    }
    if let Some(name) = check {
        checks.retain(|c| c.name == name);
        let Some(only) = checks.first() else {
            return refusal(&error::no_such_path());
        };
        return match &only.failure {
            None => text(StatusCode::OK, "ok".to_string()),
            Some(why) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("internal server error: {why}\n"),
            ),
        };
    }
    let excluded: Vec<&str> = context.query.all("exclude").collect();
    let verbose = context.query.get("verbose").is_some();
    let (status, body) = report(endpoint, &checks, &excluded, verbose);
    text(status, body)
}

fn report(
    endpoint: &str,
    checks: &[HealthCheck],
    excluded: &[&str],
    verbose: bool,
) -> (StatusCode, String) {
    let mut lines = String::new();
    let mut failed = false;
    for check in checks {
        let line = match &check.failure {
            _ if excluded.contains(&check.name) => format!("[+]{} excluded: ok\n", check.name),
            None => format!("[+]{} ok\n", check.name),
            Some(why) => {
                failed = true;
                format!("[-]{} failed: {why}\n", check.name)
            }
        };
        lines.push_str(&line);
    }
    let unknown = |e: &&&str| !checks.iter().any(|c| c.name == **e);
    for name in excluded.iter().filter(unknown) {
        lines.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {name:?}\n"
        ));
    }
    match (failed, verbose) {
        (true, _) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("{lines}{endpoint} check failed\n"),
        ),
        (false, true) => (StatusCode::OK, format!("{lines}{endpoint} check passed\n")),
        (false, false) => (StatusCode::OK, "ok".to_string()),
    }
}

fn text(status: StatusCode, body: String) -> Response {
    let mut response = answer(status, TEXT, full(body));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_what_fails_unless_it_is_excluded() {
        let check = |name, failure: Option<&str>| HealthCheck {
            name,
            live: true,
            failure: failure.map(str::to_string),
        };
        let checks = [check("ping", None), check("leader", Some("there is none"))];
        let (status, body) = report("readyz", &checks, &[], false);
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(
            body,
            "[+]ping ok\n[-]leader failed: there is none\nreadyz check failed\n"
        );
        let (status, body) = report("readyz", &checks, &["leader"], true);
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            body,
            "[+]ping ok\n[+]leader excluded: ok\nreadyz check passed\n"
        );
        assert_eq!(report("livez", &checks[..1], &[], false).1, "ok");
    }
}
