//! Members among each other: the lines on which Raft speaks.

use crate::world::{Map, Running, World, open, run, within};
use futures::future::BoxFuture;
use kabuki_cluster::Dialer;
use kabuki_cluster::credentials::Credentials;
use kabuki_cluster::members::{Dial, MembersArgs, MembersHandle, Unreachable};
use kabuki_cluster::seal::Sealer;
use kabuki_cluster::seams::Listener;
use kabuki_kit::{Bundle, Root, Tree};
use kabuki_protocol::cluster::{Heartbeat, RAFT_ALPN};
use kabuki_protocol::frame::{self, FrameError};
use kabuki_protocol::join::{Role, ServerAddress};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::client::TlsStream;

/// Hears Raft's messages.
struct Ears(mpsc::UnboundedSender<Vec<u8>>);

impl Listener for Ears {
    fn sign_of_life(&self, sent_us: u64) -> Heartbeat {
        Heartbeat {
            sent_us,
            revision: 0,
            program: String::new(),
            certificate_ends_s: 0,
        }
    }

    fn raft(&self, message: &[u8]) {
        let _ = self.0.send(message.to_vec());
    }

    fn heard(&self, _node: &str, _heartbeat: &Heartbeat) -> (Option<String>, u64) {
        (None, 0)
    }

    fn answered(&self, _server: &str, _leader: Option<String>, _revision: u64) {}

    fn connected(&self, _node: &str) {}

    fn lost(&self, _node: &str) {}
}

/// Dials lines by a detour.
struct Through {
    dialer: Dialer,
    detour: SocketAddr,
}

impl Dial for Through {
    fn dial(
        &self,
        server: &ServerAddress,
        alpn: &'static [u8],
    ) -> BoxFuture<'static, io::Result<TlsStream<TcpStream>>> {
        let mut server = server.clone();
        if alpn == RAFT_ALPN {
            server.address = self.detour.to_string();
        }
        Dial::dial(&self.dialer, &server, alpn)
    }
}

/// Hands connections on, and can cut them.
struct Detour {
    address: SocketAddr,
    open: Arc<Mutex<JoinSet<()>>>,
    task: JoinHandle<()>,
}

impl Detour {
    async fn to(map: Arc<Map>, server: &'static str) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = socket.local_addr().expect("bound");
        let open: Arc<Mutex<JoinSet<()>>> = Arc::default();
        let pipes = open.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = socket.accept().await {
                let there = map.places().addresses[server].clone();
                let pipe = async move {
                    if let Ok(mut far) = TcpStream::connect(there).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                };
                pipes.lock().expect("not poisoned").spawn(pipe);
            }
        });
        Self {
            address,
            open,
            task,
        }
    }

    /// Cuts what is open; gives how many that were.
    fn cut(&self) -> usize {
        let mut open = self.open.lock().expect("not poisoned");
        while open.try_join_next().is_some() {}
        let count = open.len();
        open.abort_all();
        count
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Server {
    members: MembersHandle,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
    _port: Running,
    _running: (Tree, Root),
}

async fn server(world: &World, name: &str, detour: SocketAddr) -> Server {
    let credentials: Credentials = world.node(name, Role::Server);
    let sealer = Sealer::new(name, rand::random(), Role::Server, credentials.seal_key());
    let (ears, heard) = mpsc::unbounded_channel();
    let members = MembersHandle::new(MembersArgs {
        bundle: Bundle::new(),
        sealer: sealer.expect("a sealer"),
        dial: Arc::new(Through {
            dialer: Dialer::new(credentials.clone()),
            detour,
        }),
        directory: world.map.clone(),
        listener: Arc::new(Ears(ears)),
    });
    let mut doors = world.doors();
    doors.cluster = Some(Arc::new(members.clone()));
    doors.raft = Some(Arc::new(members.lines()));
    let port = open(credentials, doors).await;
    world.map.server(name, port.address);
    let running = run(members.child()).await;
    Server {
        members,
        heard,
        _port: port,
        _running: running,
    }
}

fn frame_of(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let append = |body: &mut Vec<u8>| {
        body.extend_from_slice(message);
        Ok::<_, FrameError>(())
    };
    frame::append_with(&mut frame, append).expect("it is small");
    frame
}

/// Tells until it is heard: messages may be lost.
async fn reaches(from: &MembersHandle, to: &str, there: &mut Server, message: &[u8]) {
    let told = async {
        loop {
            let _ = from.tell_raft(to, &frame_of(message));
            let heard = tokio::time::timeout(Duration::from_millis(20), there.heard.recv());
            if let Ok(Some(heard)) = heard.await
                && heard == message
            {
                return;
            }
        }
    };
    within("a message that is heard", told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_is_dialled_again_without_its_session() {
    let world = World::new();
    let detour = Detour::to(world.map.clone(), "b").await;
    let mut a = server(&world, "a", detour.address).await;
    let mut b = server(&world, "b", detour.address).await;
    a.members.refresh();
    let (to_b, to_a) = (a.members.clone(), b.members.clone());
    reaches(&to_b, "b", &mut b, b"there").await;
    reaches(&to_a, "a", &mut a, b"and back").await;
    assert_eq!(detour.cut(), 1, "one line for both directions");
    reaches(&to_b, "b", &mut b, b"there again").await;
    reaches(&to_a, "a", &mut a, b"and back again").await;
    let stranger = to_b.tell_raft("c", &frame_of(b"nobody"));
    let member = "c".to_string();
    assert_eq!(stranger, Err(Unreachable { member }));
}
