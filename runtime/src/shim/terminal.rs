//! The size of a terminal, set on its master side by whoever holds it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc::winsize;

/// Sets a terminal's rows and columns; its programs are told by a signal.
pub fn resize_terminal(master: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: a valid descriptor and a size that outlives the call.
    let set = unsafe {
        libc::ioctl(
            master.as_fd().as_raw_fd(),
            libc::TIOCSWINSZ,
            &raw const size,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
