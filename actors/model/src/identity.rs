//! Who asks: the user and groups that authentication found.

use serde::{Deserialize, Serialize};

/// The group whose members may do everything (Kubernetes' bootstrap administrators).
pub const GROUP_MASTERS: &str = "system:masters";
/// The group of every authenticated caller.
pub const GROUP_AUTHENTICATED: &str = "system:authenticated";
/// The group of those of whom nothing is known.
pub const GROUP_UNAUTHENTICATED: &str = "system:unauthenticated";
/// The user name of those of whom nothing is known.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of every service account; those of one namespace are also in a group of this name,
/// a colon and the namespace.
pub const GROUP_SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// The group of every node agent.
pub const GROUP_NODES: &str = "system:nodes";
/// The group of nodes that hold the cluster's state.
pub const GROUP_SERVERS: &str = "system:servers";

/// A caller, as authentication found it. Authority travels in the message, so this goes with
/// every request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user name, for example `kabuki-admin` or `system:node:web-1`.
    pub user: String,
    /// The groups, without [`GROUP_AUTHENTICATED`], which every identity has
    /// that is not anonymous.
    pub groups: Vec<String>,
}

impl Identity {
    /// The identity of a person or program by user name and groups.
    pub fn new(user: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        Self {
            user: user.into(),
            groups: groups.into_iter().collect(),
        }
    }

    /// A controller of the control plane: `system:controller:NAME`.
    pub fn controller(name: &str) -> Self {
        Self::new(format!("system:controller:{name}"), [])
    }

    /// The scheduler.
    pub fn scheduler() -> Self {
        Self::new("system:kube-scheduler", [])
    }

    /// The control plane itself, for the objects that it makes at start-up.
    pub fn bootstrap() -> Self {
        Self::new("system:apiserver", [GROUP_MASTERS.to_string()])
    }

    /// The agent of node `name` (Kubernetes, "Using Node Authorization").
    pub fn node(name: &str) -> Self {
        Self::new(format!("system:node:{name}"), [GROUP_NODES.to_string()])
    }

    /// One of whom nothing is known.
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, [GROUP_UNAUTHENTICATED.to_string()])
    }

    /// A service account (Kubernetes, "Service account tokens").
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = [
            GROUP_SERVICE_ACCOUNTS.to_string(),
            format!("{GROUP_SERVICE_ACCOUNTS}:{namespace}"),
        ];
        Self::new(format!("system:serviceaccount:{namespace}:{name}"), groups)
    }

    /// Whether nothing is known of the caller.
    pub fn is_anonymous(&self) -> bool {
        self.user == ANONYMOUS || self.groups.iter().any(|g| g == GROUP_UNAUTHENTICATED)
    }

    /// All groups, with the one that everyone has who is not anonymous.
    pub fn all_groups(&self) -> Vec<String> {
        let mut all = self.groups.clone();
        if !self.is_anonymous() && !all.iter().any(|g| g == GROUP_AUTHENTICATED) {
            all.push(GROUP_AUTHENTICATED.to_string());
        }
        all
    }

    /// Whether this is a node that holds the cluster's state, and may speak for others.
    pub fn is_server(&self) -> bool {
        self.node_name().is_some() && self.in_group(GROUP_SERVERS)
    }

    /// The node's name, when this is a node agent.
    pub fn node_name(&self) -> Option<&str> {
        self.in_group(GROUP_NODES)
            .then(|| self.user.strip_prefix("system:node:"))?
    }

    /// The controller's name, when this is a controller of the control plane.
    pub fn controller_name(&self) -> Option<&str> {
        self.user.strip_prefix("system:controller:")
    }

    /// Whether the caller is a member of `group`.
    pub fn in_group(&self, group: &str) -> bool {
        let implied = group == GROUP_AUTHENTICATED && !self.is_anonymous();
        implied || self.groups.iter().any(|g| g == group)
    }
}
