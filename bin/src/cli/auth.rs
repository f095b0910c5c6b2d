//! `auth`: who one is, and what one may do.

use super::align::Table;
use super::failure::{Failure, Outcome, fail};
use super::printer::{Format, OutputArgs};
use super::session::Session;
use kabuki_model::kind;
use kabuki_model::request::Request;
use kabuki_model::review::ReviewKind;
use serde_json::{Value, json};

/// Arguments of `auth`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kabuki auth whoami\n  kabuki auth can-i delete pods")]
pub struct AuthArgs {
    #[command(subcommand)]
    what: Auth,
}

#[derive(Debug, clap::Subcommand)]
enum Auth {
    /// Who you are, as the server sees it
    #[command(after_help = "Example:\n  kabuki auth whoami -o yaml")]
    Whoami {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Whether you may do something
    #[command(name = "can-i")]
    CanI(CanIArgs),
}

/// Arguments of `auth can-i`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki auth can-i create deployments\n  \
    kabuki auth can-i get pod/web --subresource=log\n  \
    kabuki auth can-i '*' '*'\n  \
    kabuki auth can-i get /metrics\n\n  \
    # All that you may do in the namespace\n  \
    kabuki auth can-i --list")]
struct CanIArgs {
    /// What: get, list, create, ... or *
    #[arg(value_name = "VERB", required_unless_present = "list")]
    verb: Option<String>,
    /// With what: TYPE, TYPE/NAME, or a path that begins with /
    #[arg(value_name = "TYPE", required_unless_present = "list")]
    resource: Option<String>,
    /// The object's name
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// A part of the object: log, exec, scale
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "PART"
    )]
    subresource: String,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Show all that you may do
    #[arg(long, conflicts_with_all = ["verb", "resource", "name"])]
    list: bool,
    /// Say nothing: the exit code tells
    #[arg(short, long)]
    quiet: bool,
    /// With --list: leave out the headings
    #[arg(long)]
    no_headers: bool,
}

/// Runs `auth`.
pub async fn run(session: &Session, args: AuthArgs) -> Outcome {
    match args.what {
        Auth::Whoami { output } => whoami(session, output).await,
        Auth::CanI(args) if args.list => list(session, &args).await,
        Auth::CanI(args) => can_i(session, &args).await,
    }
}

async fn whoami(session: &Session, output: OutputArgs) -> Outcome {
    let format = output.format()?;
    let identity = session.client().await?.who_am_i().await?;
    if let Format::Human { .. } = format {
        let row = |a: &str, b: &str| vec![a.to_string(), b.to_string()];
        let groups = format!("[{}]", identity.all_groups().join(" "));
        let rows = [
            row("ATTRIBUTE", "VALUE"),
            row("Username", &identity.user),
            row("Groups", &groups),
        ];
        return session.out.text(&Table::default().rows(&rows));
    }
    let value = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
        "metadata": {},
        "status": {"userInfo": {"username": identity.user, "groups": identity.all_groups()}},
    });
    format.value(&session.out, &value, false)
}

async fn review(session: &Session, kind: ReviewKind, spec: Value) -> Outcome<Value> {
    let request = Request::Review {
        kind,
        namespace: "".into(),
        object: json!({"spec": spec}).to_string().into(),
    };
    Ok(session.document(request).await?["status"].clone())
}

async fn can_i(session: &Session, args: &CanIArgs) -> Outcome {
    let spec = args.spec(session)?;
    let status = review(session, ReviewKind::SelfSubjectAccess, spec).await?;
    let allowed = status["allowed"] == true;
    if !args.quiet {
        session.out.line(match allowed {
            true => "yes",
            false => "no",
        })?;
    }
    match allowed {
        true => Ok(()),
        false => Err(Failure::Exit(1)),
    }
}

impl CanIArgs {
    fn spec(&self, session: &Session) -> Outcome<Value> {
        let verb = self.verb.as_deref().unwrap_or_default();
        let what = self.resource.as_deref().unwrap_or_default();
        if what.starts_with('/') {
            if self.name.is_some() || !self.subresource.is_empty() {
                fail!("a path has neither names nor parts");
            }
            return Ok(json!({"nonResourceAttributes": {"verb": verb, "path": what}}));
        }
        let (what, name) = match what.split_once('/') {
            Some(_) if self.name.is_some() => fail!("the name is given twice"),
            Some((what, name)) => (what, name),
            None => (what, self.name.as_deref().unwrap_or_default()),
        };
        let (plural, group, namespaced) = match kind::by_name(what) {
            Some(kind) => (kind.names.plural, kind.names.group, kind.names.namespaced),
            None => {
                if what != "*" {
                    let warning =
                        format!("Warning: the server doesn't have a resource type {what:?}");
                    session.out.note(warning);
                }
                let (plural, group) = what.split_once('.').unwrap_or((what, ""));
                (plural, if what == "*" { "*" } else { group }, true)
            }
        };
        let namespace = match self.all_namespaces || !namespaced {
            true => String::new(),
            false => session.namespace()?,
        };
        Ok(json!({"resourceAttributes": {
            "verb": verb, "resource": plural, "group": group, "name": name,
            "subresource": self.subresource, "namespace": namespace,
        }}))
    }
}

/// All that one may do, as kinds with verbs.
async fn list(session: &Session, args: &CanIArgs) -> Outcome {
    let spec = json!({"namespace": session.namespace()?});
    let status = review(session, ReviewKind::SelfSubjectRules, spec).await?;
    if status["incomplete"] == true {
        let why = status["evaluationError"].as_str().unwrap_or_default();
        session
            .out
            .note(format!("Warning: the list may be incomplete: {why}"));
    }
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().into_iter().flatten();
        texts
            .filter_map(|t| t.as_str().map(str::to_string))
            .collect()
    };
    let shown = |value: &Value| format!("[{}]", texts(value).join(" "));
    let mut rows = Vec::new();
    if !args.no_headers {
        let heads = ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"];
        rows.push(heads.map(str::to_string).to_vec());
    }
    for rule in status["resourceRules"].as_array().into_iter().flatten() {
        let group = texts(&rule["apiGroups"]).join(",");
        for resource in texts(&rule["resources"]) {
            let full = match (resource.as_str(), group.as_str()) {
                (resource, "") => resource.to_string(),
                (resource, group) => format!("{resource}.{group}"),
            };
            let (names, verbs) = (shown(&rule["resourceNames"]), shown(&rule["verbs"]));
            rows.push(vec![full, "[]".to_string(), names, verbs]);
        }
    }
    for rule in status["nonResourceRules"].as_array().into_iter().flatten() {
        let (paths, verbs) = (shown(&rule["nonResourceURLs"]), shown(&rule["verbs"]));
        rows.push(vec![String::new(), paths, "[]".to_string(), verbs]);
    }
    session.out.text(&Table::default().rows(&rows))
}

#[cfg(test)]
mod tests {
    use crate::cli::fake::session;
    use crate::cli::tests::{run, said};

    #[tokio::test]
    async fn what_one_may_do_is_said_and_told_by_the_exit_code() {
        let (session, _) = session(&[]);
        assert_eq!(
            said(&session, &["auth", "can-i", "get", "deploy/web"]).await,
            "yes\n"
        );
        let (text, outcome) = run(&session, &["auth", "can-i", "delete", "pods"]).await;
        assert_eq!(text, "no\n");
        assert_eq!(outcome.map_err(|f| f.code()), Err(1));
        let (text, outcome) = run(&session, &["auth", "can-i", "-q", "delete", "pods"]).await;
        assert_eq!((text.as_str(), outcome.is_err()), ("", true));
        assert_eq!(
            said(&session, &["auth", "can-i", "get", "/metrics"]).await,
            "yes\n"
        );
        let rules = said(&session, &["auth", "can-i", "--list"]).await;
        let row = rules
            .lines()
            .find(|l| l.starts_with("pods "))
            .expect("pods");
        assert!(row.ends_with("[get list watch]"), "{row}");
    }
}
