//! `service`: where connections to services go.

use super::failure::{Outcome, fail};
use super::printer::ReportArgs;
use super::session::Session;
use kabuki_protocol::node::{ConnectionFate, ConnectionTrace, FromNode, NodeRequest};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

/// Arguments of `service`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kabuki service trace 10.96.0.1:443")]
pub struct ServiceArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say where a connection would go, and why, from the kernel's own table
    #[command(after_help = "Examples:\n  \
        # From a pod of the node that you are connected to\n  \
        kabuki service trace 10.96.0.20:80\n\n  \
        # A datagram to the cluster's name server, on another node\n  \
        kabuki service trace 10.96.0.10:53 --protocol UDP --node web-1\n\n  \
        # From outside, to a port of the node\n  \
        kabuki service trace 192.0.2.1:30080 --from 198.51.100.7")]
    Trace(TraceArgs),
}

#[derive(Debug, clap::Args)]
struct TraceArgs {
    /// The address and port
    #[arg(value_name = "ADDRESS:PORT")]
    to: SocketAddr,
    /// TCP, UDP or SCTP
    #[arg(long, default_value = "TCP")]
    protocol: String,
    /// The client's address [default: a pod of the node]
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// On which node [default: the one that you are connected to]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    #[command(flatten)]
    output: ReportArgs,
}

/// Runs `service`.
pub async fn run(session: &Session, args: ServiceArgs) -> Outcome {
    let What::Trace(args) = args.what;
    args.output.format()?;
    let node = args.node.as_deref();
    if let Some(node) = node {
        session.check_node(node).await?;
    }
    let request = NodeRequest::TraceService {
        to: args.to,
        protocol: args.protocol.to_ascii_uppercase(),
        from: args.from,
    };
    let mut stream = session.stream(node, request).await?;
    loop {
        match stream.output.recv().await {
            Some(FromNode::Connection(trace)) => {
                let items = vec![value(&trace)];
                let (out, kind) = (&session.out, "ConnectionTraceList");
                args.output.print(out, kind, items, || shown(&trace))?;
            }
            Some(FromNode::Done(end)) => {
                end?;
                return Ok(());
            }
            Some(_) => {}
            None => fail!("the node went away"),
        }
    }
}

fn value(trace: &ConnectionTrace) -> Value {
    let (fate, why) = match &trace.fate {
        ConnectionFate::Untouched => ("Untouched", ""),
        ConnectionFate::Refused(why) => ("Refused", why.as_str()),
        ConnectionFate::Dropped(why) => ("Dropped", why.as_str()),
        ConnectionFate::Sent(_) => ("Sent", ""),
        ConnectionFate::Again(_) => ("Again", ""),
    };
    let endpoints: Vec<Value> = match &trace.fate {
        ConnectionFate::Sent(shares) => shares
            .iter()
            .map(|s| json!({"endpoint": s.endpoint.to_string(), "probability": 1.0 / f64::from(s.one_in.max(1))}))
            .collect(),
        ConnectionFate::Again(endpoint) => {
            vec![json!({"endpoint": endpoint.to_string(), "probability": 1.0})]
        }
        _ => Vec::new(),
    };
    json!({
        "service": trace.service, "steps": trace.steps, "fate": fate, "reason": why,
        "endpoints": endpoints,
    })
}

/// The service, what decides, and the end.
fn shown(trace: &ConnectionTrace) -> String {
    let mut lines = Vec::new();
    if !trace.service.is_empty() {
        lines.push(format!("service: {}", trace.service));
    }
    lines.extend(trace.steps.iter().map(|step| format!("  {step}")));
    match &trace.fate {
        ConnectionFate::Untouched => {
            lines.push("no service: it goes to the address itself".to_string());
        }
        ConnectionFate::Refused(why) => lines.push(format!("refused: {why}")),
        ConnectionFate::Dropped(why) => lines.push(format!("dropped: {why}")),
        ConnectionFate::Again(endpoint) => {
            lines.push(format!("sent to {endpoint}, as before (session affinity)"));
        }
        ConnectionFate::Sent(shares) => {
            lines.push("sent to one of:".to_string());
            lines.extend(shares.iter().map(|share| {
                let percent = 100.0 / f64::from(share.one_in.max(1));
                format!("  {:<24} {percent:.1}%", share.endpoint.to_string())
            }));
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_protocol::node::EndpointShare;

    #[test]
    fn a_trace_shows_the_service_and_each_endpoint_with_its_share() {
        let share = |text: &str| EndpointShare {
            endpoint: text.parse().unwrap(),
            one_in: 2,
        };
        let trace = ConnectionTrace {
            service: "shop/web:http".into(),
            steps: vec!["chain service-2".into()],
            fate: ConnectionFate::Sent(vec![share("10.244.0.2:80"), share("10.244.1.2:80")]),
        };
        let text = shown(&trace);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "service: shop/web:http");
        assert!(lines[3].ends_with("50.0%"), "{text}");
        assert_eq!(value(&trace)["endpoints"][1]["probability"], 0.5);
    }
}
