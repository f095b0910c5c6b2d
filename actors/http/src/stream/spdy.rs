//! SPDY/3.1, the server's side, as far as Kubernetes' streams need it ("SPDY Protocol - Draft 3.1").
//! Older clients run `exec`, `attach` and `port-forward` over it; newer ones carry it inside of a
//! WebSocket for `port-forward`.
//!
//! Invariants: frames, headers, streams and queues are bounded; a stream that is not read stops the
//! whole session's reading, as in Kubernetes' own servers, and buffers nothing. Windows are granted
//! as data is taken, but those of the client are not waited for: Kubernetes' clients grant none,
//! so that TCP alone slows the server down.

mod dictionary;
mod frame;
mod headers;
mod session;
mod stream;

pub use frame::{Decoder, Encoder, Frame, Mistake};
pub use headers::{Compressor, Decompressor, Headers};
pub use session::Session;
pub use stream::{Gone, Stream, StreamReader, StreamWriter};
