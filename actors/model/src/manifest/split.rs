//! Streams taken apart into documents, without reading them.

/// One document.
pub(super) struct Document<'a> {
    /// Beginning with 1; empty ones are counted too.
    pub(super) number: usize,
    /// The line of the stream that it begins at, beginning with 1.
    pub(super) line: usize,
    pub(super) text: &'a str,
    pub(super) json: bool,
}

pub(super) struct Documents<'a> {
    rest: &'a str,
    /// Where `rest` begins.
    line: usize,
    number: usize,
    json: bool,
}

/// A stream whose first character is `{` is JSON values one after the other, as for `kubectl`.
pub(super) fn documents(text: &str) -> Documents<'_> {
    Documents {
        rest: text,
        line: 1,
        number: 0,
        json: text.trim_start().starts_with('{'),
    }
}

impl<'a> Iterator for Documents<'a> {
    type Item = Document<'a>;

    fn next(&mut self) -> Option<Document<'a>> {
        match self.json {
            true => self.next_json(),
            false => self.next_yaml(),
        }
    }
}

impl<'a> Documents<'a> {
    fn take(&mut self, bytes: usize) -> (&'a str, usize) {
        let (text, rest) = self.rest.split_at(bytes);
        let line = self.line;
        self.rest = rest;
        self.line += text.bytes().filter(|b| *b == b'\n').count();
        (text, line)
    }

    fn next_yaml(&mut self) -> Option<Document<'a>> {
        while !self.rest.is_empty() {
            let mut end = self.rest.len();
            let mut at = 0;
            for line in self.rest.split_inclusive('\n') {
                // A marker at the beginning of a line ends a document even inside of block text.
                if at > 0 && is_marker(line) {
                    end = at;
                    break;
                }
                at += line.len();
            }
            self.number += 1;
            let (text, line) = self.take(end);
            if let Some(skipped) = first_content_line(text) {
                return Some(
                    Document {
                        number: self.number,
                        line: line + skipped,
                        text: text.trim_start_matches('\u{feff}'),
                        json: false,
                    }
                    .without_leading_lines(skipped),
                );
            }
        }
        None
    }

    fn next_json(&mut self) -> Option<Document<'a>> {
        let blank = self.rest.len() - self.rest.trim_start().len();
        self.take(blank);
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        if self.rest.starts_with("---") {
            // YAML may follow JSON after a marker.
            self.json = false;
            self.number -= 1;
            return self.next_yaml();
        }
        let mut values =
            serde_json::Deserializer::from_str(self.rest).into_iter::<serde::de::IgnoredAny>();
        let end = match values.next() {
            Some(Ok(_)) => values.byte_offset(),
            // The reader meets the same fault and says where; nothing after it can be found.
            _ => self.rest.len(),
        };
        let (text, line) = self.take(end);
        // `{...}` may also be flow-style YAML; when it is no JSON, it is read as that.
        Some(Document {
            number: self.number,
            line,
            text,
            json: true,
        })
    }
}

impl<'a> Document<'a> {
    fn without_leading_lines(mut self, lines: usize) -> Self {
        for _ in 0..lines {
            self.text = self.text.split_once('\n').map_or("", |(_, rest)| rest);
        }
        self
    }
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// The index of the first line that says anything; `None` when none does.
fn first_content_line(text: &str) -> Option<usize> {
    text.lines().position(|line| {
        let line = match is_marker(line) {
            true => line[3..].trim(),
            false => line.trim(),
        };
        !line.is_empty() && !line.starts_with('#') && !line.starts_with('%') && line != "..."
    })
}
