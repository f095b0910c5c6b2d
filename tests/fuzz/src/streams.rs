//! What a client of the HTTP API sends on an upgraded connection, and the tokens that it shows.
//! However the bytes come in pieces, the same is read; what is read survives being written.
//!
//! The first byte says what the rest is: a WebSocket (0), SPDY (1) or a token (2).

use bytes::{BufMut, BytesMut};
use kabuki_http::stream::{spdy, websocket};
use kabuki_model::service_token::{Claims, Private, Reference, Unverified, compact};

/// Reads `data`.
pub fn run(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else {
        return;
    };
    match first % 3 {
        0 => assert_eq!(messages(bytes, usize::MAX), messages(bytes, 7)),
        1 => frames(bytes),
        _ => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                token(text);
            }
        }
    }
}

/// The messages of a WebSocket that comes in pieces, and how it ends.
fn messages(bytes: &[u8], size: usize) -> (Vec<websocket::Message>, Option<websocket::Mistake>) {
    let (mut decoder, mut messages) = (websocket::Decoder::default(), Vec::new());
    for piece in bytes.chunks(size.min(bytes.len().max(1))) {
        decoder.buffer().put_slice(piece);
        loop {
            match decoder.message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(mistake) => return (messages, Some(mistake)),
            }
        }
    }
    (messages, None)
}

/// The frames of a SPDY session. Each must survive being written and read by another one.
fn frames(bytes: &[u8]) {
    let (mut decoder, mut encoder) = (spdy::Decoder::default(), spdy::Encoder::default());
    let mut other = spdy::Decoder::default();
    decoder.buffer().put_slice(bytes);
    while let Ok(Some(frame)) = decoder.frame() {
        let mut written = BytesMut::new();
        encoder.encode(&frame, &mut written);
        other.buffer().put_slice(&written);
        let again = other.frame().expect("its own frame");
        assert_eq!(again, Some(frame));
    }
}

fn token(text: &str) {
    let Ok(read) = Unverified::parse(text) else {
        return;
    };
    let again = compact(&read.claims.to_sign(&read.key_id), &read.signature);
    let again = Unverified::parse(&again).expect("its own token");
    assert_eq!(again.claims, read.claims);
    assert_eq!(again.signature, read.signature);
}

/// One of each, with much of what there is in it.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut spdy = BytesMut::new();
    let mut encoder = spdy::Encoder::default();
    for frame in spdy_frames() {
        encoder.encode(&frame, &mut spdy);
    }
    let reference = |name: &str| Reference {
        name: name.to_string(),
        uid: "u".to_string(),
    };
    let claims = Claims {
        aud: vec!["api".to_string()],
        exp: 2,
        iat: 1,
        iss: "here".to_string(),
        jti: "j".to_string(),
        kubernetes: Private {
            namespace: "default".to_string(),
            node: Some(reference("n")),
            pod: Some(reference("p")),
            secret: None,
            serviceaccount: reference("s"),
            warnafter: Some(1),
        },
        nbf: 1,
        sub: "s".to_string(),
    };
    let with = |first: u8, bytes: &[u8]| [&[first], bytes].concat();
    vec![
        with(0, &socket()),
        with(1, &spdy),
        with(2, compact(&claims.to_sign("k"), b"signature").as_bytes()),
    ]
}

/// Masked frames: a message, one in two parts with a ping in between, and the end.
fn socket() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (first, payload) in [
        (0x82, &b"\0ls\n"[..]),
        (0x01, b"\x04{\"Width\""),
        (0x89, b"?"),
        (0x80, b":80,\"Height\":24}"),
        (0x88, b"\x03\xe8"),
    ] {
        bytes.push(first);
        bytes.push(0x80 | payload.len() as u8);
        bytes.extend([1, 2, 3, 4]);
        let masked = payload.iter().zip([1, 2, 3, 4].iter().cycle());
        bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
    }
    bytes
}

fn spdy_frames() -> Vec<spdy::Frame> {
    let headers = |kind: &str| {
        let pairs = [("streamtype", kind), ("port", "80"), ("requestid", "0")];
        pairs.map(|(n, v)| (n.to_string(), v.to_string())).to_vec()
    };
    let open = |stream, kind| spdy::Frame::SynStream {
        stream,
        fin: false,
        unidirectional: false,
        headers: headers(kind),
    };
    vec![
        open(1, "error"),
        open(3, "data"),
        spdy::Frame::Data {
            stream: 3,
            fin: true,
            bytes: b"GET / HTTP/1.0\r\n\r\n"[..].into(),
        },
        spdy::Frame::Ping(1),
        spdy::Frame::Window { stream: 3, more: 9 },
        spdy::Frame::Reset {
            stream: 3,
            status: 5,
        },
        spdy::Frame::GoAway { last: 0 },
    ]
}
