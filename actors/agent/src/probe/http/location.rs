//! Where a redirect leads.

use super::HttpGet;

/// The target of a `Location` that came in answer to `from`: a whole address, one without scheme,
/// a path, or a path from here.
pub(super) fn resolve(from: &HttpGet, location: &str) -> Result<HttpGet, String> {
    let mut to = from.clone();
    let rest = if let Some(rest) = location.strip_prefix("http://") {
        to.tls = false;
        rest
    } else if let Some(rest) = location.strip_prefix("https://") {
        to.tls = true;
        rest
    } else if let Some(rest) = location.strip_prefix("//") {
        rest
    } else if location.starts_with('/') {
        to.path = location.to_string();
        return Ok(to);
    } else if location.contains("://") {
        return Err(format!("unsupported protocol scheme in {location:?}"));
    } else {
        let path = from.path.split(['?', '#']).next().unwrap_or_default();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        to.path = format!("{parent}/{location}");
        return Ok(to);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (at, path) = rest.split_at(end);
    let at = at.rsplit_once('@').map_or(at, |(_, at)| at);
    let bad = || format!("failed to parse Location header {location:?}");
    let (host, port) = match at.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
            (host, rest.strip_prefix(':'))
        }
        None => match at.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (at, None),
        },
    };
    if host.is_empty() {
        return Err(bad());
    }
    to.port = match port {
        Some(port) => port.parse().map_err(|_| bad())?,
        None if to.tls => 443,
        None => 80,
    };
    to.host = host.to_string();
    to.path = path.to_string();
    Ok(to)
}
