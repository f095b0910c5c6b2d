//! What passes over a shim's socket: length-prefixed bincode frames, and descriptors beside
//! them.
//!
//! A descriptor travels with the first byte of the frame that announces it and descriptors keep
//! the order of their frames, so that a reader takes as many from its queue as a frame says.
//! Frames are positional: [`VERSION`] changes with any change of a type here or in `spec`, and
//! is the first thing that a shim says.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupStats;
use crate::spec::{
    AttachSpec, ContainerSpec, Event, ExecSpec, PodMount, PodSpec, Resources, ShimStatus, Warnings,
};

/// Of the frames' content.
pub(super) const VERSION: u32 = 4;
/// A container's specification is at most a manifest's size, and those are 1 to 3 MiB at most.
const FRAME_LIMIT: usize = 8 << 20;
/// Standard streams of one process.
pub(super) const FDS_PER_FRAME: usize = 3;
/// One read from a socket; frames are mostly far smaller.
const READ_CHUNK: usize = 16 << 10;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// Chosen by the client and repeated in the reply.
    pub id: u64,
    pub call: Call,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Call {
    Setup(PodSpec),
    Status,
    SetAgentState(Vec<u8>),
    Mount(PodMount),
    Unmount(String),
    Create(Box<ContainerSpec>),
    Start(String),
    Signal {
        target: Target,
        signal: i32,
        all: bool,
    },
    Delete(String),
    Exec(ExecSpec),
    Attach(AttachSpec),
    Update {
        container: String,
        resources: Resources,
    },
    UpdatePod(Resources),
    Stats,
    Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Target {
    Container(String),
    Exec(u64),
}

/// Everything that a shim says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Say {
    /// First on every connection.
    Hello {
        version: u32,
        pid: i32,
    },
    Reply {
        id: u64,
        fds: u8,
        result: Result<Answer, Fault>,
    },
    Event(Event),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    Warnings(Warnings),
    Status(Box<ShimStatus>),
    Created {
        pid: i32,
        warnings: Warnings,
    },
    Started {
        started_at_ns: u64,
    },
    /// The streams that were asked for, in the order stdin, stdout, stderr; one with a terminal.
    Streams {
        exec_id: u64,
        pid: i32,
        tty: bool,
    },
    Stats {
        pod: CgroupStats,
        containers: Vec<(String, CgroupStats)>,
    },
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    pub cause: Cause,
    /// What was tried and why that failed.
    pub words: String,
}

/// What a request failed for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cause {
    /// It was tried, and did not succeed.
    #[default]
    Work,
    /// A container's description: there was nothing to try yet.
    Description,
    /// A sub-path of a volume.
    SubPath,
}

/// Encodes a frame with its length before it.
pub(super) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    let config = bincode::config::standard();
    bincode::serde::encode_into_std_write(message, &mut frame, config).map_err(io::Error::other)?;
    let length = frame.len() - 4;
    if length > FRAME_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "frame is too large",
        ));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(frame)
}

/// Bytes and descriptors that arrived and are not yet part of a complete frame.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Reads once. `Ok(0)` is the end of the stream.
    pub fn fill(&mut self, socket: RawFd) -> io::Result<usize> {
        let held = self.bytes.len();
        self.bytes.resize(held + READ_CHUNK, 0);
        let received = receive(socket, &mut self.bytes[held..], &mut self.fds);
        self.bytes
            .truncate(held + received.as_ref().copied().unwrap_or(0));
        received
    }

    /// The next complete frame, if there is one.
    pub fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(prefix) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > FRAME_LIMIT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "frame is too large",
            ));
        }
        let Some(frame) = self.bytes.get(4..4 + length) else {
            return Ok(None);
        };
        let config = bincode::config::standard().with_limit::<FRAME_LIMIT>();
        let decoded = bincode::serde::decode_from_slice(frame, config);
        let (message, _) =
            decoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.bytes.drain(..4 + length);
        if self.bytes.is_empty() {
            // An idle connection holds no buffer.
            self.bytes = Vec::new();
        }
        Ok(Some(message))
    }

    pub fn take_fds(&mut self, count: usize) -> Vec<OwnedFd> {
        let count = count.min(self.fds.len());
        self.fds.drain(..count).collect()
    }
}

fn receive(socket: RawFd, buffer: &mut [u8], fds: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
    let mut control = cmsg_space!([RawFd; FDS_PER_FRAME]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<UnixAddr>(socket, &mut parts, Some(&mut control), flags)?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = part {
            // SAFETY: the kernel has just made these descriptors for this process, and nothing
            // else knows their numbers.
            fds.extend(
                received
                    .into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    Ok(message.bytes)
}

/// Writes as much of `bytes` as the socket takes, with `fds` beside the first byte.
pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<usize> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        control,
        flags,
        None,
    )?;
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_arrive_with_the_frame_that_announces_them() {
        let (near, far) = UnixStream::pair().unwrap();
        let (read, write) = nix::unistd::pipe().unwrap();
        let plain = Say::Reply {
            id: 1,
            fds: 0,
            result: Ok(Answer::Done),
        };
        let with = Say::Reply {
            id: 2,
            fds: 2,
            result: Ok(Answer::Done),
        };
        for (say, fds) in [(plain, vec![]), (with, vec![read, write])] {
            let frame = encode(&say).unwrap();
            assert_eq!(send(near.as_fd(), &frame, &fds).unwrap(), frame.len());
        }
        let mut inbox = Inbox::default();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            inbox.fill(far.as_raw_fd()).unwrap();
            while let Some(Say::Reply { id, fds, .. }) = inbox.next().unwrap() {
                seen.push((id, inbox.take_fds(fds.into()).len()));
            }
        }
        assert_eq!(seen, [(1, 0), (2, 2)]);
    }

    #[test]
    fn a_frame_longer_than_the_limit_is_refused() {
        let mut inbox = Inbox {
            bytes: vec![0xff; 64],
            fds: VecDeque::new(),
        };
        assert!(inbox.next::<Request>().is_err());
    }
}
