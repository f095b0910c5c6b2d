//! `api-resources`, `api-versions`, `version` and `cluster-info`: what the server is and offers.

use super::align::Table;
use super::failure::{Outcome, fail};
use super::printer::indented;
use super::session::Session;
use kabuki_model::kind::{self, Kind};
use kabuki_model::manifest::to_yaml;
use serde_json::json;

/// Arguments of `api-resources`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki api-resources\n  \
    kabuki api-resources --namespaced=false -o wide")]
pub struct ResourcesArgs {
    /// Only kinds whose objects live in namespaces (or, with =false, do not)
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    namespaced: Option<bool>,
    /// Only kinds of this API group; empty is the core group
    #[arg(long, value_name = "GROUP")]
    api_group: Option<String>,
    /// Only kinds of these categories
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    categories: Vec<String>,
    /// Only kinds with these verbs
    #[arg(long, value_name = "VERB", value_delimiter = ',')]
    verbs: Vec<String>,
    /// Leave out the headings
    #[arg(long)]
    no_headers: bool,
    /// Sort by `name` or `kind`
    #[arg(long, value_name = "name|kind")]
    sort_by: Option<String>,
    /// wide or name
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
}

/// What can be done with the objects of every kind.
const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Runs `api-resources`.
pub fn resources(session: &Session, args: &ResourcesArgs) -> Outcome {
    let mut kinds: Vec<&Kind> = kind::all().iter().filter(|k| args.wants(k)).collect();
    match args.sort_by.as_deref() {
        None => kinds.sort_by_key(|k| (k.names.group, k.names.plural)),
        Some("name") => kinds.sort_by_key(|k| k.names.plural),
        Some("kind") => kinds.sort_by_key(|k| k.names.kind),
        Some(other) => fail!("--sort-by accepts only name or kind, not {other:?}"),
    }
    let wide = match args.output.as_deref() {
        None | Some("") => false,
        Some("wide") => true,
        Some("name") => {
            let names: String = kinds.iter().map(|k| format!("{}\n", k.resource)).collect();
            return session.out.text(&names);
        }
        Some(other) => fail!("--output {other:?} is not available: use wide or name"),
    };
    let mut rows = Vec::new();
    let texts = |cells: &[&str]| cells.iter().map(|c| (*c).to_string()).collect::<Vec<_>>();
    if !args.no_headers {
        let mut cells = vec!["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
        if wide {
            cells.extend(["VERBS", "CATEGORIES"]);
        }
        rows.push(texts(&cells));
    }
    for kind in kinds {
        let names = &kind.names;
        let (version, namespaced) = (kind.api_version(), names.namespaced.to_string());
        let (short, verbs) = (names.short.join(","), VERBS.join(","));
        let categories = names.categories.join(",");
        let mut cells = vec![names.plural, &short, &version, &namespaced, names.kind];
        if wide {
            cells.extend([verbs.as_str(), &categories]);
        }
        rows.push(texts(&cells));
    }
    session.out.text(&Table::default().rows(&rows))
}

impl ResourcesArgs {
    fn wants(&self, kind: &Kind) -> bool {
        self.namespaced.is_none_or(|n| n == kind.names.namespaced)
            && self
                .api_group
                .as_deref()
                .is_none_or(|g| g == kind.names.group)
            && self
                .categories
                .iter()
                .all(|c| kind.names.categories.contains(&c.as_str()))
            && self.verbs.iter().all(|v| VERBS.contains(&v.as_str()))
    }
}

/// Runs `api-versions`.
pub fn versions(session: &Session) -> Outcome {
    let mut versions: Vec<String> = kind::all().iter().map(Kind::api_version).collect();
    versions.sort();
    versions.dedup();
    session.out.line(versions.join("\n"))
}

/// Arguments of `version`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kabuki version\n  kabuki version --client\n  kabuki version -o json"
)]
pub struct VersionArgs {
    /// Only of this program
    #[arg(long)]
    client: bool,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
}

/// Runs `version`.
pub async fn version(session: &Session, args: VersionArgs) -> Outcome {
    let client = env!("CARGO_PKG_VERSION");
    let platform = format!("{}/{}", std::env::consts::OS, architecture());
    let mut value =
        json!({"clientVersion": {"gitVersion": format!("v{client}"), "platform": platform}});
    let form = args.output.as_deref();
    if !matches!(form, None | Some("json" | "yaml")) {
        fail!("--output must be 'yaml' or 'json'");
    }
    // Said before the server is asked: it may not answer.
    if form.is_none() {
        session.out.line(format!("Client Version: v{client}"))?;
    }
    if !args.client {
        let server = session.client().await?.version().await?;
        if form.is_none() {
            return session.out.line(format!(
                "Server Version: v{} (node {}, {})\nKubernetes API: {}",
                server.kabuki, server.node, server.platform, server.kubernetes
            ));
        }
        value["serverVersion"] = json!({
            "gitVersion": format!("v{}", server.kabuki), "kubernetes": server.kubernetes,
            "node": server.node, "platform": server.platform,
        });
    }
    match form {
        Some("json") => session.out.line(indented(&value)?),
        Some(_) => session.out.text(&to_yaml(&value)),
        None => Ok(()),
    }
}

/// The architecture as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Runs `cluster-info`.
pub async fn cluster_info(session: &Session) -> Outcome {
    let server = match &session.globals.server {
        Some(server) => server.clone(),
        None => {
            session
                .kubeconfig()?
                .target(session.globals.context.as_deref())?
                .server
        }
    };
    let version = session.client().await?.version().await?;
    session
        .out
        .line(format!("The control plane is running at {server}"))?;
    session.out.line(format!(
        "Node {} serves this session: Kabuki v{}, Kubernetes API {}",
        version.node, version.kabuki, version.kubernetes
    ))
}
