//! `top`: what nodes, pods and containers use.

use super::align::Table;
use super::failure::{Outcome, fail};
use super::pods;
use super::printer::ReportArgs;
use super::session::Session;
use kabuki_model::request::ListRequest;
use kabuki_model::{Quantity, Resource};
use kabuki_protocol::node::{FromNode, NodeMetrics, NodeRequest, PodMetrics, Usage};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// A node that does not answer within this time is left out.
const NODE_LIMIT: Duration = Duration::from_secs(5);

/// Arguments of `top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki top nodes\n  \
    kabuki top pods -A --sort-by=memory\n  \
    kabuki top pod web --containers")]
pub struct TopArgs {
    /// nodes or pods
    what: String,
    /// Only this one
    name: Option<String>,
    /// Pods: those that a label selector selects
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Pods: in all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Pods: each container in a row of its own
    #[arg(long)]
    containers: bool,
    /// By what to sort: cpu or memory
    #[arg(long, value_name = "cpu|memory")]
    sort_by: Option<String>,
    /// Without the headings
    #[arg(long)]
    no_headers: bool,
    /// Pods: the sum of all in a last row
    #[arg(long)]
    sum: bool,
    #[command(flatten)]
    output: ReportArgs,
}

/// What rows are sorted by.
#[derive(Clone, Copy, PartialEq)]
enum SortBy {
    Name,
    Cpu,
    Memory,
}

/// Runs `top`.
pub async fn run(session: &Session, args: TopArgs) -> Outcome {
    args.output.format()?;
    let sort = match args.sort_by.as_deref() {
        None => SortBy::Name,
        Some("cpu") => SortBy::Cpu,
        Some("memory") => SortBy::Memory,
        Some(other) => fail!("--sort-by {other:?} is neither cpu nor memory"),
    };
    match args.what.as_str() {
        "node" | "nodes" | "no" => nodes(session, &args, sort).await,
        "pod" | "pods" | "po" => self::pods(session, &args, sort).await,
        other => fail!("`top {other}` is not known: use `top nodes` or `top pods`"),
    }
}

async fn ask(session: &Session, node: &str) -> Outcome<Option<NodeMetrics>> {
    let mut stream = session.stream(Some(node), NodeRequest::Metrics).await?;
    while let Some(chunk) = stream.output.recv().await {
        match chunk {
            FromNode::Metrics(metrics) => return Ok(Some(metrics)),
            FromNode::Done(end) => {
                end?;
                break;
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The figures of one node; `None` when it does not answer.
async fn figures(session: &Session, node: &str) -> Outcome<Option<NodeMetrics>> {
    match tokio::time::timeout(NODE_LIMIT, ask(session, node)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            session
                .out
                .note(format!("no figures of node {node}: {}", error.text()));
            Ok(None)
        }
        Err(_) => {
            session
                .out
                .note(format!("no figures of node {node}: it does not answer"));
            Ok(None)
        }
    }
}

fn sort_by(sort: SortBy, usage: &Usage) -> Reverse<u64> {
    Reverse(match sort {
        SortBy::Name => 0,
        SortBy::Cpu => usage.cpu_nanocores,
        SortBy::Memory => usage.memory_working_set_bytes,
    })
}

async fn nodes(session: &Session, args: &TopArgs, sort: SortBy) -> Outcome {
    let mut request = ListRequest::all(Resource::NODES, None);
    request.labels = args.selector.clone().unwrap_or_default();
    let listed = session.list(request).await?;
    let names = listed.items.iter().map(|o| o.key.name.to_string());
    let names: Vec<String> = names
        .filter(|n| args.name.as_ref().is_none_or(|wanted| wanted == n))
        .collect();
    if let (Some(name), true) = (&args.name, names.is_empty()) {
        fail!("nodes {name:?} not found");
    }
    let asked = names.iter().map(|name| figures(session, name));
    let mut found = Vec::new();
    for answer in futures::future::join_all(asked).await {
        found.extend(answer?);
    }
    found.sort_by_key(|n| (sort_by(sort, &n.usage), n.node.clone()));
    let items = found
        .iter()
        .map(|n| value(&n.node, None, &n.usage))
        .collect();
    let table = || {
        let mut rows = headings(
            args,
            &["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"],
        );
        rows.extend(found.iter().map(node_row));
        Table::default().rows(&rows)
    };
    args.output
        .print(&session.out, "NodeMetricsList", items, table)
}

fn node_row(node: &NodeMetrics) -> Vec<String> {
    let percent = |used: u64, all: i64| match u64::try_from(all) {
        Ok(all) if all > 0 => format!("{}%", used.saturating_mul(100) / all),
        _ => "<unknown>".to_string(),
    };
    let usage = &node.usage;
    vec![
        node.node.clone(),
        cores(usage),
        percent(milli(usage), node.cpu_milli),
        bytes(usage),
        percent(usage.memory_working_set_bytes, node.memory_bytes),
    ]
}

async fn pods(session: &Session, args: &TopArgs, sort: SortBy) -> Outcome {
    let labels = args.selector.as_deref().unwrap_or_default();
    let wanted = match &args.name {
        Some(name) => vec![pods::named(session, name).await?],
        None => pods::selected(session, labels, args.all_namespaces).await?,
    };
    let spec_node = |p: &pods::PodHandle| p.node().ok().map(str::to_string);
    let nodes: BTreeSet<String> = wanted.iter().filter_map(spec_node).collect();
    let uids: HashSet<&str> = wanted
        .iter()
        .filter_map(|p| p.object.metadata.uid.as_deref())
        .collect();
    let asked = nodes.iter().map(|node| figures(session, node));
    let mut found: Vec<PodMetrics> = Vec::new();
    for answer in futures::future::join_all(asked).await {
        let of_node = answer?.map(|metrics| metrics.pods).unwrap_or_default();
        found.extend(of_node.into_iter().filter(|p| uids.contains(&*p.uid)));
    }
    if let (Some(name), true) = (&args.name, found.is_empty()) {
        fail!("there are no figures of pod {name}: it does not run");
    }
    found.sort_by_key(|p| (sort_by(sort, &p.usage), p.namespace.clone(), p.name.clone()));
    let items = found.iter().map(|p| {
        let mut item = value(&p.name, Some(&p.namespace), &p.usage);
        let containers = p.containers.iter().map(|c| value(&c.name, None, &c.usage));
        item["containers"] = Value::Array(containers.collect());
        item
    });
    let table = || Table::default().rows(&pod_rows(args, &found));
    args.output
        .print(&session.out, "PodMetricsList", items.collect(), table)
}

fn pod_rows(args: &TopArgs, found: &[PodMetrics]) -> Vec<Vec<String>> {
    let mut names = Vec::new();
    if args.all_namespaces {
        names.push("NAMESPACE");
    }
    match args.containers {
        true => names.extend(["POD", "NAME"]),
        false => names.push("NAME"),
    }
    let before = names.len();
    names.extend(["CPU(cores)", "MEMORY(bytes)"]);
    let mut rows = headings(args, &names);
    for pod in found {
        let mut begin = Vec::new();
        if args.all_namespaces {
            begin.push(pod.namespace.clone());
        }
        begin.push(pod.name.clone());
        if !args.containers {
            rows.push([begin, vec![cores(&pod.usage), bytes(&pod.usage)]].concat());
            continue;
        }
        for container in &pod.containers {
            let usage = &container.usage;
            let own = vec![container.name.clone(), cores(usage), bytes(usage)];
            rows.push([begin.clone(), own].concat());
        }
    }
    if args.sum {
        let total = found.iter().fold(Usage::default(), |sum, pod| Usage {
            cpu_nanocores: sum.cpu_nanocores.saturating_add(pod.usage.cpu_nanocores),
            memory_working_set_bytes: sum
                .memory_working_set_bytes
                .saturating_add(pod.usage.memory_working_set_bytes),
            ..sum
        });
        let empty = vec![String::new(); before];
        rows.push([empty, vec![cores(&total), bytes(&total)]].concat());
    }
    rows
}

fn headings(args: &TopArgs, names: &[&str]) -> Vec<Vec<String>> {
    match args.no_headers {
        true => Vec::new(),
        false => vec![names.iter().map(|n| n.to_string()).collect()],
    }
}

/// Thousandths of a processor, rounded up: what is used is not nothing.
fn milli(usage: &Usage) -> u64 {
    usage.cpu_nanocores.div_ceil(1_000_000)
}

fn cores(usage: &Usage) -> String {
    format!("{}m", milli(usage))
}

fn bytes(usage: &Usage) -> String {
    format!("{}Mi", usage.memory_working_set_bytes >> 20)
}

fn value(name: &str, namespace: Option<&str>, usage: &Usage) -> Value {
    let memory = i64::try_from(usage.memory_working_set_bytes).unwrap_or(i64::MAX);
    let mut value = json!({
        "name": name,
        "usage": {
            "cpu": format!("{}n", usage.cpu_nanocores),
            "memory": Quantity::from_bytes(memory).to_string(),
            "memoryUsageBytes": usage.memory_usage_bytes,
            "memoryRssBytes": usage.memory_rss_bytes,
            "receivedBytes": usage.received_bytes, "sentBytes": usage.sent_bytes,
            "processes": usage.pids,
        },
    });
    if let Some(namespace) = namespace {
        value["namespace"] = namespace.into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_protocol::node::ContainerMetrics;

    fn used(cpu_nanocores: u64, memory: u64) -> Usage {
        Usage {
            cpu_nanocores,
            memory_working_set_bytes: memory << 20,
            ..Usage::default()
        }
    }

    fn args(containers: bool) -> TopArgs {
        TopArgs {
            what: "pods".to_string(),
            name: None,
            selector: None,
            all_namespaces: true,
            containers,
            sort_by: None,
            no_headers: false,
            sum: !containers,
            output: ReportArgs::default(),
        }
    }

    #[test]
    fn pods_are_shown_whole_or_by_container() {
        let pod = PodMetrics {
            namespace: "shop".to_string(),
            name: "web".to_string(),
            usage: used(1_500_001, 20),
            containers: vec![ContainerMetrics {
                name: "main".to_string(),
                usage: used(1_000_000, 12),
            }],
            ..PodMetrics::default()
        };
        let text = |containers| {
            let rows = pod_rows(&args(containers), std::slice::from_ref(&pod));
            let rows: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
            rows.join("\n")
        };
        assert_eq!(
            text(false),
            "NAMESPACE NAME CPU(cores) MEMORY(bytes)\nshop web 2m 20Mi\n  2m 20Mi"
        );
        assert_eq!(
            text(true),
            "NAMESPACE POD NAME CPU(cores) MEMORY(bytes)\nshop web main 1m 12Mi"
        );
    }

    #[test]
    fn a_nodes_shares_are_of_what_pods_can_have() {
        let node = NodeMetrics {
            node: "a".to_string(),
            usage: used(500_000_000, 1024),
            cpu_milli: 2000,
            memory_bytes: 4 << 30,
            ..NodeMetrics::default()
        };
        assert_eq!(node_row(&node), ["a", "500m", "25%", "1024Mi", "25%"]);
    }
}
