//! This program's terminal: raw while a process in a container has it, and sane again however
//! that ends.

use kabuki_protocol::node::TerminalSize;
use rustix::termios::{self, OptionalActions, Termios};
use std::io::{IsTerminal, Stdin};
use std::os::fd::AsFd;

/// The terminal is raw until this is dropped.
pub struct RawTerminal<T: AsFd = Stdin> {
    terminal: T,
    before: Termios,
}

impl RawTerminal {
    /// Makes the terminal of standard input raw.
    pub fn begin() -> std::io::Result<Self> {
        Self::of(std::io::stdin())
    }
}

impl<T: AsFd> RawTerminal<T> {
    fn of(terminal: T) -> std::io::Result<Self> {
        let before = termios::tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl<T: AsFd> Drop for RawTerminal<T> {
    fn drop(&mut self) {
        // Drain: what was written still belongs to the raw terminal.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
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
    (size.ws_col > 0).then_some(TerminalSize {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}

/// What Ctrl-C types when it is no signal.
const CTRL_C: char = '\u{3}';

/// Reads a line that is not shown while it is typed.
pub fn read_unseen(prompt: &str) -> std::io::Result<String> {
    let stdin = std::io::stdin();
    let before = termios::tcgetattr(&stdin)?;
    let mut unseen = before.clone();
    // Without signals Ctrl-C cannot end the program while nothing is shown.
    unseen
        .local_modes
        .remove(termios::LocalModes::ECHO | termios::LocalModes::ISIG);
    termios::tcsetattr(&stdin, OptionalActions::Now, &unseen)?;
    eprint!("{prompt}");
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    eprintln!();
    termios::tcsetattr(&stdin, OptionalActions::Now, &before)?;
    read?;
    if line.contains(CTRL_C) {
        return Err(std::io::ErrorKind::Interrupted.into());
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::termios::LocalModes;

    #[test]
    fn the_terminal_is_raw_and_then_as_before() {
        let pty = nix::pty::openpty(None, None).expect("a terminal");
        let modes = || termios::tcgetattr(&pty.slave).expect("modes").local_modes;
        let before = modes();
        assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
        let raw = RawTerminal::of(&pty.slave).expect("raw");
        assert!(!modes().intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
        drop(raw);
        assert_eq!(modes(), before);
    }
}
