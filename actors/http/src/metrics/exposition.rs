//! Prometheus' text format.

use kabuki_protocol::front::Measure;
use std::fmt::Write;

/// A growing text of metrics.
#[derive(Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a metric; `kind` is `counter`, `gauge` or `histogram`.
    pub fn begin(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One value of the metric that was begun.
    pub fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let text = escaped(text);
            let _ = write!(self.text, "{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// A metric of one value.
    pub fn one(
        &mut self,
        name: &str,
        help: &str,
        counter: bool,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        self.begin(name, help, if counter { "counter" } else { "gauge" });
        self.value(name, labels, value);
    }

    /// What the control plane measured.
    pub fn measure(&mut self, measure: &Measure) {
        let kind = if measure.counter { "counter" } else { "gauge" };
        self.begin(measure.name, measure.help, kind);
        for (labels, value) in &measure.values {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(l, v)| (*l, v.as_str())).collect();
            self.value(measure.name, &labels, *value);
        }
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.text
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_named_described_and_labelled() {
        let mut text = Exposition::default();
        text.one("up", "Whether.", false, &[("who", "a\"b"), ("x", "y")], 1.0);
        assert_eq!(
            text.into_text(),
            "# HELP up Whether.\n# TYPE up gauge\nup{who=\"a\\\"b\",x=\"y\"} 1\n"
        );
    }
}
