//! `dns`: what the cluster's name server on a node answers.

use super::failure::{Outcome, fail};
use super::printer::ReportArgs;
use super::session::Session;
use jiff::SignedDuration;
use kabuki_protocol::node::{FromNode, NameAnswer, NodeRequest, PodRef};
use serde_json::{Value, json};

/// Arguments of `dns`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kabuki dns lookup web.shop.svc.cluster.local")]
pub struct DnsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Look a name up
    #[command(after_help = "Examples:\n  \
        # As it stands\n  \
        kabuki dns lookup web.shop.svc.cluster.local\n  \
        kabuki dns lookup _http._tcp.web.shop.svc.cluster.local --type SRV\n\n  \
        # As a pod would, with its search list\n  \
        kabuki dns lookup web --from shop/client-0\n\n  \
        # On another node\n  \
        kabuki dns lookup example.com --node web-1")]
    Lookup(LookupArgs),
}

#[derive(Debug, clap::Args)]
struct LookupArgs {
    /// The name
    name: String,
    /// The type of record
    #[arg(long = "type", value_name = "TYPE", default_value = "A")]
    kind: String,
    /// As this pod would, on its node: [NAMESPACE/]POD
    #[arg(long, value_name = "POD", conflicts_with = "node")]
    from: Option<String>,
    /// On which node [default: the one that you are connected to]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    #[command(flatten)]
    output: ReportArgs,
}

/// Runs `dns`.
pub async fn run(session: &Session, args: DnsArgs) -> Outcome {
    let What::Lookup(args) = args.what;
    args.output.format()?;
    let node = args.node.as_deref();
    if let Some(node) = node {
        session.check_node(node).await?;
    }
    let from = match &args.from {
        None => None,
        Some(text) => Some(pod(session, text)?),
    };
    let request = NodeRequest::DnsLookup {
        name: args.name.clone(),
        kind: args.kind.clone(),
        from,
    };
    let mut stream = session.stream(node, request).await?;
    let mut code = String::new();
    loop {
        match stream.output.recv().await {
            Some(FromNode::Name(answer)) => {
                code = answer.tried.last().map(|t| t.1.clone()).unwrap_or_default();
                let items = vec![value(&answer)];
                let (out, kind) = (&session.out, "NameAnswerList");
                args.output.print(out, kind, items, || shown(&answer))?;
            }
            Some(FromNode::Done(end)) => {
                end?;
                break;
            }
            Some(_) => {}
            None => fail!("the node went away"),
        }
    }
    match code.as_str() {
        "NOERROR" => Ok(()),
        code => fail!("{} {}: {code}", args.name, args.kind),
    }
}

/// A pod by `NAMESPACE/NAME`, or in the present namespace.
fn pod(session: &Session, text: &str) -> Outcome<PodRef> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (namespace.to_string(), name),
        None => (session.namespace()?, text),
    };
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        fail!("--from {text:?} is not [NAMESPACE/]POD");
    }
    Ok(PodRef {
        namespace,
        name: name.to_string(),
    })
}

fn value(answer: &NameAnswer) -> Value {
    let tried = answer.tried.iter();
    let tried: Vec<Value> = tried
        .map(|(name, code)| json!({"name": name, "code": code}))
        .collect();
    json!({
        "tried": tried, "records": answer.records, "source": answer.source,
        "server": answer.server, "ageSeconds": answer.age_s,
    })
}

/// What was tried, what was found, and from where.
fn shown(answer: &NameAnswer) -> String {
    let mut lines: Vec<String> = Vec::new();
    let tried = answer.tried.iter();
    lines.extend(tried.map(|(name, code)| format!("{name:<60} {code}")));
    lines.extend(answer.records.iter().cloned());
    let mut source = format!("source: {}", answer.source);
    if let Some(server) = &answer.server {
        source.push_str(&format!(" ({server})"));
    }
    if let Some(age) = answer.age_s {
        let age = SignedDuration::from_secs(i64::try_from(age).unwrap_or(i64::MAX));
        source.push_str(&format!(", age: {age:#}"));
    }
    lines.push(source);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_shows_what_was_tried_and_where_it_is_from() {
        let answer = NameAnswer {
            tried: vec![
                ("a.x.".into(), "NXDOMAIN".into()),
                ("a.".into(), "NOERROR".into()),
            ],
            records: vec!["a. 5 IN A 192.0.2.1".into()],
            source: "cache".into(),
            server: Some("192.0.2.53:53".into()),
            age_s: Some(61),
        };
        let text = shown(&answer);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with("a.x. ") && lines[0].ends_with("NXDOMAIN"));
        assert_eq!(lines[3], "source: cache (192.0.2.53:53), age: 1m 1s");
    }
}
