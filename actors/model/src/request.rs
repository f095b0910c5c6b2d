//! What a client or a controller asks of the API, and the answers. The same type serves a
//! person at the CLI, a controller's action, the node agent, and (as HTTP) every other client.

use crate::object::{ObjectKey, Resource, Stored};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One request on objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Reads one object, or one of its subresources.
    Get {
        /// Which object.
        key: ObjectKey,
        /// Which part of it; `None` is the object itself.
        subresource: Option<Subresource>,
    },
    /// Reads many objects at one revision.
    List(ListRequest),
    /// Creates an object. Its namespace comes from the request; its name from the JSON
    /// (`metadata.name` or `metadata.generateName`).
    Create {
        /// Which resource.
        resource: Resource,
        /// Where; empty for cluster-scoped kinds.
        namespace: Arc<str>,
        /// The object as JSON.
        object: Bytes,
        /// How.
        options: WriteOptions,
    },
    /// Replaces an object; `metadata.resourceVersion`, when given, is a precondition.
    Update {
        /// Which object.
        key: ObjectKey,
        /// Which part; `None` is the object itself.
        subresource: Option<Subresource>,
        /// The whole object as JSON.
        object: Bytes,
        /// How.
        options: WriteOptions,
    },
    /// Changes parts of an object.
    Patch {
        /// Which object.
        key: ObjectKey,
        /// Which part; `None` is the object itself.
        subresource: Option<Subresource>,
        /// How `patch` is to be read.
        patch_type: PatchType,
        /// The patch as JSON.
        patch: Bytes,
        /// How.
        options: WriteOptions,
    },
    /// Deletes an object: gracefully, after its finalizers, with its dependents as asked.
    Delete {
        /// Which object.
        key: ObjectKey,
        /// How.
        options: DeleteOptions,
    },
    /// Deletes every object that the selection matches.
    DeleteCollection {
        /// Which objects; `limit` and `continue_token` must be empty.
        selection: ListRequest,
        /// How.
        options: DeleteOptions,
    },
    /// Binds pods to nodes in one transaction each (the scheduler's `binding` subresource).
    Bind(Vec<Binding>),
    /// Asks a pod to leave its node (`policy/v1` `Eviction`, the `eviction` subresource): like its
    /// deletion, but refused with `TooManyRequests` as long as something needs it there.
    Evict {
        /// The pod.
        pod: ObjectKey,
        /// How it is then deleted.
        options: DeleteOptions,
    },
    /// Asks for a token of a service account, as nodes do for their pods: [`Content::Token`].
    Token {
        /// The service account.
        account: ObjectKey,
        /// Whom it is shown to; empty is the API itself.
        audiences: Vec<String>,
        /// For how many seconds it is good.
        expiration_s: i64,
        /// The name and uid of the pod that it ends with.
        bound_pod: Option<(String, String)>,
    },
    /// Asks for a token of a service account in Kubernetes' words (the `token` subresource):
    /// [`Content::Document`], the `authentication.k8s.io/v1` `TokenRequest` with its status.
    TokenRequest {
        /// The service account.
        account: ObjectKey,
        /// The `TokenRequest` as JSON.
        object: Bytes,
        /// Everything but the token itself.
        dry_run: bool,
    },
    /// Creates an object that is answered at once and never stored: [`Content::Document`].
    Review {
        /// Which of them.
        kind: crate::review::ReviewKind,
        /// Where; empty for those that belong to the whole cluster.
        namespace: Arc<str>,
        /// The object as JSON.
        object: Bytes,
    },
}

/// A placement that the scheduler decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The pod.
    pub pod: ObjectKey,
    /// Its uid, so that a successor of the same name is never bound.
    pub uid: Arc<str>,
    /// The node's name.
    pub node: Arc<str>,
}

/// A part of an object with its own rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subresource {
    /// `status`: only `.status` changes.
    Status,
    /// `scale`: the `autoscaling/v1` `Scale` of a workload.
    Scale,
    /// `finalize`: only `.spec.finalizers` of a namespace changes.
    Finalize,
    /// `ephemeralcontainers`: only `.spec.ephemeralContainers` of a pod changes.
    EphemeralContainers,
    /// `resize`: only processor and memory of a pod's containers change.
    Resize,
}

/// How a patch is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PatchType {
    /// JSON Patch (RFC 6902).
    Json,
    /// JSON Merge Patch (RFC 7386).
    Merge,
    /// Kubernetes' strategic merge patch.
    Strategic,
    /// A configuration for server-side apply; the object is created when there is none.
    Apply {
        /// Whether fields that others own are taken from them.
        force: bool,
    },
}

/// What happens with fields that the kind does not have (`fieldValidation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FieldValidation {
    /// They are an error.
    #[default]
    Strict,
    /// They are left out, and the answer warns of each.
    Warn,
    /// They are left out.
    Ignore,
}

/// How a write is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteOptions {
    /// Everything but the write itself.
    pub dry_run: bool,
    /// Unknown fields.
    pub validation: FieldValidation,
    /// Who manages the fields that are written (`fieldManager`).
    pub field_manager: String,
    /// The group and version in which the object or patch is written, for kinds that are served in
    /// several; empty is whichever the object says, else the stored one.
    pub api_version: String,
}

/// `propagationPolicy`: what happens with an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// The object goes at once, its dependents after it.
    Background,
    /// The dependents go first; the object stays, marked, until they are gone.
    Foreground,
    /// The dependents stay and lose their owner.
    Orphan,
}

/// How a deletion is done (`metav1.DeleteOptions`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteOptions {
    /// Seconds of grace; `None` is the kind's or object's own.
    pub grace_period_s: Option<i64>,
    /// Dependents; `None` is the kind's own (background).
    pub propagation: Option<Propagation>,
    /// The object must have this uid.
    pub uid: Option<Arc<str>>,
    /// The object must have this revision.
    pub revision: Option<u64>,
    /// Everything but the write itself.
    pub dry_run: bool,
}

/// Which objects, and how many at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRequest {
    /// Which resource.
    pub resource: Resource,
    /// Only this namespace; `None` is all of them.
    pub namespace: Option<Arc<str>>,
    /// A label selector in Kubernetes' syntax; empty selects everything.
    pub labels: String,
    /// A field selector in Kubernetes' syntax; empty selects everything.
    pub fields: String,
    /// At most so many items; zero is all.
    pub limit: u32,
    /// Where an earlier list of the same selection ended; empty begins.
    pub continue_token: String,
}

impl ListRequest {
    /// Everything of `resource`, in one namespace or in all.
    pub fn all(resource: Resource, namespace: Option<&str>) -> Self {
        Self {
            resource,
            namespace: namespace.map(Into::into),
            labels: String::new(),
            fields: String::new(),
            limit: 0,
            continue_token: String::new(),
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The object or objects.
    pub content: Content,
    /// Warnings for the person who asked.
    pub warnings: Vec<String>,
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Content {
    /// The object as it is after the request; of a deletion that completed, as it last was.
    Object(Arc<Stored>),
    /// The objects of a list, at one revision.
    List(ObjectList),
    /// The outcome of each binding, in order: `None` when it was done.
    Bindings(Vec<Option<crate::StatusError>>),
    /// A token that was issued.
    Token {
        /// The token. A secret.
        token: String,
        /// When it is to be replaced: seconds since the epoch.
        expires_s: i64,
    },
    /// An object that was made for this answer alone, as JSON. It may hold a secret.
    Document(Bytes),
}

/// The objects of a list, at one revision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectList {
    /// The revision that the whole list was read at.
    pub revision: u64,
    /// The objects, by namespace and name.
    pub items: Vec<Arc<Stored>>,
    /// Where to go on; empty when the list is complete.
    pub continue_token: String,
    /// How many are left; only known for lists without selectors.
    pub remaining: Option<u64>,
}

impl Answer {
    /// An answer of one object, without warnings.
    pub fn object(object: Arc<Stored>) -> Self {
        Self {
            content: Content::Object(object),
            warnings: Vec::new(),
        }
    }

    /// The object of an answer to a request on one object.
    pub fn into_object(self) -> Option<Arc<Stored>> {
        match self.content {
            Content::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The list of an answer to a request on many objects.
    pub fn into_list(self) -> Option<ObjectList> {
        match self.content {
            Content::List(list) => Some(list),
            _ => None,
        }
    }
}
