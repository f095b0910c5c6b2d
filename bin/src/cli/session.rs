//! What every verb works with: the connection (opened when it is first needed), the namespace,
//! and the output.

use super::failure::{Failure, Outcome, fail};
use super::kubeconfig::Kubeconfig;
use super::out::Out;
use futures::future::BoxFuture;
use kabuki_model::StatusError;
use kabuki_model::kind::{Kind, Scope};
use kabuki_model::object::{ObjectKey, Resource, Stored};
use kabuki_model::request::{
    Answer, Content, DeleteOptions, ListRequest, ObjectList, PatchType, Request, Subresource,
    WriteOptions,
};
use kabuki_model::watch::{WatchRequest, WatchStart};
use kabuki_protocol::client::Client;
use kabuki_protocol::node::NodeRequest;
use kabuki_protocol::{Api, ApiHandle, NodeStream, Watch};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Flags that every verb has.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Globals {
    /// The kubeconfig file [default: $KUBECONFIG, else the data directory's admin.kubeconfig]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Connection")]
    pub context: Option<String>,
    /// The namespace [default: the context's, else `default`]
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Connection"
    )]
    pub namespace: Option<String>,
    /// Another server than the kubeconfig's, with the same credentials
    #[arg(
        short,
        long,
        global = true,
        value_name = "URL",
        help_heading = "Connection"
    )]
    pub server: Option<String>,
}

/// A connection with its settings.
pub struct Session {
    /// What was asked for.
    pub globals: Globals,
    /// Where to write.
    pub out: Out,
    client: OnceCell<Client>,
    api: OnceCell<ApiHandle>,
}

impl Session {
    /// A session that is opened when it is first needed.
    pub fn new(globals: Globals) -> Self {
        Self {
            globals,
            out: Out::default(),
            client: OnceCell::new(),
            api: OnceCell::new(),
        }
    }

    /// A session with an API in memory, which writes to memory.
    #[cfg(test)]
    pub fn with_api(api: ApiHandle) -> Self {
        let globals = Globals {
            namespace: Some("default".into()),
            ..Globals::default()
        };
        let mut session = Self::new(globals);
        session.out = Out::Memory(Arc::default());
        session.api = OnceCell::new_with(Some(api));
        session
    }

    /// The same session, whose reads are answered by the server that it is connected to from what
    /// that has, if it had news of the leader within the limit (in milliseconds).
    pub async fn stale(&self, limit_ms: Option<u64>) -> Outcome<Self> {
        let client = self.client().await?.clone();
        let api: ApiHandle = Arc::new(StaleApi { client, limit_ms });
        Ok(Self {
            globals: self.globals.clone(),
            out: self.out.clone(),
            client: OnceCell::new(),
            api: OnceCell::new_with(Some(api)),
        })
    }

    /// The kubeconfig that is in force.
    pub fn kubeconfig(&self) -> Outcome<Kubeconfig> {
        Kubeconfig::find(self.globals.kubeconfig.as_deref())
    }

    /// The namespace of the command.
    pub fn namespace(&self) -> Outcome<String> {
        match &self.globals.namespace {
            Some(name) => Ok(name.clone()),
            None => {
                let context = self.globals.context.as_deref();
                let found = self.kubeconfig()?.namespace(context);
                Ok(found.unwrap_or_else(|| "default".to_string()))
            }
        }
    }

    /// The client, for what only a node can do.
    pub async fn client(&self) -> Outcome<&Client> {
        let open = || async {
            let mut target = self.kubeconfig()?.target(self.globals.context.as_deref())?;
            if let Some(server) = &self.globals.server {
                target.server.clone_from(server);
            }
            super::connect::open(&target).await
        };
        self.client.get_or_try_init(open).await
    }

    /// The API.
    pub async fn api(&self) -> Outcome<&ApiHandle> {
        let open = || async { Ok(Arc::new(self.client().await?.clone()) as ApiHandle) };
        self.api.get_or_try_init(open).await
    }

    /// Opens a stream with a node.
    pub async fn stream(&self, node: Option<&str>, request: NodeRequest) -> Outcome<NodeStream> {
        Ok(self.client().await?.open_stream(node, request).await?)
    }

    /// The key of an object by name; cluster-scoped kinds have no namespace.
    pub fn key(&self, kind: &Kind, namespace: &str, name: &str) -> ObjectKey {
        let namespace = match kind.scope() {
            Scope::Namespaced => namespace,
            Scope::Cluster => "",
        };
        ObjectKey::new(kind.resource.clone(), namespace, name)
    }

    /// Performs a request, and tells its warnings.
    pub async fn request(&self, request: Request) -> Outcome<Answer> {
        let answer = self.api().await?.request(request).await?;
        for warning in &answer.warnings {
            self.out.note(format!("Warning: {warning}"));
        }
        Ok(answer)
    }

    /// Performs a request that is answered by an object which is not stored.
    pub async fn document(&self, request: Request) -> Outcome<Value> {
        let Content::Document(json) = self.request(request).await?.content else {
            return Err(Failure::new("the server answered something else"));
        };
        let value = serde_json::from_slice(&json);
        value.map_err(|e| Failure::new(format!("the server's answer is no JSON: {e}")))
    }

    async fn for_object(&self, request: Request) -> Outcome<Arc<Stored>> {
        let answer = self.request(request).await?;
        let missing = || Failure::new("the server answered a list where an object was asked for");
        answer.into_object().ok_or_else(missing)
    }

    /// Reads an object.
    pub async fn get(&self, key: &ObjectKey) -> Outcome<Arc<Stored>> {
        self.for_object(Request::Get {
            key: key.clone(),
            subresource: None,
        })
        .await
    }

    /// Reads an object that may not exist.
    pub async fn find(&self, key: &ObjectKey) -> Outcome<Option<Arc<Stored>>> {
        match self.get(key).await {
            Ok(object) => Ok(Some(object)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Reads many objects.
    pub async fn list(&self, request: ListRequest) -> Outcome<ObjectList> {
        let answer = self.request(Request::List(request)).await?;
        let missing = || Failure::new("the server answered an object where a list was asked for");
        answer.into_list().ok_or_else(missing)
    }

    /// Creates an object.
    pub async fn create(
        &self,
        kind: &Kind,
        namespace: &str,
        value: &Value,
        options: WriteOptions,
    ) -> Outcome<Arc<Stored>> {
        let key = self.key(kind, namespace, "");
        self.for_object(Request::Create {
            resource: key.resource,
            namespace: key.namespace,
            object: value.to_string().into(),
            options,
        })
        .await
    }

    /// Replaces an object or a part of it.
    pub async fn update(
        &self,
        key: &ObjectKey,
        subresource: Option<Subresource>,
        value: &Value,
        options: WriteOptions,
    ) -> Outcome<Arc<Stored>> {
        self.for_object(Request::Update {
            key: key.clone(),
            subresource,
            object: value.to_string().into(),
            options,
        })
        .await
    }

    /// Changes parts of an object.
    pub async fn patch(
        &self,
        key: &ObjectKey,
        patch_type: PatchType,
        patch: &Value,
        options: WriteOptions,
    ) -> Outcome<Arc<Stored>> {
        self.patch_part(key, None, patch_type, patch, options).await
    }

    /// Changes a part of an object.
    pub async fn patch_part(
        &self,
        key: &ObjectKey,
        subresource: Option<Subresource>,
        patch_type: PatchType,
        patch: &Value,
        options: WriteOptions,
    ) -> Outcome<Arc<Stored>> {
        self.for_object(Request::Patch {
            key: key.clone(),
            subresource,
            patch_type,
            patch: patch.to_string().into(),
            options,
        })
        .await
    }

    /// Deletes an object.
    pub async fn delete(&self, key: &ObjectKey, options: DeleteOptions) -> Outcome<Arc<Stored>> {
        self.for_object(Request::Delete {
            key: key.clone(),
            options,
        })
        .await
    }

    /// Watches a selection.
    pub async fn watch(&self, selection: ListRequest, start: WatchStart) -> Outcome<Watch> {
        let request = WatchRequest {
            selection,
            start,
            bookmarks: false,
        };
        Ok(self.api().await?.watch(request).await?)
    }

    /// The selection of one object by name.
    pub fn selection_of(key: &ObjectKey) -> ListRequest {
        let namespace = Some(&*key.namespace).filter(|n| !n.is_empty());
        let mut selection = ListRequest::all(key.resource.clone(), namespace);
        selection.fields = format!("metadata.name={}", key.name);
        selection
    }

    /// Every node's name, for verbs that ask for one of them.
    pub async fn check_node(&self, name: &str) -> Outcome {
        let nodes = self.list(ListRequest::all(Resource::NODES, None)).await?;
        if nodes.items.iter().any(|n| &*n.key.name == name) {
            return Ok(());
        }
        let names: Vec<&str> = nodes.items.iter().map(|n| &*n.key.name).collect();
        fail!(
            "there is no node {name:?}: the cluster has {}",
            names.join(", ")
        )
    }
}

/// The API of one server, without its leader for reads.
struct StaleApi {
    client: Client,
    limit_ms: Option<u64>,
}

impl Api for StaleApi {
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Answer, StatusError>> {
        Box::pin(async move {
            match &request {
                Request::Get { .. } | Request::List(_) => {
                    self.client.stale_read(request, self.limit_ms).await
                }
                _ => self.client.request(request).await,
            }
        })
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<Watch, StatusError>> {
        self.client.watch(request)
    }
}
