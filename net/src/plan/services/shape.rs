//! How a front picks its endpoint.

use super::LOCAL_INDEX;
use std::fmt;

/// Which endpoints a front leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// Those for all, for everyone.
    Cluster,
    /// Those of this node, for everyone.
    Local,
    /// Those for all, for pods and the node itself; those of this node for everyone else, whose
    /// source address is kept.
    External,
}

/// A shape. Two words in the kernel, from which it can be read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// Whether the front is a port of the node, not an address.
    pub node_port: bool,
    /// Which endpoints.
    pub route: Route,
    /// How many there are for all; 0 where the route does not lead there.
    pub cluster: u32,
    /// How many of this node; 0 where the route does not lead there.
    pub local: u32,
    /// Seconds for which a client is sent to the same endpoint again.
    pub affinity_s: Option<u32>,
    /// Whether only listed sources may use it.
    pub guarded: bool,
}

const AFFINITY_BITS: u32 = 24;
const NODE_PORT: u32 = 1 << 24;
const GUARDED: u32 = 1 << 25;
const ROUTE_SHIFT: u32 = 26;

impl Shape {
    /// The shape, without what does not matter to it.
    pub fn tidy(mut self) -> Self {
        match self.route {
            Route::Cluster => self.local = 0,
            Route::Local => self.cluster = 0,
            Route::External => {}
        }
        // A number behind the last would be one of the other kind.
        self.cluster = self.cluster.min(LOCAL_INDEX);
        self.local = self.local.min(LOCAL_INDEX);
        if self.refuses() {
            return Self {
                node_port: false,
                route: Route::Cluster,
                cluster: 0,
                local: 0,
                affinity_s: None,
                guarded: false,
            };
        }
        self.affinity_s = self
            .affinity_s
            .map(|s| s.clamp(1, (1 << AFFINITY_BITS) - 1));
        self
    }

    /// Whether nobody is there.
    pub fn refuses(&self) -> bool {
        self.cluster == 0 && self.local == 0
    }

    /// Its two words.
    pub fn words(&self) -> [u32; 2] {
        let route = match self.route {
            Route::Cluster => 0,
            Route::Local => 1,
            Route::External => 2,
        };
        let flag = |set, bit| if set { bit } else { 0 };
        let first = self.affinity_s.unwrap_or(0)
            | flag(self.node_port, NODE_PORT)
            | flag(self.guarded, GUARDED)
            | route << ROUTE_SHIFT;
        // Counts of up to 65,536: one less than the count, with 0 told by the route's bits.
        [
            first | flag(self.cluster > 0, 1 << 28) | flag(self.local > 0, 1 << 29),
            self.cluster.saturating_sub(1) | self.local.saturating_sub(1) << 16,
        ]
    }

    /// The shape with these words; `None` for words that no shape has.
    pub fn from_words([first, counts]: [u32; 2]) -> Option<Self> {
        let route = match (first >> ROUTE_SHIFT) & 3 {
            0 => Route::Cluster,
            1 => Route::Local,
            2 => Route::External,
            _ => return None,
        };
        let affinity_s = first & ((1 << AFFINITY_BITS) - 1);
        let count = |bit: u32, number: u32| if first & bit != 0 { number + 1 } else { 0 };
        let shape = Self {
            node_port: first & NODE_PORT != 0,
            guarded: first & GUARDED != 0,
            route,
            cluster: count(1 << 28, counts & 0xffff),
            local: count(1 << 29, counts >> 16),
            affinity_s: (affinity_s != 0).then_some(affinity_s),
        };
        (shape.words() == [first, counts]).then_some(shape)
    }

    /// The name of its chain.
    pub fn chain(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("service-")?;
        match (self.refuses(), self.route) {
            (true, _) => f.write_str("none")?,
            (_, Route::Cluster) => write!(f, "{}", self.cluster)?,
            (_, Route::Local) => write!(f, "local-{}", self.local)?,
            (_, Route::External) => write!(f, "{}-outside-{}", self.cluster, self.local)?,
        }
        if let Some(seconds) = self.affinity_s {
            write!(f, "-affinity-{seconds}")?;
        }
        if self.guarded {
            f.write_str("-guarded")?;
        }
        if self.node_port {
            f.write_str("-nodeport")?;
        }

        Ok(())
    }
}
