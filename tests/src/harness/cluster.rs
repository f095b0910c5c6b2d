//! A cluster of daemons, each on a host of its own, around a switch.

use super::{Daemon, Host, until};
use std::time::Duration;

/// How long a cluster may take to be as it should be.
const LIMIT: Duration = Duration::from_secs(60);

/// Hosts around a switch (a bridge in a namespace of its own). Host `n` has the address
/// `10.77.0.n`.
pub struct Network {
    switch: Host,
}

/// Daemons in one cluster. The first founded it.
pub struct Cluster {
    /// The daemons: `n1`, `n2`, ...
    pub nodes: Vec<Daemon>,
    /// What connects them.
    pub network: Network,
}

impl Network {
    /// A switch without hosts.
    pub fn new() -> Self {
        let switch = Host::new();
        let add = ["link", "add", "br0", "type", "bridge", "forward_delay", "0"];
        switch.run("ip", &add);
        switch.run("ip", &["link", "set", "br0", "up"]);
        Self { switch }
    }

    /// A new host at the switch, with the address `10.77.0.number`.
    pub fn host(&self, number: usize) -> Host {
        let host = Host::new();
        let port = format!("p{number}");
        let link = ["link", "add", &port, "type", "veth", "peer", "name", "eth0"];
        let peer = [&link[..], &["netns", host.name()]].concat();
        self.switch.run("ip", &peer);
        self.switch
            .run("ip", &["link", "set", &port, "master", "br0", "up"]);
        let address = format!("{}/24", address(number));
        host.run("ip", &["address", "add", &address, "dev", "eth0"]);
        host.run("ip", &["link", "set", "eth0", "up"]);
        host.run("ip", &["route", "add", "default", "via", "10.77.0.254"]);
        host
    }

    /// Takes a host off the switch, or puts it back.
    pub fn plug(&self, number: usize, in_place: bool) {
        let state = if in_place { "up" } else { "down" };
        let port = format!("p{number}");
        self.switch.run("ip", &["link", "set", &port, state]);
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

/// The address of host `number`.
pub fn address(number: usize) -> String {
    format!("10.77.0.{number}")
}

impl Cluster {
    /// A cluster of so many servers and workers, all of them ready.
    pub fn start(servers: usize, workers: usize) -> Self {
        Self::start_with(servers, workers, &[])
    }

    /// The same, each with these arguments.
    pub fn start_with(servers: usize, workers: usize, arguments: &[&str]) -> Self {
        let mut cluster = Self::found_with(arguments);
        let token = cluster.token(&["--role", "any"]);
        for number in 2..=servers + workers {
            let role = if number <= servers {
                "server"
            } else {
                "worker"
            };
            let joining = ["--join", &address(1), "--token", &token, "--role", role];
            cluster.add(&[&joining[..], arguments].concat());
        }
        cluster.wait_ready();
        cluster.wait_voters(match servers {
            0..=2 => 1,
            3..=4 => 3,
            _ => 5,
        });
        cluster
    }

    /// A cluster of the server that founded it.
    pub fn found() -> Self {
        Self::found_with(&[])
    }

    /// The same, with these arguments.
    pub fn found_with(arguments: &[&str]) -> Self {
        let network = Network::new();
        let mut cluster = Self {
            nodes: Vec::new(),
            network,
        };
        cluster.add(arguments);
        cluster.nodes[0].wait_answering();
        cluster
    }

    /// Launches another node with these arguments, without waiting for it. Gives its number.
    pub fn add(&mut self, arguments: &[&str]) -> usize {
        let number = self.nodes.len() + 1;
        let mut node = Daemon::unstarted(self.network.host(number));
        node.set_name(&format!("n{number}"));
        node.listen_to_all();
        node.set_arguments(arguments);
        node.launch();
        self.nodes.push(node);
        number
    }

    /// Node `number`, from one on.
    pub fn node(&self, number: usize) -> &Daemon {
        &self.nodes[number - 1]
    }

    /// The same, to be changed.
    pub fn node_mut(&mut self, number: usize) -> &mut Daemon {
        &mut self.nodes[number - 1]
    }

    /// A new token.
    pub fn token(&self, arguments: &[&str]) -> String {
        self.token_at(1, arguments)
    }

    /// A new token, made at node `number`.
    pub fn token_at(&self, number: usize, arguments: &[&str]) -> String {
        let args = [&["token", "create"], arguments].concat();
        let shown = self.node(number).ok(&args);
        let token = shown.split_whitespace().find(|w| w.starts_with("K1-"));
        token
            .unwrap_or_else(|| panic!("no token in {shown:?}"))
            .to_string()
    }

    /// Waits until every node is Ready, as a server that answers sees it.
    pub fn wait_ready(&self) {
        for node in &self.nodes {
            let ready = r#"{.status.conditions[?(@.type=="Ready")].status}"#;
            self.wait_value(&format!("node/{}", node.name()), ready, "True");
        }
    }

    /// Waits until a value of an object is as expected, as the first server that answers sees it.
    pub fn wait_value(&self, object: &str, path: &str, expected: &str) {
        let mut last = String::new();
        let what = format!("{object} {path} = {expected}");
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(&what, LIMIT, || {
                last = self.value(object, path)?;
                (last == expected).then_some(())
            });
        }));
        if seen.is_err() {
            panic!("{what}, but it is {last:?}\n{}", self.logs());
        }
    }

    /// One value of an object, by the first server that answers.
    pub fn value(&self, object: &str, path: &str) -> Option<String> {
        let path = format!("jsonpath={path}");
        let args = ["get", object, "-o", &path];
        self.servers().find_map(|s| {
            let outcome = s.cli(&args);
            (outcome.code == 0).then_some(outcome.out)
        })
    }

    /// Waits until so many servers have a vote, and one of them leads.
    pub fn wait_voters(&self, count: usize) {
        let what = format!("{count} servers vote");
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(&what, LIMIT, || {
                let members = self.members()?;
                let with = |vote: &str| members.iter().filter(|m| m.1 == vote).count();
                (with("leader") == 1 && with("leader") + with("voter") == count).then_some(())
            });
        }));
        if seen.is_err() {
            panic!("{what}, but: {:?}\n{}", self.members(), self.logs());
        }
    }

    /// Name and vote of each member, by the first server that answers.
    pub fn members(&self) -> Option<Vec<(String, String)>> {
        let args = ["members", "-o", "json"];
        let text = self.servers().find_map(|s| {
            let outcome = s.cli(&args);
            (outcome.code == 0).then_some(outcome.out)
        })?;
        let members: serde_json::Value = serde_json::from_str(&text).ok()?;
        let items = members["items"].as_array()?.iter();
        let word = |m: &serde_json::Value, key: &str| m[key].as_str().unwrap_or("").to_string();
        Some(items.map(|m| (word(m, "name"), word(m, "vote"))).collect())
    }

    /// The number of the node that leads.
    pub fn leader(&self) -> usize {
        until("a server leads", LIMIT, || {
            let members = self.members()?;
            let leader = members.into_iter().find(|(_, vote)| vote == "leader")?.0;
            self.nodes.iter().position(|n| n.name() == leader)
        }) + 1
    }

    /// The running nodes that have an administrator's kubeconfig.
    fn servers(&self) -> impl Iterator<Item = &Daemon> {
        self.nodes
            .iter()
            .filter(|n| n.pid().is_some() && n.data_dir().join("admin.kubeconfig").exists())
    }

    /// The end of every node's log.
    pub fn logs(&self) -> String {
        let of = |node: &Daemon| {
            let log = node.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(25)..].join("\n");
            format!("--- {}\n{tail}\n", node.name())
        };
        self.nodes.iter().map(of).collect()
    }
}
