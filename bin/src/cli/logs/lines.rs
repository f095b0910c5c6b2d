//! Whole lines out of chunks, so that logs that are shown at once do not cut each other.

/// The longest beginning of a line that is held back.
const MAX_HELD_BYTES: usize = 64 << 10;

/// Gathers lines and writes a prefix before each.
#[derive(Debug)]
pub struct Lines {
    prefix: Vec<u8>,
    held: Vec<u8>,
    /// Whether the beginning of the present line is already out.
    begun: bool,
}

impl Lines {
    /// Lines with a prefix.
    pub fn new(prefix: String) -> Self {
        Self {
            prefix: prefix.into_bytes(),
            held: Vec::new(),
            begun: false,
        }
    }

    /// What can be shown after a chunk.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        let end = match self.held.iter().rposition(|b| *b == b'\n') {
            Some(at) => at + 1,
            None if self.held.len() > MAX_HELD_BYTES => self.held.len(),
            None => return Vec::new(),
        };
        let rest = self.held.split_off(end);
        let whole = std::mem::replace(&mut self.held, rest);
        self.prefixed(&whole)
    }

    /// What was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        self.prefixed(&held)
    }

    fn prefixed(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.prefix.is_empty() {
            return bytes.to_vec();
        }
        let mut out = Vec::with_capacity(bytes.len() + self.prefix.len());
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            if !self.begun {
                out.extend_from_slice(&self.prefix);
            }
            out.extend_from_slice(line);
            self.begun = line.last() != Some(&b'\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_become_whole_lines() {
        let mut lines = Lines::new("[a] ".to_string());
        assert_eq!(lines.push(b"on"), b"");
        assert_eq!(lines.push(b"e\ntw"), b"[a] one\n");
        assert_eq!(lines.finish(), b"[a] tw");
    }

    #[test]
    fn an_endless_line_is_not_held_back_for_ever() {
        let mut lines = Lines::new("[a] ".to_string());
        let out = lines.push(&vec![b'x'; MAX_HELD_BYTES + 1]);
        assert_eq!(out.len(), MAX_HELD_BYTES + 1 + 4);
        assert_eq!(lines.push(b"y\nz\n"), b"y\n[a] z\n");
    }
}
