//! What real clients send, replayed: the requests of `kubectl` and of client-go's informers as they
//! were recorded, with headers and bodies, and what they must be answered, but for uids, revisions
//! and times.
//!
//! A transcript is a text of exchanges:
//!
//! ```text
//! # events: 2                        of a watch: how many it is read for
//! > GET /api/v1/services?watch=true&resourceVersion={listVersion}
//! > Accept: application/json
//! >
//! > the body, or `base64:` and the body
//! < 200 application/json
//! < the answer
//! ```
//!
//! `{resourceVersion}` and `{uid}` are those of the last object that was answered, `{listVersion}` is
//! that of the last list. With `KABUKI_BLESS` in the environment, the answers are written down anew:
//! read what changes.

#[path = "transcripts/answer.rs"]
mod answer;

use answer::Seen;
use base64::Engine;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use kabuki_tests::harness::{Daemon, Web, until};
use std::path::PathBuf;
use std::time::Duration;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/transcripts");

/// One exchange: what stands above it, the request's lines, and the answer's.
#[derive(Default)]
struct Exchange {
    notes: Vec<String>,
    request: Vec<String>,
    answer: Vec<String>,
}

impl Exchange {
    /// The exchanges of a transcript, which blank lines part.
    fn all(text: &str) -> Vec<Self> {
        text.split("\n\n").map(Self::parse).collect()
    }

    fn parse(text: &str) -> Self {
        let mut exchange = Self::default();
        for line in text.lines() {
            let (mark, rest) = line.split_at(line.len().min(1));
            let rest = rest.strip_prefix(' ').unwrap_or(rest).to_string();
            match mark {
                "#" => exchange.notes.push(rest),
                ">" => exchange.request.push(rest),
                "<" => exchange.answer.push(rest),
                _ => panic!("no line of a transcript: {line:?}"),
            }
        }
        exchange
    }

    fn text(&self) -> String {
        let lines = |mark: &str, lines: &[String]| -> String {
            let line = |l: &String| format!("{mark} {l}").trim_end().to_string() + "\n";
            lines.iter().map(line).collect()
        };
        let notes = lines("#", &self.notes);
        notes + &lines(">", &self.request) + &lines("<", &self.answer)
    }

    /// How many events of a watch are read.
    fn events(&self) -> usize {
        let notes = self.notes.iter();
        let mut counts = notes.filter_map(|n| n.strip_prefix("events: ")?.parse().ok());
        counts.next().unwrap_or(0)
    }

    fn request(&self, seen: &Seen) -> anyhow::Result<Request<Full<Bytes>>> {
        let lines: Vec<String> = self.request.iter().map(|l| seen.fill_in(l)).collect();
        let (first, rest) = lines.split_first().expect("a request has a first line");
        let (method, path) = first.split_once(' ').expect("a method and a path");
        let mut request = Request::builder().method(method).uri(path);
        let end = rest.iter().position(String::is_empty).unwrap_or(rest.len());
        for header in &rest[..end] {
            let (name, value) = header.split_once(": ").expect("a header");
            request = request.header(name, value);
        }
        let body = rest.get(end + 1..).unwrap_or_default().join("\n");
        let body = match body.strip_prefix("base64:") {
            Some(encoded) => base64::engine::general_purpose::STANDARD.decode(encoded)?,
            None => body.into_bytes(),
        };
        Ok(request.body(Full::new(Bytes::from(body)))?)
    }
}

async fn replay(web: &Web<'_>, exchanges: &[Exchange]) -> anyhow::Result<Vec<Vec<String>>> {
    let mut seen = Seen::default();
    let mut answers = Vec::new();
    for exchange in exchanges {
        let request = exchange.request(&seen)?;
        let path = request.uri().path().to_string();
        let answer = match request
            .uri()
            .query()
            .is_some_and(|q| q.contains("watch=true"))
        {
            true => {
                answer::of_watch(web.open(request).await?, exchange.events(), &mut seen).await?
            }
            false => answer::of(&web.send(request).await?, &path, &mut seen)?,
        };
        answers.push(answer);
    }
    Ok(answers)
}

fn replayed(name: &str) {
    let path = PathBuf::from(FOLDER).join(name);
    let text = std::fs::read_to_string(&path).expect("a transcript");
    let mut exchanges = Exchange::all(&text);
    let node = Daemon::start();
    // What every cluster has after a moment.
    until(
        "the controllers have begun",
        Duration::from_secs(30),
        || {
            let begun = ["cm/kube-root-ca.crt", "service/kubernetes"];
            let there = |object: &&str| node.cli(&["get", object]).code == 0;
            begun.iter().all(there).then_some(())
        },
    );
    let web = Web::admin(&node).expect("a kubeconfig");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let answers = runtime.block_on(replay(&web, &exchanges));
    let mut wrong = String::new();
    for (exchange, answer) in exchanges.iter_mut().zip(answers.expect("all are answered")) {
        let expected = std::mem::replace(&mut exchange.answer, answer);
        if expected != exchange.answer {
            let (was, is) = (expected.join("\n"), exchange.answer.join("\n"));
            wrong += &format!("{}\nexpected:\n{was}\nbut:\n{is}\n\n", exchange.request[0]);
        }
    }
    if std::env::var_os("KABUKI_BLESS").is_some() {
        let text: Vec<String> = exchanges.iter().map(Exchange::text).collect();
        std::fs::write(path, text.join("\n")).expect("writes");
        return;
    }
    assert!(wrong.is_empty(), "{name}:\n{wrong}");
}

#[test]
fn kubectl_apply_is_answered_as_written_down() {
    replayed("kubectl-apply.txt");
}

#[test]
fn kubectl_apply_server_side_is_answered_as_written_down() {
    replayed("kubectl-apply-server-side.txt");
}

#[test]
fn kubectl_get_is_answered_as_written_down() {
    replayed("kubectl-get.txt");
}

#[test]
fn kubectl_with_a_deployment_is_answered_as_written_down() {
    replayed("kubectl-deployment.txt");
}

#[test]
fn the_informers_of_client_go_are_answered_as_written_down() {
    replayed("client-go-informers.txt");
}
