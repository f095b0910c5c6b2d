//! The text syntax of label selectors (Kubernetes, "Labels and Selectors", "API").

use super::SelectorError;
use super::label::{Operator, Requirement};
use crate::syntax;
use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    End,
}

impl Token {
    fn shown(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Symbol(symbol) => symbol,
            Self::End => "",
        }
    }
}

/// Longer ones first, so that `==` is not two `=`.
const SYMBOLS: &[&str] = &["==", "!=", "(", ")", ",", "!", "=", ">", "<"];

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            found.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let special = |c: char| c.is_whitespace() || "=!(),><".contains(c);
            let end = rest.find(special).unwrap_or(rest.len());
            found.push(Token::Word(rest[..end].to_string()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    found
}

struct Parser {
    tokens: std::vec::IntoIter<Token>,
}

type Parsed<T> = Result<T, SelectorError>;

fn unexpected<T>(found: &Token, expected: &str) -> Parsed<T> {
    Err(SelectorError(format!(
        "found '{}', expected: {expected}",
        found.shown()
    )))
}

impl Parser {
    fn peek(&self) -> Token {
        self.tokens
            .as_slice()
            .first()
            .cloned()
            .unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token {
        self.tokens.next().unwrap_or(Token::End)
    }

    fn requirement(&mut self) -> Parsed<Requirement> {
        let mut token = self.next();
        let negated = token == Token::Symbol("!");
        if negated {
            token = self.next();
        }
        let Token::Word(key) = token else {
            return unexpected(&token, "identifier");
        };
        if let Some(why) = syntax::qualified_name(&key) {
            return Err(SelectorError(format!("key: Invalid value: {key:?}: {why}")));
        }
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, []);
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Requirement::new(&key, Operator::Exists, []);
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => BTreeSet::from([self.value()?]),
        };
        Requirement::new(&key, operator, values)
    }

    fn operator(&mut self) -> Parsed<Operator> {
        let token = self.next();
        Ok(match &token {
            Token::Word(word) if word == "in" => Operator::In,
            Token::Word(word) if word == "notin" => Operator::NotIn,
            Token::Symbol("=" | "==") => Operator::Equals,
            Token::Symbol("!=") => Operator::NotEquals,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            _ => return unexpected(&token, "in, notin, =, ==, !=, gt, lt"),
        })
    }

    /// One value; none at all before `,` or the end is the empty one.
    fn value(&mut self) -> Parsed<String> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(word) => {
                self.next();
                Ok(word)
            }
            token => unexpected(&token, "identifier"),
        }
    }

    /// `(a,b)`; nothing between two commas is the empty value.
    fn values(&mut self) -> Parsed<BTreeSet<String>> {
        let open = self.next();
        if open != Token::Symbol("(") {
            return unexpected(&open, "'('");
        }
        let mut values = BTreeSet::new();
        loop {
            let value = match self.peek() {
                Token::Word(word) => {
                    self.next();
                    word
                }
                Token::Symbol("," | ")") => String::new(),
                token => return unexpected(&token, "',', ')' or identifier"),
            };
            values.insert(value);
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => return Ok(values),
                token => return unexpected(&token, "',' or ')'"),
            }
        }
    }
}

pub(super) fn requirements(text: &str) -> Parsed<Vec<Requirement>> {
    let mut parser = Parser {
        tokens: tokens(text).into_iter(),
    };
    let mut found = Vec::new();
    loop {
        match parser.peek() {
            Token::End => return Ok(found),
            Token::Word(_) | Token::Symbol("!") => {}
            token => return unexpected(&token, "!, identifier, or 'end of string'"),
        }
        let requirement = parser
            .requirement()
            .map_err(|e| SelectorError(format!("unable to parse requirement: {e}")))?;
        found.push(requirement);
        match parser.next() {
            Token::End => return Ok(found),
            Token::Symbol(",") => {
                let after = parser.peek();
                if !matches!(after, Token::Word(_) | Token::Symbol("!")) {
                    return unexpected(&after, "identifier after ','");
                }
            }
            token => return unexpected(&token, "',' or 'end of string'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_selector_is_refused_in_the_known_words() {
        let cases = [
            ("a=b,", "found '', expected: identifier after ','"),
            (
                "=b",
                "found '=', expected: !, identifier, or 'end of string'",
            ),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "a in b",
                "unable to parse requirement: found 'b', expected: '('",
            ),
            (
                "a in (b",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            (
                "!",
                "unable to parse requirement: found '', expected: identifier",
            ),
            (
                "a>b",
                "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ];
        for (text, words) in cases {
            assert_eq!(
                requirements(text).expect_err(text).to_string(),
                words,
                "{text}"
            );
        }
        let error = requirements("-a=b").expect_err("refused").to_string();
        assert!(error.starts_with(
            "unable to parse requirement: key: Invalid value: \"-a\": name part must consist"
        ));
        let error = requirements("a=b/c").expect_err("refused").to_string();
        assert!(error.contains("values[0][a]: Invalid value: \"b/c\": a valid label must be"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-c!=<>(), in\u{e9}]{0,24}") {
            let _ = requirements(&text);
        }
    }
}
