//! The HTTP API behind the node's port: TLS and certificates on this side, HTTP on the other.

use kabuki_cluster::certificate::validity;
use kabuki_cluster::seams::{Door, Visitor};
use kabuki_http::{Arrived, Connections};

/// The protocol name of HTTP/2.
const HTTP_2: &[u8] = b"h2";

/// The door to the HTTP API.
pub struct HttpDoor(pub Connections);

impl Door for HttpDoor {
    fn enter(&self, visitor: Visitor) {
        let ends = visitor.certificate.as_ref().map(validity);
        let ends = ends.and_then(Result::ok).map(|(_, ends)| ends.as_second());
        let arrived = Arrived {
            peer: visitor.peer,
            certificate: visitor.who,
            certificate_ends_s: ends.unwrap_or(0),
            bad_certificate: visitor.bad_certificate,
            http2: visitor.stream.get_ref().1.alpn_protocol() == Some(HTTP_2),
        };
        self.0.enter(visitor.stream, arrived);
    }
}
