//! `token`: what machines join by.

use super::align::Table;
use super::failure::{Failure, Outcome, fail};
use super::printer::ReportArgs;
use super::session::Session;
use super::waiting::duration;
use jiff::{SignedDuration, Timestamp};
use kabuki_cluster::facts::member;
use kabuki_cluster::join::Token;
use kabuki_model::bootstrap_token::{self, BootstrapToken, TokenRole};
use kabuki_model::kind::Kind;
use kabuki_model::object::{Resource, Stored};
use kabuki_model::printing::human_duration;
use kabuki_model::request::{DeleteOptions, ListRequest, WriteOptions};
use kabuki_plane::admitting::charter::{self, authority_of};
use serde_json::{Value, json};

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki token create\n  \
    kabuki token list\n  \
    kabuki token delete abcdef")]
pub struct TokenArgs {
    #[command(subcommand)]
    what: TokenVerb,
}

#[derive(Debug, clap::Subcommand)]
enum TokenVerb {
    /// Make a token, and print the command that a new machine joins with
    Create(CreateArgs),
    /// Show the tokens, without their secrets
    List(ListArgs),
    /// Make tokens good for nothing
    Delete(DeleteArgs),
}

/// Arguments of `token create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Any machine may join with it, as what it wants, for a day\n  \
    kabuki token create\n\n  \
    # One worker, within the hour\n  \
    kabuki token create --role worker --one-time --ttl 1h --description 'rack 7'")]
struct CreateArgs {
    /// How long it is good (`90m`, `24h`); 0 is until it is deleted
    #[arg(long, default_value = "24h", value_name = "DURATION")]
    ttl: String,
    /// What machines may become with it
    #[arg(long, default_value = "any", value_name = "server|worker|any")]
    role: String,
    /// Good for one machine
    #[arg(long)]
    one_time: bool,
    /// What it is for, for people
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TEXT"
    )]
    description: String,
}

/// Arguments of `token list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kabuki token list\n  kabuki token list -o json")]
struct ListArgs {
    #[command(flatten)]
    output: ReportArgs,
}

/// Arguments of `token delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # By its id, as `kabuki token list` shows it, or by the whole token\n  \
    kabuki token delete abcdef")]
struct DeleteArgs {
    /// The ids
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

/// Runs `token`.
pub async fn run(session: &Session, args: TokenArgs) -> Outcome {
    match args.what {
        TokenVerb::Create(args) => create(session, args).await,
        TokenVerb::List(args) => list(session, args).await,
        TokenVerb::Delete(args) => delete(session, args).await,
    }
}

fn secrets() -> Outcome<&'static Kind> {
    let kind = kabuki_model::kind::of(&Resource::SECRETS);
    kind.ok_or_else(|| Failure::new("this program knows no Secrets"))
}

async fn create(session: &Session, args: CreateArgs) -> Outcome {
    let role: TokenRole = match args.role.parse() {
        Ok(role) => role,
        Err(why) => fail!("--role: {why}"),
    };
    let ttl = duration("--ttl", &args.ttl)?;
    let ca = session.find(&charter::ca_key()).await?;
    let Some(ca) = ca else {
        fail!("this cluster has no CA in its state yet: wait until its first server is ready");
    };
    let (authority, _) = authority_of(&ca).map_err(|e| Failure::new(e.to_string()))?;
    let token = Token::new(authority.sha256(), rand::random());
    let now = Timestamp::now();
    let expires = match ttl.is_zero() {
        true => None,
        false => Some(end(now, ttl)?),
    };
    let kept = BootstrapToken {
        id: token.id().to_string(),
        secret: token.secret().to_string(),
        expires,
        role,
        one_time: args.one_time,
        used_by: None,
        description: args.description,
    };
    let options = WriteOptions::default();
    let (kind, value) = (secrets()?, kept.to_value());
    session
        .create(kind, bootstrap_token::NAMESPACE, &value, options)
        .await?;
    session.out.line(&token)?;
    // On standard error, so that a script reads the token alone.
    session
        .out
        .note(advice(&token, &kept, &servers(session).await?));
    Ok(())
}

fn end(now: Timestamp, ttl: std::time::Duration) -> Outcome<Timestamp> {
    let end = SignedDuration::try_from(ttl)
        .ok()
        .and_then(|ttl| now.checked_add(ttl).ok());
    let end = end.and_then(|at| Timestamp::from_second(at.as_second()).ok());
    end.ok_or_else(|| Failure::new("--ttl is longer than time is counted"))
}

/// Where the servers are.
async fn servers(session: &Session) -> Outcome<Vec<String>> {
    let nodes = session
        .list(ListRequest::all(Resource::NODES, None))
        .await?;
    let members = nodes.items.iter().filter_map(|n| member(n));
    let servers = members.filter(|m| m.server_id.is_some() && !m.leaving);
    Ok(servers.map(|m| m.address).collect())
}

fn advice(token: &Token, kept: &BootstrapToken, servers: &[String]) -> String {
    let role = match kept.role {
        TokenRole::Any => String::new(),
        role => format!(" --role {}", role.as_str()),
    };
    let join = servers
        .first()
        .map_or_else(String::new, |s| format!(" --join {s}"));
    let many = match kept.one_time {
        true => "one machine",
        false => "machines",
    };
    let until = match kept.expires {
        Some(at) => format!("until {at}"),
        None => "until it is deleted".to_string(),
    };
    format!(
        "\nGood for {many}, {until}. On a new machine, as root:\n\n    kabuki node{join}{role} \
         --token {token}\n\nOn the servers' own network segment --join may be left out."
    )
}

async fn tokens(session: &Session) -> Outcome<Vec<std::sync::Arc<Stored>>> {
    let namespace = Some(bootstrap_token::NAMESPACE);
    let mut request = ListRequest::all(Resource::SECRETS, namespace);
    request.fields = format!("type={}", bootstrap_token::TYPE);
    let list = session.list(request).await?;
    let tokens = list.items.into_iter();
    Ok(tokens.filter(|s| bootstrap_token::is_token(s)).collect())
}

async fn list(session: &Session, args: ListArgs) -> Outcome {
    args.output.format()?;
    let (found, now) = (tokens(session).await?, Timestamp::now());
    let items = found.iter().map(|s| value(s, now)).collect();
    args.output.print(&session.out, "TokenList", items, || {
        match found.is_empty() {
            true => "No tokens: make one with `kabuki token create`\n".to_string(),
            false => table(&found, now),
        }
    })
}

fn id_of(secret: &Stored) -> &str {
    let name = &*secret.key.name;
    name.strip_prefix(bootstrap_token::NAME_PREFIX)
        .unwrap_or(name)
}

/// Never with the secret.
fn value(secret: &Stored, now: Timestamp) -> Value {
    match BootstrapToken::read(secret) {
        Ok(token) => json!({
            "id": token.id, "role": token.role.as_str(), "oneTime": token.one_time,
            "expires": token.expires.map(|at| at.to_string()),
            "expired": token.expires.is_some_and(|at| at <= now),
            "usedBy": token.used_by.map(|u| u.node), "description": token.description,
        }),
        Err(why) => json!({"id": id_of(secret), "damaged": why}),
    }
}

fn table(found: &[std::sync::Arc<Stored>], now: Timestamp) -> String {
    let headings = ["ID", "TTL", "ROLE", "ONE-TIME", "USED-BY", "DESCRIPTION"];
    let mut rows = vec![headings.map(str::to_string).to_vec()];
    for secret in found {
        let row = match BootstrapToken::read(secret) {
            Ok(token) => [
                token.id,
                left(token.expires, now),
                token.role.as_str().to_string(),
                token.one_time.to_string(),
                token.used_by.map_or_else(|| "-".to_string(), |u| u.node),
                token.description,
            ],
            Err(why) => {
                let unknown = || "?".to_string();
                let id = id_of(secret).to_string();
                let why = format!("good for nothing: {why}");
                [id, unknown(), unknown(), unknown(), unknown(), why]
            }
        };
        rows.push(row.to_vec());
    }
    Table::default().rows(&rows)
}

fn left(expires: Option<Timestamp>, now: Timestamp) -> String {
    match expires {
        None => "forever".to_string(),
        Some(at) if at <= now => "expired".to_string(),
        Some(at) => human_duration(at.as_second() - now.as_second()),
    }
}

async fn delete(session: &Session, args: DeleteArgs) -> Outcome {
    let mut failures = Vec::new();
    for given in &args.ids {
        // Who pastes the whole token means its id.
        let id = match given.parse::<Token>() {
            Ok(token) => token.id().to_string(),
            Err(_) => given
                .trim_start_matches(bootstrap_token::NAME_PREFIX)
                .to_string(),
        };
        let key = bootstrap_token::key(&id);
        match session.delete(&key, DeleteOptions::default()).await {
            Ok(_) => session.out.line(format!("token {id} deleted"))?,
            Err(failure) if failure.is_not_found() => failures.push(Failure::new(format!(
                "there is no token {id}: see `kabuki token list`"
            ))),
            Err(failure) => failures.push(failure),
        }
    }
    Failure::gather(failures)
}

#[cfg(test)]
mod tests {
    use crate::cli::fake::session;
    use crate::cli::tests::{refused, said};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use kabuki_cluster::Authority;
    use kabuki_cluster::join::Token;
    use kabuki_model::object::Resource;
    use serde_json::{Value, json};

    fn ca() -> (Value, [u8; 32]) {
        let authority = Authority::generate().expect("a CA");
        let (certificate, key) = (authority.certificate_pem(), authority.key_pem());
        let data = json!({
            "ca.crt": STANDARD.encode(certificate), "ca.key": STANDARD.encode(key),
            "bundle.crt": STANDARD.encode(certificate),
        });
        let value = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kabuki.dev/ca", "data": data,
            "metadata": {"name": "kabuki-ca", "namespace": "kube-system"},
        });
        (value, authority.sha256())
    }

    fn server() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "annotations": {
                "cluster.kabuki.dev/key": "00", "cluster.kabuki.dev/role": "server",
                "cluster.kabuki.dev/server-id": "7",
                "cluster.kabuki.dev/address": "192.0.2.1:6443",
            }},
        })
    }

    #[tokio::test]
    async fn a_token_is_printed_with_the_command_that_joins() {
        let (ca, hash) = ca();
        let (session, api) = session(&[ca, server()]);
        let line = ["token", "create", "--role", "worker", "--one-time"];
        let text = said(&session, &line).await;
        let token: Token = text.lines().next().expect("a line").parse().expect("one");
        assert_eq!(token.ca_sha256(), hash);
        let command = format!("kabuki node --join 192.0.2.1:6443 --role worker --token {token}");
        assert!(text.contains(&command), "{text}");
        assert!(text.contains("one machine"), "{text}");
        let name = format!("bootstrap-token-{}", token.id());
        let kept = api.value(Resource::SECRETS, &name).expect("is kept");
        let texts = &kept["stringData"];
        assert_eq!(texts["kabuki-role"], "worker");
        assert_eq!(texts["token-secret"], token.secret());
        assert!(texts["expiration"].is_string());
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_before_anything_is_made() {
        let (ca, _) = ca();
        let (session, api) = session(&[ca, server()]);
        let why = refused(&session, &["token", "create", "--role", "king"]).await;
        assert!(why.contains("use server, worker or any"), "{why}");
        let why = refused(&session, &["token", "create", "--ttl", "soon"]).await;
        assert!(why.contains("--ttl \"soon\" is no duration"), "{why}");
        assert!(api.writes().is_empty());
        let (young, _) = crate::cli::fake::session(&[]);
        let why = refused(&young, &["token", "create"]).await;
        assert!(why.contains("no CA"), "{why}");
    }

    #[tokio::test]
    async fn tokens_are_listed_without_their_secrets_and_deleted() {
        let text = |value: &str| STANDARD.encode(value);
        let token = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
            "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
            "data": {
                "token-id": text("abcdef"), "token-secret": text("hidden"),
                "usage-bootstrap-authentication": text("true"),
                "expiration": text("2020-01-01T00:00:00Z"), "kabuki-role": text("server"),
                "kabuki-one-time": text("true"), "kabuki-used-by": text("web-1"),
            },
        });
        let (session, _) = session(&[token]);
        let shown = said(&session, &["token", "list"]).await;
        let words: Vec<&str> = shown
            .lines()
            .nth(1)
            .expect("one")
            .split_whitespace()
            .collect();
        assert_eq!(words, ["abcdef", "expired", "server", "true", "web-1"]);
        let json = said(&session, &["token", "list", "-o", "json"]).await;
        for text in [&shown, &json] {
            assert!(
                !text.contains("hidden") && !text.contains("aGlkZGVu"),
                "{text}"
            );
        }
        let deleted = said(&session, &["token", "delete", "abcdef"]).await;
        assert_eq!(deleted, "token abcdef deleted\n");
        let why = refused(&session, &["token", "delete", "abcdef"]).await;
        assert!(why.contains("there is no token abcdef"), "{why}");
    }
}
