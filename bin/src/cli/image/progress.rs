//! Progress of long operations: bars on a terminal, else a line for each step.

use crate::cli::out::Out;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kabuki_protocol::node::Progress;
use std::collections::HashMap;
use std::io::IsTerminal;

/// The parts of one operation.
pub struct Bars {
    out: Out,
    /// Drawn on standard error; `None` when that is no terminal.
    drawn: Option<MultiProgress>,
    bars: HashMap<String, ProgressBar>,
    said: HashMap<String, String>,
}

impl Bars {
    /// None yet.
    pub fn new(out: &Out) -> Self {
        Self {
            out: out.clone(),
            drawn: std::io::stderr().is_terminal().then(MultiProgress::new),
            bars: HashMap::new(),
            said: HashMap::new(),
        }
    }

    /// Shows how far a part is.
    pub fn show(&mut self, progress: &Progress) {
        let Some(drawn) = &self.drawn else {
            // A line where a step begins is enough for a log.
            let said = self
                .said
                .insert(progress.part.clone(), progress.doing.clone());
            if said.as_deref() != Some(&progress.doing) {
                self.out
                    .note(format!("{}: {}", progress.part, progress.doing));
            }
            return;
        };
        let bar = self.bars.entry(progress.part.clone()).or_insert_with(|| {
            let bar = drawn.add(ProgressBar::new(0));
            bar.set_prefix(progress.part.clone());
            bar
        });
        let template = match progress.total_bytes {
            Some(_) => "{prefix:14} {msg:12} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}",
            None => "{prefix:14} {msg:12} {bytes}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(progress.doing.clone());
        bar.set_length(progress.total_bytes.unwrap_or(progress.done_bytes));
        bar.set_position(progress.done_bytes);
    }

    /// Leaves the bars as they are.
    pub fn finish(&self) {
        for bar in self.bars.values() {
            bar.abandon();
        }
    }
}
