//! One GET over HTTP/1.1, as Kubernetes' prober does it: no connection is kept, certificates are
//! not verified, redirects are followed as long as they stay on the same host, and of the body
//! only its beginning is read.

use super::{ANSWER_MAX, USER_AGENT, joined, tls, worded};
use kabuki_lifecycle::probe::Outcome;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

mod location;

/// So many redirects are followed.
const REDIRECTS: usize = 10;
/// Status line and headers are not longer, in bytes.
const HEAD_MAX: usize = 64 << 10;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpGet {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub path: String,
    pub headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub code: u16,
    pub body: Vec<u8>,
    /// It sends to another host, where nobody goes.
    pub leaves: bool,
}

/// The head of an answer.
struct Head {
    code: u16,
    location: Option<String>,
    length: Option<usize>,
    is_chunked: bool,
}

/// Probes: an answer from 200 to 399 within the limit is a success.
pub(super) async fn probe(wanted: &HttpGet, limit: Duration) -> Outcome {
    let Ok(got) = tokio::time::timeout(limit, get(wanted)).await else {
        let text = format!(
            "Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            wanted.url()
        );
        return Outcome::Failure(text);
    };
    match got {
        Err(why) => Outcome::Failure(why),
        Ok(response) if response.leaves => {
            let body = String::from_utf8_lossy(&response.body);
            Outcome::Warning(format!("Probe terminated redirects, Response body: {body}"))
        }
        Ok(Response { code: 200..400, .. }) => Outcome::Success,
        Ok(Response { code, .. }) => {
            Outcome::Failure(format!("HTTP probe failed with statuscode: {code}"))
        }
    }
}

/// Gets, and follows redirects.
///
/// # Errors
/// When there is no answer, why.
pub(super) async fn get(wanted: &HttpGet) -> Result<Response, String> {
    let mut next = wanted.clone();
    for _ in 0..=REDIRECTS {
        let (head, body) = once(&next)
            .await
            .map_err(|why| format!("Get {:?}: {why}", next.url()))?;
        let moved = matches!(head.code, 301 | 302 | 303 | 307 | 308);
        let target = match head.location.filter(|_| moved) {
            Some(location) => location::resolve(&next, &location)
                .map_err(|why| format!("Get {:?}: {why}", next.url()))?,
            None => {
                return Ok(Response {
                    code: head.code,
                    body,
                    leaves: false,
                });
            }
        };
        if target.host != wanted.host {
            return Ok(Response {
                code: head.code,
                body,
                leaves: true,
            });
        }
        next = target;
    }
    let url = next.url();
    Err(format!("Get {url:?}: stopped after {REDIRECTS} redirects"))
}

async fn once(wanted: &HttpGet) -> Result<(Head, Vec<u8>), String> {
    let to = joined(&wanted.host, wanted.port);
    let stream = TcpStream::connect((wanted.host.as_str(), wanted.port)).await;
    let stream = stream.map_err(|e| format!("dial tcp {to}: connect: {}", worded(&e)))?;
    match wanted.tls {
        // Nothing is under way that its one small segment could wait for.
        false => exchange(stream, wanted).await,
        true => {
            let _ = stream.set_nodelay(true);
            let stream = tls::connect(stream, &wanted.host, &[]).await;
            exchange(stream.map_err(|e| worded(&e))?, wanted).await
        }
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    wanted: &HttpGet,
) -> Result<(Head, Vec<u8>), String> {
    let request = wanted.request()?;
    let written = stream.write_all(request.as_bytes()).await;
    written.map_err(|e| format!("write: {}", worded(&e)))?;
    let mut held = Vec::with_capacity(1024);
    let (head, begin) = loop {
        // What comes before the answer proper (100, 103) is passed over.
        match end_of_head(&held) {
            Some(end) => {
                let head = parse(&held[..end])?;
                if (100..200).contains(&head.code) {
                    held.drain(..end);
                    continue;
                }
                break (head, end);
            }
            None if held.len() > HEAD_MAX => return Err("headers exceeded 65536 bytes".into()),
            None => {}
        }
        if read(&mut stream, &mut held).await? == 0 {
            return Err("EOF".to_string());
        }
    };
    let mut body = held.split_off(begin);
    let bare = matches!(head.code, 204 | 304);
    let enough = head.length.unwrap_or(ANSWER_MAX).min(ANSWER_MAX);
    while !bare && body.len() < enough && !(head.is_chunked && body.ends_with(b"0\r\n\r\n")) {
        // An end that comes early is the server's way to end a body of no known length.
        match read(&mut stream, &mut body).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(why) => match head.length {
                Some(_) => return Err(why),
                None => break,
            },
        }
    }
    body.truncate(enough);
    Ok((head, body))
}

async fn read(stream: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> Result<usize, String> {
    into.reserve(1024);
    let got = stream.read_buf(into).await;
    got.map_err(|e| format!("read: {}", worded(&e)))
}

/// Where the body begins.
fn end_of_head(held: &[u8]) -> Option<usize> {
    let at = held.windows(4).position(|w| w == b"\r\n\r\n");
    at.map(|at| at + 4).or_else(|| {
        let at = held.windows(2).position(|w| w == b"\n\n");
        at.map(|at| at + 2)
    })
}

fn parse(head: &[u8]) -> Result<Head, String> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let malformed = || format!("malformed HTTP response {first:?}");
    let (version, rest) = first.split_once(' ').ok_or_else(malformed)?;
    let code = rest.split(' ').next().and_then(|c| c.parse().ok());
    let code = code.filter(|c| (100..1000).contains(c));
    if !version.starts_with("HTTP/") {
        return Err(malformed());
    }
    let mut head = Head {
        code: code.ok_or_else(malformed)?,
        location: None,
        length: None,
        is_chunked: false,
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "location" => head.location = Some(value.to_string()),
            "content-length" => head.length = value.parse().ok(),
            "transfer-encoding" => head.is_chunked = value.eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
    Ok(head)
}

impl HttpGet {
    pub(super) fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let at = joined(&self.host, self.port);
        format!("{scheme}://{at}{}", self.target())
    }

    fn target(&self) -> String {
        let path = self.path.split('#').next().unwrap_or_default();
        match path.starts_with('/') {
            true => path.to_string(),
            false => format!("/{path}"),
        }
    }

    fn request(&self) -> Result<String, String> {
        let own = |name: &str| {
            let mut headers = self.headers.iter();
            let found = headers.find(|(n, _)| n.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str())
        };
        let breaks = |text: &str| text.contains(['\r', '\n']);
        let mut given = self.headers.iter();
        if breaks(&self.target()) || given.any(|(name, value)| breaks(name) || breaks(value)) {
            return Err("a header or the path contains the end of a line".to_string());
        }
        let at = joined(&self.host, self.port);
        let mut text = format!("GET {} HTTP/1.1\r\n", self.target().replace(' ', "%20"));
        let mut line = |name: &str, value: &str| {
            text.push_str(&format!("{name}: {value}\r\n"));
        };
        line("Host", own("host").filter(|h| !h.is_empty()).unwrap_or(&at));
        // An empty one is left out altogether.
        for (name, default) in [("User-Agent", USER_AGENT), ("Accept", "*/*")] {
            match own(name) {
                None => line(name, default),
                Some("") => {}
                Some(value) => line(name, value),
            }
        }
        for (name, value) in &self.headers {
            let known = ["host", "user-agent", "accept", "connection"];
            if !known.iter().any(|k| name.eq_ignore_ascii_case(k)) {
                line(name, value);
            }
        }
        line("Connection", "close");
        text.push_str("\r\n");
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
