//! From the lines of a log file to what the caller wants of them:
//! `2026-01-02T03:04:05.678901234Z stdout F text`.

use jiff::Timestamp;
use kabuki_protocol::node::{LogRequest, LogStream};

/// Takes a file's bytes and gives the wanted ones.
pub(super) struct Filter {
    since: Option<Timestamp>,
    timestamps: bool,
    /// Bytes that may still be sent.
    left: Option<u64>,
    /// The only stream whose lines are shown.
    stream: Option<&'static [u8]>,
    /// A line whose end has not been read yet.
    rest: Vec<u8>,
    /// The next line goes on with the present one.
    within_line: bool,
}

impl Filter {
    pub fn new(request: &LogRequest) -> Self {
        let since = request.since_ns.map(i128::from);
        Self {
            since: since.and_then(|ns| Timestamp::from_nanosecond(ns).ok()),
            timestamps: request.timestamps,
            left: request.limit_bytes,
            stream: match request.stream {
                LogStream::All => None,
                LogStream::Stdout => Some(b"stdout"),
                LogStream::Stderr => Some(b"stderr"),
            },
            rest: Vec::new(),
            within_line: false,
        }
    }

    /// Whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        self.rest.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.rest);
        let mut lines = held.split_inclusive(|b| *b == b'\n');
        for line in &mut lines {
            match line.strip_suffix(b"\n") {
                Some(whole) => self.line(whole, &mut out),
                None => self.rest = line.to_vec(),
            }
        }
        self.limit(&mut out);
        out
    }

    /// What is left at the end: a line without its end is shown as it is.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.line(&rest, &mut out);
        }
        self.limit(&mut out);
        out
    }

    fn limit(&mut self, out: &mut Vec<u8>) {
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let mut words = line.splitn(4, |b| *b == b' ');
        let (Some(time), Some(stream), Some(tag), Some(text)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return;
        };
        if self.stream.is_some_and(|wanted| wanted != stream) {
            return;
        }
        if let Some(since) = self.since {
            let at = std::str::from_utf8(time)
                .ok()
                .and_then(|t| t.parse::<Timestamp>().ok());
            if at.is_none_or(|at| at < since) {
                return;
            }
        }
        if self.timestamps && !self.within_line {
            out.extend_from_slice(time);
            out.push(b' ');
        }
        out.extend_from_slice(text);
        self.within_line = tag.first() == Some(&b'P');
        if !self.within_line {
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_protocol::node::PodRef;

    const LOG: &[u8] = b"2026-01-02T03:04:05.000000001Z stdout F one\n\
        2026-01-02T03:04:06Z stderr P tw\n2026-01-02T03:04:06Z stderr F o\n\
        2026-01-02T03:04:07Z stdout F \n";

    fn request() -> LogRequest {
        LogRequest {
            pod: PodRef {
                namespace: String::new(),
                name: String::new(),
            },
            container: String::new(),
            follow: false,
            previous: false,
            tail_lines: None,
            since_ns: None,
            timestamps: false,
            limit_bytes: None,
            stream: LogStream::All,
        }
    }

    fn run(request: LogRequest, step: usize) -> String {
        let mut filter = Filter::new(&request);
        let mut out = Vec::new();
        for chunk in LOG.chunks(step) {
            out.extend(filter.feed(chunk));
        }
        out.extend(filter.finish());
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn lines_come_out_whole_however_they_are_read() {
        for step in [1, 7, 1000] {
            assert_eq!(run(request(), step), "one\ntwo\n\n");
        }
    }

    #[test]
    fn times_are_shown_and_asked_for() {
        let shown = run(
            LogRequest {
                timestamps: true,
                ..request()
            },
            9,
        );
        assert!(
            shown.starts_with("2026-01-02T03:04:05.000000001Z one\n2026-01-02T03:04:06Z two\n")
        );
        let since: Timestamp = "2026-01-02T03:04:06Z".parse().expect("a time");
        let since_ns = i64::try_from(since.as_nanosecond()).ok();
        assert_eq!(
            run(
                LogRequest {
                    since_ns,
                    ..request()
                },
                100
            ),
            "two\n\n"
        );
    }

    #[test]
    fn one_stream_is_shown_alone() {
        for (stream, shown) in [(LogStream::Stdout, "one\n\n"), (LogStream::Stderr, "two\n")] {
            let request = LogRequest {
                stream,
                ..request()
            };
            assert_eq!(run(request, 7), shown);
        }
    }

    #[test]
    fn a_limit_cuts_in_the_middle_of_a_line() {
        assert_eq!(
            run(
                LogRequest {
                    limit_bytes: Some(5),
                    ..request()
                },
                100
            ),
            "one\nt"
        );
        assert_eq!(
            run(
                LogRequest {
                    limit_bytes: Some(5),
                    ..request()
                },
                3
            ),
            "one\nt"
        );
    }
}
