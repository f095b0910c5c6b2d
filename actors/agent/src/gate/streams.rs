//! Between descriptors that a shim hands out and the chunks of a stream.

use super::Ends;
use bytes::Bytes;
use kabuki_protocol::node::{CHUNK_BYTES, FromNode, TerminalSize, ToNode};
use rustix::termios::{Winsize, tcsetwinsize};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// A pipe or terminal that never blocks.
pub(super) struct Channel(AsyncFd<OwnedFd>);

impl Channel {
    // The replacement of the deprecated functions asks for a promise that `OwnedFd` keeps by its
    // type: the descriptor is open for as long as it is registered.
    #[allow(deprecated)]
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        never_block(&fd)?;
        AsyncFd::new(fd).map(Self)
    }

    /// The same for one that is only written to.
    #[allow(deprecated)]
    pub fn writer(fd: OwnedFd) -> io::Result<Self> {
        never_block(&fd)?;
        AsyncFd::with_interest(fd, tokio::io::Interest::WRITABLE).map(Self)
    }

    /// Some bytes; none at the end. A terminal whose other side has gone is at its end.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut *buffer)?));
            match read {
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Ok(0),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(written) => bytes = &bytes[written?..],
                Err(_would_block) => {}
            }
        }
        Ok(())
    }

    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(tcsetwinsize(self.0.get_ref(), size)?)
    }
}

fn never_block(fd: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(
        fd,
        flags | rustix::fs::OFlags::NONBLOCK,
    )?)
}

/// Passes on what is read until the end, or until the caller has gone (`false`).
pub(super) async fn pump_out(
    channel: &Channel,
    output: &mpsc::Sender<FromNode>,
    wrap: fn(Bytes) -> FromNode,
) -> bool {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match channel.read(&mut buffer).await {
            Ok(0) | Err(_) => return true,
            Ok(count) => {
                let chunk = Bytes::copy_from_slice(&buffer[..count]);
                if output.send(wrap(chunk)).await.is_err() {
                    return false;
                }
            }
        }
    }
}

/// `^D`: how a person ends the input of a terminal.
const END_OF_TRANSMISSION: &[u8] = &[4];

/// Passes input on until the caller goes away; then returns. A terminal takes an end of input as
/// the character that says so; anything else is closed by dropping `own`.
pub(super) async fn feed(
    own: Option<Channel>,
    resize: Option<&Channel>,
    terminal: bool,
    input: &mut mpsc::Receiver<ToNode>,
) {
    let mut own = own;
    while let Some(chunk) = input.recv().await {
        let result = match (chunk, &own) {
            (ToNode::Input(bytes), Some(channel)) => channel.write_all(&bytes).await,
            (ToNode::EndOfInput, Some(channel)) if terminal => {
                channel.write_all(END_OF_TRANSMISSION).await
            }
            (ToNode::EndOfInput, _) => {
                own = None;
                Ok(())
            }
            (ToNode::Resize(size), _) => resize.map_or(Ok(()), |channel| channel.resize(size)),
            (ToNode::Input(_), None) => Ok(()),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "the process takes no more input");
            own = None;
        }
    }
}

/// Both ends apart, for tasks that work on them at the same time.
pub(super) fn split(ends: Ends) -> (mpsc::Receiver<ToNode>, mpsc::Sender<FromNode>) {
    (ends.input, ends.output)
}
