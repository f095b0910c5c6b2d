//! Reading templates.

use super::{Comparison, Node, Operand, Step};
use serde_json::Value;

/// Filters inside of filters, and ranges inside of ranges, go no deeper.
const MAX_DEPTH: usize = 32;

type Parsed<T> = Result<T, String>;

pub(super) fn template(text: &str) -> Parsed<Vec<Node>> {
    // The innermost open range is last; the whole template is the first.
    let mut open: Vec<(Vec<Step>, Vec<Node>)> = vec![(Vec::new(), Vec::new())];
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        push(&mut open, Node::Text(rest[..at].to_string()));
        let inside = &rest[at + 1..];
        let end = action_end(inside).ok_or("unclosed action")?;
        action(&inside[..end], &mut open)?;
        rest = &inside[end + 1..];
    }
    push(&mut open, Node::Text(rest.to_string()));
    match (open.pop(), open.is_empty()) {
        (Some((_, nodes)), true) => Ok(nodes),
        _ => Err("unterminated range: {end} is missing".to_string()),
    }
}

fn push(open: &mut [(Vec<Step>, Vec<Node>)], node: Node) {
    let empty = matches!(&node, Node::Text(text) if text.is_empty());
    if let Some((_, nodes)) = open.last_mut().filter(|_| !empty) {
        nodes.push(node);
    }
}

/// Where the brace closes that ends an action; braces in quotes do not count.
fn action_end(text: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Some(at),
            _ => {}
        }
    }
    None
}

fn action(text: &str, open: &mut Vec<(Vec<Step>, Vec<Node>)>) -> Parsed<()> {
    let mut cursor = Cursor {
        rest: text,
        depth: 0,
    };
    cursor.space();
    if cursor.word("range") {
        cursor.space();
        let path = cursor.path()?;
        cursor.finish()?;
        if open.len() > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} ranges inside of each other"));
        }
        open.push((path, Vec::new()));
        return Ok(());
    }
    if cursor.word("end") {
        cursor.finish()?;
        if open.len() < 2 {
            return Err("not in range, nothing to end".to_string());
        }
        if let Some((path, nodes)) = open.pop() {
            push(open, Node::Range(path, nodes));
        }
        return Ok(());
    }
    // Text and paths may follow each other in one action.
    loop {
        cursor.space();
        let node = match cursor.peek() {
            None => return Ok(()),
            Some('"' | '\'') => Node::Text(cursor.quoted()?),
            Some('.' | '[' | '$' | '@') => Node::Path(cursor.path()?),
            Some(_) => {
                return Err(format!(
                    "unrecognized identifier {}",
                    cursor.rest.trim_end()
                ));
            }
        };
        push(open, node);
    }
}

struct Cursor<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest.strip_prefix(text);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn word(&mut self, word: &str) -> bool {
        let ends = |rest: &str| rest.chars().next().is_none_or(|c| !c.is_alphanumeric());
        self.rest.strip_prefix(word).is_some_and(ends) && self.eat(word)
    }

    fn finish(&mut self) -> Parsed<()> {
        self.space();
        match self.rest {
            "" => Ok(()),
            rest => Err(format!("unexpected {rest:?}")),
        }
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn path(&mut self) -> Parsed<Vec<Step>> {
        let mut steps = Vec::new();
        if self.eat("$") {
            steps.push(Step::Root);
        } else {
            self.eat("@");
        }
        loop {
            if self.eat("..") {
                steps.push(Step::Descend);
                if !matches!(self.peek(), Some('[')) {
                    self.field(&mut steps)?;
                }
            } else if self.eat(".") {
                if !matches!(self.peek(), Some('[')) {
                    self.field(&mut steps)?;
                }
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else {
                return Ok(steps);
            }
        }
    }

    /// The name behind a dot; none at all (`{.}`) is the value itself.
    fn field(&mut self, steps: &mut Vec<Step>) -> Parsed<()> {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if c.is_whitespace() || ".[]$@{}()\"'=!<>,*".contains(c) {
                break;
            }
            self.rest = &self.rest[c.len_utf8()..];
            if c != '\\' {
                name.push(c);
                continue;
            }
            let escaped = self.peek().ok_or("a path ends with a backslash")?;
            self.rest = &self.rest[escaped.len_utf8()..];
            name.push(escaped);
        }
        if name.is_empty() && self.eat("*") {
            steps.push(Step::Wildcard);
        } else if !name.is_empty() {
            steps.push(Step::Field(name));
        }
        Ok(())
    }

    fn bracket(&mut self) -> Parsed<Step> {
        self.space();
        if self.eat("?(") {
            let filter = self.filter()?;
            self.space();
            return self.close(filter);
        }
        let mut choices = vec![self.choice()?];
        self.space();
        while self.eat(",") {
            choices.push(self.choice()?);
            self.space();
        }
        let step = match choices.len() {
            1 => choices.remove(0),
            _ => Step::Union(choices),
        };
        self.close(step)
    }

    fn close(&mut self, step: Step) -> Parsed<Step> {
        match self.eat("]") {
            true => Ok(step),
            false => Err("unterminated array".to_string()),
        }
    }

    fn choice(&mut self) -> Parsed<Step> {
        self.space();
        match self.peek() {
            Some('*') => {
                self.eat("*");
                Ok(Step::Wildcard)
            }
            Some('"' | '\'') => Ok(Step::Field(self.quoted()?)),
            _ => self.position(),
        }
    }

    fn position(&mut self) -> Parsed<Step> {
        let first = self.integer()?;
        if !self.eat(":") {
            return first
                .map(Step::Index)
                .ok_or_else(|| format!("invalid array index {}", self.rest));
        }
        let last = self.integer()?;
        let step = match self.eat(":") {
            true => self.integer()?.unwrap_or(1),
            false => 1,
        };
        match step {
            step if step > 0 => Ok(Step::Slice(first, last, step)),
            step => Err(format!("step must be > 0, got {step}")),
        }
    }

    fn integer(&mut self) -> Parsed<Option<i64>> {
        self.space();
        let digits = self.take_while(|c| c.is_ascii_digit() || c == '-' || c == '+');
        self.space();
        match digits {
            "" => Ok(None),
            digits => digits
                .parse()
                .map(Some)
                .map_err(|_| format!("invalid array index {digits}")),
        }
    }

    fn quoted(&mut self) -> Parsed<String> {
        let quote = self.peek().unwrap_or('"');
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = &self.rest[at + quote.len_utf8()..];
                return Ok(text);
            }
            match c {
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c) => text.push(c),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err("unterminated quoted string".to_string())
    }

    fn filter(&mut self) -> Parsed<Step> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!(
                "more than {MAX_DEPTH} filters inside of each other"
            ));
        }
        let left = self.operand()?;
        self.space();
        const COMPARISONS: &[(&str, Comparison)] = &[
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let comparison = COMPARISONS
            .iter()
            .find(|(text, _)| self.eat(text))
            .map(|(_, c)| *c);
        let right = comparison
            .map(|c| self.operand().map(|o| (c, o)))
            .transpose()?;
        self.space();
        self.depth -= 1;
        match self.eat(")") {
            true => Ok(Step::Filter(left, right)),
            false => Err("unterminated filter".to_string()),
        }
    }

    fn operand(&mut self) -> Parsed<Operand> {
        self.space();
        match self.peek() {
            Some('"' | '\'') => Ok(Operand::Literal(self.quoted()?.into())),
            Some('@' | '$' | '.' | '[') => Ok(Operand::Path(self.path()?)),
            _ => {
                let word = self.take_while(|c| !c.is_whitespace() && !"=!<>)]".contains(c));
                let scalar = serde_json::from_str::<Value>(word).ok();
                scalar
                    .filter(|v| !v.is_array() && !v.is_object())
                    .map(Operand::Literal)
                    .ok_or_else(|| format!("unrecognized word {word:?} in a filter"))
            }
        }
    }
}
