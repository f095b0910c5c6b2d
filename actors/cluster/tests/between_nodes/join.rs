//! Joining, and every way in which it fails.

use crate::world::{World, hall, open, within};
use futures::FutureExt;
use futures::future::BoxFuture;
use kabuki_cluster::authority::Authority;
use kabuki_cluster::join::{JoinDoor, JoinError, Newcomer, Token, Wish, join};
use kabuki_cluster::seams::Admit;
use kabuki_cluster::{Credentials, Member};
use kabuki_protocol::join::{
    JoinHello, JoinRefusal, JoinRequest, Joined, Role, ServerAddress, VersionRange,
};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

const VERSIONS: VersionRange = VersionRange {
    oldest: 3,
    newest: 4,
};

/// A control plane that admits whoever it is told to.
pub struct Plane {
    authority: Authority,
    /// How far its clock is ahead, in seconds.
    ahead_s: i64,
    versions: VersionRange,
    pub refusal: Option<JoinRefusal>,
    asked: Mutex<Vec<JoinRequest>>,
}

impl Plane {
    pub fn of(world: &World) -> Self {
        let ca = world.authority.certificate_pem();
        Self {
            authority: Authority::from_pem(ca, &world.authority.key_pem()).expect("the CA"),
            ahead_s: 0,
            versions: VERSIONS,
            refusal: None,
            asked: Mutex::default(),
        }
    }

    fn asked(&self) -> Vec<JoinRequest> {
        self.asked.lock().expect("the requests").clone()
    }
}

impl Admit for Plane {
    fn hello(&self) -> JoinHello {
        JoinHello {
            cluster_id: "cluster-1".to_string(),
            node: "a".to_string(),
            now_s: jiff::Timestamp::now().as_second() + self.ahead_s,
            program: "9.9.9".to_string(),
            versions: self.versions,
        }
    }

    fn admit(&self, request: JoinRequest) -> BoxFuture<'_, Result<Joined, JoinRefusal>> {
        async move {
            self.asked
                .lock()
                .expect("the requests")
                .push(request.clone());
            if let Some(refusal) = &self.refusal {
                return Err(refusal.clone());
            }
            let role = request.role.unwrap_or(Role::Server);
            let certificate_pem = self
                .authority
                .node_certificate(
                    &request.csr_pem,
                    &request.name,
                    role,
                    &request.host_addresses,
                )
                .map_err(|error| JoinRefusal::Invalid(error.to_string()))?;
            Ok(Joined {
                cluster_id: "cluster-1".to_string(),
                role,
                server_id: (role == Role::Server).then_some(u64::MAX),
                certificate_pem,
                bundle_pem: self.authority.certificate_pem().to_string(),
                seal_key: vec![9; 32],
                pod_cidr: "10.42.1.0/24".to_string(),
                cluster_cidr: "10.42.0.0/16".to_string(),
                service_cidr: "10.43.0.0/16".to_string(),
                servers: vec![ServerAddress {
                    name: "a".to_string(),
                    address: "192.0.2.1:6443".to_string(),
                    server_id: 1,
                }],
            })
        }
        .boxed()
    }
}

pub fn wish(dir: &Path) -> Wish {
    Wish {
        data_dir: dir.join("joiner"),
        name: "n".to_string(),
        role: None,
        host: None,
        port: 7443,
        host_addresses: vec![[192, 0, 2, 9].into()],
        labels: [("zone".to_string(), "x".to_string())].into(),
        taints_json: vec![],
        program: "1.2.3".to_string(),
        versions: VERSIONS,
    }
}

pub fn token(world: &World) -> Token {
    Token::new(world.authority.sha256(), rand::random())
}

pub async fn server_of(world: &World, plane: &Arc<Plane>) -> crate::world::Running {
    let mut doors = world.doors();
    doors.join = Some(Arc::new(JoinDoor::new(plane.clone())));
    open(world.node("a", Role::Server), doors).await
}

async fn join_at(address: SocketAddr, token: &Token, wish: &Wish) -> Result<Newcomer, JoinError> {
    within(
        "the end of joining",
        join(&[address.to_string()], token, wish),
    )
    .await
}

async fn refused_by(plane: impl FnOnce(&mut Plane)) -> (JoinError, usize) {
    let world = World::new();
    let mut made = Plane::of(&world);
    plane(&mut made);
    let plane = Arc::new(made);
    let server = server_of(&world, &plane).await;
    let wish = wish(world.dir());
    let error = join_at(server.address, &token(&world), &wish).await;
    let error = error.expect_err("it may not join");
    assert!(!Credentials::exist(&wish.data_dir));
    (error, plane.asked().len())
}

#[tokio::test]
async fn a_machine_with_a_token_becomes_a_node_that_needs_it_no_more() {
    let world = World::new();
    let plane = Arc::new(Plane::of(&world));
    let server = server_of(&world, &plane).await;
    let (token, wish) = (token(&world), wish(world.dir()));
    let newcomer = join_at(server.address, &token, &wish)
        .await
        .expect("it joins");
    // Where it is reached from the cluster: the address that it came from.
    assert_eq!(newcomer.address, "127.0.0.1:7443");
    let member = Member::load(&wish.data_dir)
        .expect("reads")
        .expect("a member");
    assert_eq!(member, newcomer.member);
    assert_eq!((member.name.as_str(), member.role), ("n", Role::Server));
    assert_eq!(member.server_id, Some(u64::MAX));
    let credentials = Credentials::load(&wish.data_dir).expect("credentials");
    assert_eq!(credentials.identity().node_name(), Some("n"));
    assert_eq!(credentials.seal_key(), [9; 32]);

    let asked = plane.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].token_id, token.id());
    assert_eq!(asked[0].token_secret, token.secret());
    assert_eq!(asked[0].address, "127.0.0.1:7443");
    assert_eq!(asked[0].labels["zone"], "x");
}

#[tokio::test]
async fn joining_again_comes_with_the_same_key() {
    let world = World::new();
    let mut plane = Plane::of(&world);
    plane.refusal = Some(JoinRefusal::Unavailable("no leader".to_string()));
    let plane = Arc::new(plane);
    let server = server_of(&world, &plane).await;
    let wish = Wish {
        host: Some("node.example".to_string()),
        ..wish(world.dir())
    };
    for _ in 0..2 {
        let error = join_at(server.address, &token(&world), &wish).await;
        assert!(!error.expect_err("no leader").is_final());
    }
    let keys: Vec<_> = plane
        .asked()
        .iter()
        .map(|r| kabuki_cluster::authority::request_key_sha256(&r.csr_pem).expect("a key"))
        .collect();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(plane.asked()[0].address, "node.example:7443");
}

#[tokio::test]
async fn a_worker_hands_a_joiner_on_to_a_server() {
    let world = World::new();
    let plane = Arc::new(Plane::of(&world));
    let server = server_of(&world, &plane).await;
    world.map.server("a", server.address);
    let worker = open(world.node("w", Role::Worker), world.doors()).await;
    let wish = wish(world.dir());
    join_at(worker.address, &token(&world), &wish)
        .await
        .expect("it joins");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_is_dead() {
    let world = World::new();
    let plane = Arc::new(Plane::of(&world));
    let server = server_of(&world, &plane).await;
    let dead = closed_port().await;
    let addresses = [dead.to_string(), server.address.to_string()];
    let (token, wish) = (token(&world), wish(world.dir()));
    let joining = join(&addresses, &token, &wish);
    within("joining", joining).await.expect("it joins");
    let both = [dead.to_string(), dead.to_string()];
    let error = join(&both, &token, &wish).await;
    let error = error.expect_err("both are dead").to_string();
    assert_eq!(error.matches("refuses connections").count(), 2, "{error}");
    let none = join(&[], &token, &wish).await;
    assert!(matches!(none, Err(JoinError::NoAddress)));
}

async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("bound")
}

#[tokio::test]
async fn every_refusal_of_the_cluster_reaches_the_joiner_in_its_words() {
    let refusals = [
        JoinRefusal::UnknownToken,
        JoinRefusal::Expired { at: "noon".into() },
        JoinRefusal::Used { by: "m".into() },
        JoinRefusal::Role {
            allowed: "worker".into(),
            wanted: "server".into(),
        },
        JoinRefusal::NameTaken { name: "n".into() },
        JoinRefusal::NoPodCidr { range: "r".into() },
        JoinRefusal::Invalid("it is odd".into()),
    ];
    for refusal in refusals {
        let (error, asked) = refused_by(|plane| plane.refusal = Some(refusal.clone())).await;
        assert!(error.is_final());
        assert_eq!(error.to_string(), refusal.to_string());
        assert_eq!(asked, 1);
    }
}

#[tokio::test]
async fn a_wrong_clock_is_named_before_the_token_is_shown() {
    for (ahead_s, expected) in [(1000, "1000 s behind"), (-1000, "1000 s ahead of")] {
        let (error, asked) = refused_by(|plane| plane.ahead_s = ahead_s).await;
        assert!(matches!(
            error,
            JoinError::Refused(JoinRefusal::ClockSkew { .. })
        ));
        // A second may pass between the two clocks' readings.
        let text = error
            .to_string()
            .replace("999 s", "1000 s")
            .replace("1001 s", "1000 s");
        assert!(text.contains(expected), "{text}");
        assert_eq!(asked, 0);
    }
}

#[tokio::test]
async fn versions_that_do_not_meet_are_named_before_the_token_is_shown() {
    for (oldest, newest) in [(1, 2), (5, 6)] {
        let versions = VersionRange { oldest, newest };
        let (error, asked) = refused_by(|plane| plane.versions = versions).await;
        let text = error.to_string();
        assert!(text.contains("1.2.3") && text.contains("9.9.9"), "{text}");
        assert!(text.contains(&format!("{oldest} to {newest}")), "{text}");
        assert_eq!(asked, 0);
    }
}

#[tokio::test]
async fn neighbouring_versions_meet() {
    let world = World::new();
    let mut plane = Plane::of(&world);
    plane.versions = VersionRange {
        oldest: 4,
        newest: 5,
    };
    let server = server_of(&world, &Arc::new(plane)).await;
    let joined = join_at(server.address, &token(&world), &wish(world.dir())).await;
    joined.expect("it joins");
}

#[tokio::test]
async fn another_cluster_learns_nothing_of_the_token() {
    let world = World::new();
    let plane = Arc::new(Plane::of(&world));
    let server = server_of(&world, &plane).await;
    let other = token(&World::new());
    let error = join_at(server.address, &other, &wish(world.dir())).await;
    let error = error.expect_err("another cluster");
    assert!(matches!(error, JoinError::OtherCluster { .. }), "{error}");
    assert!(error.to_string().contains(&server.address.to_string()));
    assert!(plane.asked().is_empty());
}

#[tokio::test]
async fn a_member_that_is_no_server_is_not_believed() {
    let world = World::new();
    let (door, mut visitors) = hall();
    let mut doors = world.doors();
    doors.join = Some(door);
    let worker = open(world.node("w", Role::Worker), doors).await;
    let error = join_at(worker.address, &token(&world), &wish(world.dir())).await;
    let error = error.expect_err("a worker");
    assert!(matches!(error, JoinError::NotAServer { .. }), "{error}");
    assert!(visitors.try_recv().is_err());
}

#[tokio::test]
async fn a_server_whose_certificate_has_ended_is_not_believed() {
    let authority = Authority::generate().expect("a CA");
    let world = World::of(authority.with_node_lifetime(Duration::ZERO));
    let plane = Arc::new(Plane::of(&world));
    let server = server_of(&world, &plane).await;
    // Past the second in which it ended.
    let mut joining = join_at(server.address, &token(&world), &wish(world.dir())).await;
    while joining.is_ok() {
        joining = join_at(server.address, &token(&world), &wish(world.dir())).await;
    }
    let error = joining.expect_err("it has ended");
    assert!(matches!(error, JoinError::Certificate { .. }), "{error}");
}

#[tokio::test]
async fn what_is_no_kabuki_node_is_called_so() {
    let world = World::new();
    let wish = wish(world.dir());
    // A port of the cluster that speaks TLS, but not of joining, and has nobody to ask.
    let worker = open(world.node("w", Role::Worker), world.doors()).await;
    // A port that speaks something else, and one that ends at once.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let other = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut greet = true;
        while let Ok((mut stream, _)) = listener.accept().await {
            if std::mem::replace(&mut greet, false) {
                let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
            }
        }
    });
    for address in [worker.address, other, other] {
        let error = join_at(address, &token(&world), &wish)
            .await
            .expect_err("no kabuki");
        assert!(matches!(error, JoinError::NotKabuki { .. }), "{error}");
    }
    let closed = closed_port().await;
    let error = join_at(closed, &token(&world), &wish)
        .await
        .expect_err("nobody");
    assert!(
        matches!(error, JoinError::ConnectionRefused { .. }),
        "{error}"
    );
    for address in ["nonsense", "127.0.0.1:99999"] {
        let error = join(&[address.to_string()], &token(&world), &wish).await;
        let error = error.expect_err("no address");
        assert!(matches!(error, JoinError::Address { .. }), "{error}");
    }
}
