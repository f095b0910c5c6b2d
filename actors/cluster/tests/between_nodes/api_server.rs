//! A server of the API that does what a test tells it: the native session behind a door.

use kabuki_cluster::seams::{Door, Visitor};
use kabuki_model::identity::Identity;
use kabuki_protocol::frame;
use kabuki_protocol::session::{Call, ClientFrame, Reply, ServerFrame, VERSION};
use std::sync::{Arc, Mutex};

/// What a server does with a call.
pub enum Deed {
    /// Answers it.
    Answer(Result<Reply, kabuki_model::StatusError>),
    /// Answers it, and more will follow.
    Begin(Reply),
    /// Ends the connection.
    Hang,
    /// Says nothing, also to whatever comes later.
    Freeze,
}

type Script = Box<dyn Fn(&Identity, &Call) -> Deed + Send + Sync>;

/// A scripted server.
pub struct ApiServer {
    name: String,
    script: Script,
    calls: Mutex<Vec<Call>>,
}

impl ApiServer {
    pub fn new(
        name: &str,
        script: impl Fn(&Identity, &Call) -> Deed + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_string(),
            script: Box::new(script),
            calls: Mutex::default(),
        })
    }

    /// Every call that came, but for questions after its version.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("the calls").clone()
    }
}

/// The door of a scripted server.
pub struct ApiDoor(pub Arc<ApiServer>);

impl Door for ApiDoor {
    fn enter(&self, visitor: Visitor) {
        tokio::spawn(serve(self.0.clone(), visitor));
    }
}

async fn serve(server: Arc<ApiServer>, visitor: Visitor) {
    let who = visitor.who.expect("a certificate");
    let mut stream = visitor.stream;
    let mut frozen = false;
    while let Ok(Some(frame)) = frame::read::<ClientFrame>(&mut stream).await {
        let answer = match frame {
            _ if frozen => continue,
            ClientFrame::Hello { .. } => ServerFrame::Welcome {
                version: VERSION,
                node: server.name.clone(),
            },
            ClientFrame::Call { id, call } => {
                if call != Call::Version {
                    server.calls.lock().expect("the calls").push(call.clone());
                }
                let (more, reply) = match (server.script)(&who, &call) {
                    Deed::Answer(reply) => (false, reply),
                    Deed::Begin(reply) => (true, Ok(reply)),
                    Deed::Hang => return,
                    Deed::Freeze => {
                        frozen = true;
                        continue;
                    }
                };
                ServerFrame::Reply { id, more, reply }
            }
            ClientFrame::Input { .. } | ClientFrame::Credit { .. } | ClientFrame::Cancel { .. } => {
                continue;
            }
        };
        if frame::write(&mut stream, &answer).await.is_err() {
            return;
        }
    }
}
