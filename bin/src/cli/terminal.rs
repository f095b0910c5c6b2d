//! This program's terminal: raw while a process in a container has it, and sane again however
//! that ends.

use kabuki_protocol::node::TerminalSize;
use rustix::termios::{self, OptionalActions, Termios};
use std::io::{IsTerminal, Stdin};

/// The terminal is raw until this is dropped.
pub struct RawTerminal {
    stdin: Stdin,
    before: Termios,
}

impl RawTerminal {
    /// Makes the terminal of standard input raw.
    pub fn begin() -> std::io::Result<Self> {
        let stdin = std::io::stdin();
        let before = termios::tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Drain: what was written still belongs to the raw terminal.
        let _ = termios::tcsetattr(&self.stdin, OptionalActions::Drain, &self.before);
    }
}

/// Whether a person types at standard input.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal()
}

/// The size of the terminal.
pub fn size() -> Option<TerminalSize> {
    let size = termios::tcgetwinsize(std::io::stdout())
        .or_else(|_| termios::tcgetwinsize(std::io::stdin()))
        .ok()?;
    (size.ws_col > 0).then_some(TerminalSize { columns: size.ws_col, rows: size.ws_row })
}

/// Reads a line that is not shown while it is typed.
pub fn read_unseen(prompt: &str) -> std::io::Result<String> {
    let stdin = std::io::stdin();
    let before = termios::tcgetattr(&stdin)?;
    let mut unseen = before.clone();
    unseen.local_modes.remove(termios::LocalModes::ECHO);
    termios::tcsetattr(&stdin, OptionalActions::Now, &unseen)?;
    eprint!("{prompt}");
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    eprintln!();
    termios::tcsetattr(&stdin, OptionalActions::Now, &before)?;
    read?;
    Ok(line.trim_end_matches(['\n', '\r']).to_string())
}
