//! A state in memory behind the real admission, and a cluster that was founded in it.

use super::super::found::{FoundingArgs, bootstrap_cluster, found};
use super::super::ground::Ground;
use super::super::{Admitting, Own};
use futures::future::BoxFuture;
use jiff::Timestamp;
use kabuki_admission::{Completed, Context, Verdict, admit, complete, read};
use kabuki_cluster::credentials::NodeKey;
use kabuki_cluster::{Credentials, Member};
use kabuki_model::bootstrap_token::{BootstrapToken, TokenRole};
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, DeleteOptions, Request, WriteOptions};
use kabuki_model::view::View;
use kabuki_model::watch::WatchRequest;
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::join::{JoinRefusal, JoinRequest, Joined, Role, VersionRange};
use kabuki_protocol::{Api, ApiHandle, Watch};
use kabuki_store::{Position, Store};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The state.
pub(crate) struct State {
    store: Mutex<Store>,
}

impl State {
    fn new() -> Arc<Self> {
        let store = Mutex::new(Store::new());
        Arc::new(Self { store })
    }

    fn perform(&self, request: &Request) -> Result<Answer, StatusError> {
        if matches!(request, Request::Get { .. } | Request::List(_)) {
            return read(&self.store.lock().expect("whole").snapshot(), request);
        }
        let cx = Context {
            now: Timestamp::now(),
            entropy: rand::random(),
            term: 1,
        };
        loop {
            let view = self.store.lock().expect("whole").snapshot();
            let commit = match admit(&view, &Identity::bootstrap(), request, &cx)? {
                Verdict::Answer(answer) => return Ok(answer),
                Verdict::Commit(commit) => commit,
                Verdict::Each(_) => return Err(StatusError::internal("one object")),
            };
            let mut store = self.store.lock().expect("whole");
            let at = store.view().position();
            let next = Position {
                index: at.index + 1,
                term: 1,
            };
            let applied = store.apply(next, &commit.command);
            drop(store);
            match complete(commit, applied) {
                Completed::Answer(answer) => return Ok(answer),
                Completed::Refused(error) => return Err(error),
                Completed::Retry => {}
            }
        }
    }
}

impl Api for State {
    /// Gives others a turn first, so that what is asked at once meets.
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Answer, StatusError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.perform(&request)
        })
    }

    fn watch(&self, _request: WatchRequest) -> BoxFuture<'_, Result<Watch, StatusError>> {
        Box::pin(async { Err(StatusError::internal("nothing is watched here")) })
    }
}

/// The state and the door to it; leads always.
pub(crate) struct Floor(pub(crate) Arc<State>);

impl Ground for Floor {
    fn term(&self) -> Option<u64> {
        Some(1)
    }

    fn newest(&self) -> BoxFuture<'_, Result<Arc<dyn View>, StatusError>> {
        let snapshot = self.0.store.lock().expect("whole").snapshot();
        Box::pin(async move { Ok(Arc::new(snapshot) as Arc<dyn View>) })
    }

    fn api(&self, _term: Option<u64>) -> ApiHandle {
        self.0.clone()
    }
}

/// A cluster with one server, `a`.
pub(crate) struct World {
    pub(crate) state: Arc<State>,
    pub(crate) dir: TempDir,
    pub(crate) member: Member,
    pub(crate) credentials: Credentials,
    pub(crate) admitting: Admitting,
}

pub(crate) const VERSIONS: VersionRange = VersionRange {
    oldest: 2,
    newest: 3,
};

pub(crate) fn founding_args(dir: &TempDir) -> FoundingArgs {
    FoundingArgs {
        data_dir: dir.path().to_path_buf(),
        name: "a".to_string(),
        address: "192.0.2.1:6443".to_string(),
        host_addresses: vec!["192.0.2.1".parse().expect("an address")],
        cluster_cidr: "10.244.0.0/16".to_string(),
        node_prefix: 24,
        pod_cidr: None,
        service_cidr: "10.96.0.0/16".to_string(),
        server_id: None,
        program: "0.1.0".to_string(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self::founded(founding_args(&dir), dir).await
    }

    pub(crate) async fn founded(args: FoundingArgs, dir: TempDir) -> Self {
        let (member, credentials) = found(&args).expect("founds");
        let state = Self::empty().await;
        let floor = Floor(state.clone());
        let done = bootstrap_cluster(&floor, dir.path(), &credentials).await;
        done.expect("writes");
        let own = Own {
            cluster_id: member.cluster_id.clone(),
            node: "a".to_string(),
            program: "0.1.0".to_string(),
            versions: VERSIONS,
        };
        let admitting = Admitting {
            own: Arc::new(own),
            ground: Arc::new(floor),
            others: None,
            turn: Arc::default(),
        };
        Self {
            state,
            dir,
            member,
            credentials,
            admitting,
        }
    }

    /// A state with the namespace that everything is in.
    pub(crate) async fn empty() -> Arc<State> {
        let state = State::new();
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"},
        });
        let request = create(Resource::NAMESPACES, "", &namespace);
        state.perform(&request).expect("creates");
        state
    }

    pub(crate) fn view(&self) -> impl View + use<> {
        self.state.store.lock().expect("whole").snapshot()
    }

    pub(crate) fn node(&self, name: &str) -> Value {
        let key = ObjectKey::new(Resource::NODES, "", name);
        let view = self.view();
        view.get(&key).expect("is there").to_value().expect("JSON")
    }

    /// Makes a token with the id `abcdef`.
    pub(crate) fn token(&self, change: impl FnOnce(&mut BootstrapToken)) {
        let mut token = BootstrapToken {
            id: "abcdef".to_string(),
            secret: "s".repeat(26),
            expires: None,
            role: TokenRole::Any,
            one_time: false,
            used_by: None,
            description: String::new(),
        };
        change(&mut token);
        let request = create(Resource::SECRETS, "kube-system", &token.to_value());
        self.state.perform(&request).expect("creates");
    }

    pub(crate) fn perform(&self, request: &Request) {
        self.state.perform(request).expect("is done");
    }

    pub(crate) fn delete(&self, key: ObjectKey) {
        let options = DeleteOptions::default();
        self.perform(&Request::Delete { key, options });
    }

    pub(crate) async fn join(&self, request: &JoinRequest) -> Result<Joined, JoinRefusal> {
        self.admitting.admit_here(request, 1).await
    }
}

pub(crate) fn create(resource: Resource, namespace: &str, object: &Value) -> Request {
    Request::Create {
        resource,
        namespace: namespace.into(),
        object: object.to_string().into(),
        options: WriteOptions::default(),
    }
}

/// A machine that wants to join.
pub(crate) struct Machine {
    pub(crate) key: NodeKey,
    pub(crate) request: JoinRequest,
}

pub(crate) fn machine(name: &str, role: Option<Role>) -> Machine {
    let key = NodeKey::generate().expect("a key");
    let request = JoinRequest {
        token_id: "abcdef".to_string(),
        token_secret: "s".repeat(26),
        name: name.to_string(),
        role,
        csr_pem: key.csr_pem(name).expect("a request"),
        now_s: Timestamp::now().as_second(),
        program: "0.1.0".to_string(),
        versions: VERSIONS,
        address: "192.0.2.7:6443".to_string(),
        host_addresses: vec!["192.0.2.7".parse().expect("an address")],
        labels: BTreeMap::new(),
        taints_json: Vec::new(),
    };
    Machine { key, request }
}
