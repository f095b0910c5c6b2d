//! `ca`: the cluster's CA and the keys of tokens, and changing them while the cluster runs.

use super::failure::{Failure, Outcome, fail};
use super::printer::ReportArgs;
use super::session::Session;
use jiff::Timestamp;
use kabuki_model::object::{Resource, Stored};
use kabuki_model::request::ListRequest;
use kabuki_plane::admitting::charter;
use kabuki_plane::admitting::rotation::{Phase, Progress, ask_to_renew, next_step, progress};
use kabuki_plane::token;
use serde_json::json;
use std::sync::Arc;

/// Arguments of `ca`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kabuki ca status\n  kabuki ca rotate")]
pub struct CaArgs {
    #[command(subcommand)]
    what: CaVerb,
}

#[derive(Debug, clap::Subcommand)]
enum CaVerb {
    /// Take the next step of changing the CA
    Rotate(RotateArgs),
    /// Show how far a change of the CA has come
    Status(StatusArgs),
    /// Let a new key sign the tokens of service accounts
    RotateTokenKey(TokenKeyArgs),
}

/// Arguments of `ca rotate`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The CA is changed in three steps, and this takes the next one: a new CA is made and \
    trusted; it signs; the old one is forgotten. Nodes follow each step when they renew their \
    certificates, which they are asked to do at once; a step is refused until all have followed \
    the one before. After the second step make new tokens. Servers write their admin.kubeconfig \
    anew at each step; copies of it elsewhere must be fetched again after the first step, and once \
    more before the third.\n\n\
    Examples:\n  \
    kabuki ca rotate\n  \
    kabuki ca status\n\n  \
    # Without the nodes that have not followed: they must join again\n  \
    kabuki ca rotate --force"
)]
struct RotateArgs {
    /// Go on though some nodes have not followed: they must join again
    #[arg(long)]
    force: bool,
}

/// Arguments of `ca status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kabuki ca status\n  kabuki ca status -o json")]
struct StatusArgs {
    #[command(flatten)]
    output: ReportArgs,
}

/// Arguments of `ca rotate-token-key`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Tokens that were signed before stay good. Take the step again with --forget when they have \
    ended (those of pods after a year at the latest): then only the last two keys are believed.\n\n\
    Examples:\n  \
    kabuki ca rotate-token-key\n  \
    kabuki ca rotate-token-key --forget"
)]
struct TokenKeyArgs {
    /// Believe no longer what was signed before the last change
    #[arg(long)]
    forget: bool,
}

/// Runs `ca`.
pub async fn run(session: &Session, args: CaArgs) -> Outcome {
    match args.what {
        CaVerb::Rotate(args) => rotate(session, args).await,
        CaVerb::Status(args) => status(session, args).await,
        CaVerb::RotateTokenKey(args) => rotate_token_key(session, &args).await,
    }
}

async fn read(session: &Session) -> Outcome<(Arc<Stored>, Vec<Arc<Stored>>)> {
    let Some(ca) = session.find(&charter::ca_key()).await? else {
        fail!("this cluster has no CA in its state yet: wait until its first server is ready");
    };
    let nodes = session
        .list(ListRequest::all(Resource::NODES, None))
        .await?;
    Ok((ca, nodes.items))
}

fn local(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}

async fn rotate(session: &Session, args: RotateArgs) -> Outcome {
    let (ca, nodes) = read(session).await?;
    let step = next_step(&ca, &nodes, args.force).map_err(local)?;
    session.request(step.write).await?;
    session.out.line(match step.to {
        Phase::Begun => {
            "a new CA was made; nodes are told to trust it. Fetch admin.kubeconfig from a server \
             again: the old one does not trust the new CA. When `kabuki ca status` shows that \
             all do, `kabuki ca rotate` lets it sign"
        }
        Phase::Signing => {
            "the new CA signs; nodes get new certificates. Make new tokens, and fetch \
             admin.kubeconfig from a server once more. When `kabuki ca status` shows that all nodes \
             have followed, `kabuki ca rotate` forgets the old CA"
        }
        Phase::Steady => "the old CA is forgotten: only the new one is trusted",
    })?;
    // Whoever is not reached now follows within a day.
    let mark = Timestamp::now().to_string();
    for request in ask_to_renew(&nodes, &mark) {
        match session.request(request).await {
            Err(failure) if !failure.is_not_found() => session.out.note(format!(
                "a node was not asked to renew its certificate, and will within a day: {}",
                failure.text()
            )),
            _ => {}
        }
    }
    Ok(())
}

async fn rotate_token_key(session: &Session, args: &TokenKeyArgs) -> Outcome {
    let Some(keys) = session.find(&token::keys_key()).await? else {
        fail!("this cluster has no keys for tokens yet: wait until its first server is ready");
    };
    let write = token::rotation(&keys, args.forget).map_err(local)?;
    session.request(write).await?;
    session.out.line(match args.forget {
        true => "a new key signs tokens; only the one before it is still believed",
        false => "a new key signs tokens; all that came before are still believed",
    })
}

async fn status(session: &Session, args: StatusArgs) -> Outcome {
    args.output.format()?;
    let (ca, nodes) = read(session).await?;
    let now = progress(&ca, &nodes).map_err(local)?;
    let items = vec![json!({
        "phase": name(now.phase), "members": now.members, "waiting": now.waiting,
        "signer": now.signer, "trusted": now.trusted,
    })];
    args.output
        .print(&session.out, "CaStatusList", items, || text(&now))
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Steady => "steady",
        Phase::Begun => "begun",
        Phase::Signing => "signing",
    }
}

fn text(now: &Progress) -> String {
    let state = match now.phase {
        Phase::Steady => "one CA; it is not being changed",
        Phase::Begun => "a new CA is trusted, the old one signs",
        Phase::Signing => "the new CA signs, the old one is still trusted",
    };
    let followed = now.members - now.waiting.len().min(now.members);
    let mut text = format!(
        "State:    {state}\nSigns:    {}\nTrusted:  {}\nFollowed: {followed} of {} nodes\n",
        now.signer,
        now.trusted.join("\n          "),
        now.members
    );
    if !now.waiting.is_empty() {
        text.push_str(&format!("Waiting:  {}\n", now.waiting.join(", ")));
    }
    match (now.phase, now.waiting.is_empty()) {
        (Phase::Begun, true) => {
            text.push_str("Next:     `kabuki ca rotate` lets the new CA sign\n")
        }
        (Phase::Signing, true) => {
            text.push_str("Next:     `kabuki ca rotate` forgets the old CA\n");
        }
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::cli::fake::session;
    use crate::cli::tests::{refused, said};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use kabuki_cluster::Authority;
    use kabuki_model::object::Resource;
    use serde_json::{Value, json};

    fn objects() -> [Value; 2] {
        let authority = Authority::generate().expect("a CA");
        let (certificate, key) = (authority.certificate_pem(), authority.key_pem());
        let ca = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kabuki.dev/ca",
            "metadata": {"name": "kabuki-ca", "namespace": "kube-system"},
            "data": {
                "ca.crt": STANDARD.encode(certificate), "ca.key": STANDARD.encode(key),
                "bundle.crt": STANDARD.encode(certificate),
            },
        });
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "w", "annotations": {
                "cluster.kabuki.dev/key": "00", "cluster.kabuki.dev/role": "worker",
            }},
        });
        [ca, node]
    }

    #[tokio::test]
    async fn a_new_key_signs_tokens_and_old_ones_are_forgotten_when_asked() {
        let keys = kabuki_plane::token::new_secret().expect("a key");
        let (session, api) = session(&[keys]);
        let count = || {
            let kept = api.value(Resource::SECRETS, "kabuki-token-keys");
            let kept = kept.expect("is there");
            let data = kept["data"].as_object().expect("data").clone();
            data.keys().filter(|k| k.ends_with(".pem")).count()
        };
        said(&session, &["ca", "rotate-token-key"]).await;
        said(&session, &["ca", "rotate-token-key"]).await;
        assert_eq!(count(), 3);
        said(&session, &["ca", "rotate-token-key", "--forget"]).await;
        assert_eq!(count(), 2);
    }

    #[tokio::test]
    async fn a_change_begins_and_goes_on_only_when_all_nodes_have_followed() {
        let (session, api) = session(&objects());
        let text = said(&session, &["ca", "rotate"]).await;
        assert!(text.contains("a new CA was made"), "{text}");
        let kept = api.value(Resource::SECRETS, "kabuki-ca").expect("is there");
        assert!(kept["data"]["next.crt"].is_string());
        let node = api.value(Resource::NODES, "w").expect("is there");
        let asked = &node["metadata"]["annotations"]["cluster.kabuki.dev/renew"];
        assert!(asked.is_string());
        let text = said(&session, &["ca", "status"]).await;
        assert!(text.contains("Waiting:  w"), "{text}");
        let why = refused(&session, &["ca", "rotate"]).await;
        assert!(
            why.contains("1 of 1 nodes") && why.contains("--force"),
            "{why}"
        );
        let text = said(&session, &["ca", "rotate", "--force"]).await;
        assert!(text.contains("the new CA signs"), "{text}");
        let json = said(&session, &["ca", "status", "-o", "json"]).await;
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["items"][0]["phase"], "signing");
        assert_eq!(
            json["items"][0]["trusted"].as_array().map(Vec::len),
            Some(2)
        );
    }
}
