//! Query parameters (`application/x-www-form-urlencoded`), bounded by the length of the URI.

use kabuki_model::StatusError;

/// The parameters of a request, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a URI's query. What is not valid UTF-8 after decoding is replaced, as in Go.
    pub fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|p| !p.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self {
            pairs: pairs.collect(),
        }
    }

    /// The first value of a parameter; `None` when it is not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        let named = self.pairs.iter().find(|(n, _)| n == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The first value; empty when it is not given.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.pairs.iter().filter(move |(n, _)| n == name);
        named.map(|(_, value)| value.as_str())
    }

    /// A switch: absent, `0` and `false` are off; as in Kubernetes, all else is on.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| !matches!(&*value.to_lowercase(), "0" | "false"))
    }

    /// A switch that may be left out.
    pub fn optional_flag(&self, name: &str) -> Option<bool> {
        self.get(name)
            .filter(|v| !v.is_empty())
            .map(|_| self.flag(name))
    }

    /// A whole number; `None` when absent or empty.
    ///
    /// # Errors
    /// `BadRequest`, when it is none.
    pub fn number(&self, name: &str) -> Result<Option<i64>, StatusError> {
        let Some(value) = self.get(name).filter(|v| !v.is_empty()) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|_| {
            StatusError::bad_request(format!(
                "unable to decode query parameter {name:?}: {value:?} is not a whole number"
            ))
        })
    }
}

/// Undoes percent-encoding; in forms `+` is a blank.
pub fn decode(text: &str, form: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' if form => bytes.push(b' '),
            b'%' => match tail {
                [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    bytes.push(hex(*high) << 4 | hex(*low));
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            other => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or_default() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("labelSelector=app%3Dweb%2Ctier+in+%28a%29&watch&limit=5&x=%zz");
        assert_eq!(query.text("labelSelector"), "app=web,tier in (a)");
        assert!(query.flag("watch"));
        assert_eq!(query.number("limit"), Ok(Some(5)));
        assert_eq!(query.text("x"), "%zz");
        assert!(query.number("labelSelector").is_err());
    }
}
