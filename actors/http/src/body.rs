//! Reading a request's body, within its bounds.

use crate::limits::BodyRoom;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kabuki_model::StatusError;
use kabuki_model::status::Reason;
use std::time::Duration;

/// No body is larger, in bytes (Kubernetes' `MaxRequestBodyBytes`).
pub const MAX_BODY_BYTES: usize = 3 << 20;
/// How much of a body that is too large is taken all the same, in bytes, and for how long.
const MAX_DISCARDED_BYTES: usize = 64 << 20;
/// See [`MAX_DISCARDED_BYTES`].
const DISCARD_LIMIT: Duration = Duration::from_secs(5);
/// How long the next piece of a body may take. Who sends slower is cut off.
const PIECE_LIMIT: Duration = Duration::from_secs(10);
/// How long a whole body may take.
const WHOLE_LIMIT: Duration = Duration::from_secs(60);

/// Reads a whole body. Its room is to be kept as long as the body is.
///
/// # Errors
/// `RequestEntityTooLarge`, as Kubernetes words it; `Timeout` for one that does not come;
/// `BadRequest` for one that breaks off; `TooManyRequests` when others have taken all room.
pub async fn read(body: &mut Incoming, room: &mut BodyRoom) -> Result<Bytes, StatusError> {
    use http_body::Body;
    let read = match body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        true => Ok(Err(too_large())),
        false => tokio::time::timeout(WHOLE_LIMIT, pieces(body, room)).await,
    };
    if let Ok(Err(error)) = &read
        && error.reason == Reason::RequestEntityTooLarge
    {
        discard(body).await;
    }
    match read {
        Ok(read) => read,
        Err(_) => Err(slow()),
    }
}

async fn pieces(body: &mut Incoming, room: &mut BodyRoom) -> Result<Bytes, StatusError> {
    let mut whole = BytesMut::new();
    loop {
        let next = tokio::time::timeout(PIECE_LIMIT, body.frame());
        let frame = match next.await {
            Err(_) => return Err(slow()),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(error))) => {
                let message = format!("the request's body broke off: {error}");
                return Err(StatusError::bad_request(message));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > MAX_BODY_BYTES {
            return Err(too_large());
        }
        room.grow(data.len()).await?;
        whole.extend_from_slice(&data);
    }
}

/// Takes what a client is in the midst of sending, and keeps nothing of it: many clients hear an
/// answer only when they have said all.
async fn discard(body: &mut Incoming) {
    let taking = async {
        let mut left = MAX_DISCARDED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let size = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(size) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // A client that does not end is answered all the same, and cut off.
    let _ = tokio::time::timeout(DISCARD_LIMIT, taking).await;
}

/// The refusal of a body that is too large.
pub fn too_large() -> StatusError {
    StatusError::new(
        Reason::RequestEntityTooLarge,
        format!("Request entity too large: limit is {MAX_BODY_BYTES}"),
    )
}

fn slow() -> StatusError {
    StatusError::new(
        Reason::Timeout,
        "the request's body did not come in time; send it faster",
    )
}
