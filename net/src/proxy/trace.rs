//! Where a connection would go, read from the kernel's own maps.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use super::load::verdict_chain;
use super::wire::{
    self, Bytes, ENDPOINTS, FRONTS, LOCAL_MEMBERS, MEMBERS, MEMORY, NODE_PORTS, SHAPES, SOURCES,
};
use super::{ServiceTable, failed};
use crate::NetError;
use crate::plan::services::{EntryKey, EntryValue, FrontKey, Primary, Route, Scope, Shape, Target};

/// An endpoint that may be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Where it is.
    pub target: Target,
    /// It is picked once in so many times.
    pub one_in: u32,
}

/// What becomes of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// No service is there: it goes to the address itself.
    Untouched,
    /// Nobody is there: it is refused at once.
    Refused(String),
    /// It is thrown away.
    Dropped(String),
    /// It goes to one of these.
    Sent(Vec<Pick>),
    /// The client is remembered, and goes where it went before.
    Again(Target),
}

/// Where a connection would go, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTrace {
    /// The service and its port, as the packet filter notes them; empty when there is none.
    pub service: String,
    /// The maps and chains that decide, in order.
    pub steps: Vec<String>,
    /// The end.
    pub fate: Fate,
}

struct Tracer<'a> {
    table: &'a mut ServiceTable,
    from: Option<Ipv4Addr>,
    own: &'a [IpAddr],
    steps: Vec<String>,
}

impl ServiceTable {
    /// Where the kernel would send a connection to an address and port from a client (without
    /// one: from a pod of this node). `own` are the node's addresses.
    ///
    /// # Errors
    /// When the kernel's table cannot be read.
    pub fn trace(
        &mut self,
        to: Primary,
        from: Option<Ipv4Addr>,
        own: &[IpAddr],
    ) -> Result<ServiceTrace, NetError> {
        let mut tracer = Tracer {
            table: self,
            from,
            own,
            steps: Vec::new(),
        };
        let (service, fate) = tracer.run(to).map_err(|e| failed("read", e))?;
        Ok(ServiceTrace {
            service,
            steps: tracer.steps,
            fate,
        })
    }
}

impl Tracer<'_> {
    fn run(&mut self, to: Primary) -> io::Result<(String, Fate)> {
        let key = EntryKey::Front(FrontKey::Address(to));
        if let Some((shape, primary, note)) = self.front(FRONTS, &key)? {
            let fate = self.shaped(to, &shape, primary)?;
            return Ok((note, fate));
        }
        self.step(format!("map {FRONTS}: nothing"));
        if !self.is_own(to.address) {
            let ranges = &self.table.config.ranges;
            let range = ranges.iter().find(|r| r.contains(to.address.into()));
            let fate = range.map_or(Fate::Untouched, |range| {
                let why = format!("no service has this address and port of the range {range}");
                Fate::Refused(why)
            });
            return Ok((String::new(), fate));
        }
        if to.address.is_loopback() {
            return Ok((String::new(), Fate::Untouched));
        }
        let key = EntryKey::Front(FrontKey::NodePort {
            protocol: to.protocol,
            port: to.port,
        });
        match self.front(NODE_PORTS, &key)? {
            Some((shape, primary, note)) => Ok((note, self.shaped(to, &shape, primary)?)),
            None => {
                self.step(format!("map {NODE_PORTS}: nothing"));
                Ok((String::new(), Fate::Untouched))
            }
        }
    }

    fn front(
        &mut self,
        set: &'static str,
        key: &EntryKey,
    ) -> io::Result<Option<(Shape, Primary, String)>> {
        let (_, bytes, _) = wire::key(key);
        let found = self
            .table
            .element(set, &bytes, |raw, _| wire::read(set, raw))?;
        let Some((
            _,
            EntryValue::Front {
                shape,
                primary,
                note,
            },
        )) = found
        else {
            return Ok(None);
        };
        let (address, port) = (primary.address, primary.port);
        self.step(format!("map {set}: endpoints of {address}:{port}"));
        Ok(Some((shape, primary, note.to_string())))
    }

    fn shaped(&mut self, to: Primary, shape: &Shape, primary: Primary) -> io::Result<Fate> {
        let [first, second] = shape.words();
        let key = Bytes::default().word(first).word(second);
        let chain = self.table.element(SHAPES, &key, |_, element| {
            verdict_chain(element).map(ToOwned::to_owned)
        })?;
        let Some(chain) = chain else {
            self.step(format!("map {SHAPES}: nothing"));
            return Ok(Fate::Untouched);
        };
        self.step(format!("chain {chain}"));
        if shape.refuses() {
            return Ok(Fate::Refused("the service has no endpoint".to_owned()));
        }
        if shape.guarded
            && let Some(from) = self.from
            && !self.is_listed(to, from)?
        {
            let why = format!("{from} is in no source range of the load balancer");
            return Ok(Fate::Dropped(why));
        }
        let scope = self.scope(shape);
        let (count, whose) = match scope {
            Scope::Cluster => (shape.cluster, "all endpoints"),
            Scope::Local => (shape.local, "endpoints of this node"),
        };
        self.step(format!("{whose}: {count}"));
        if count == 0 {
            let why = "none of the service's endpoints is on this node".to_owned();
            return Ok(match shape.route {
                Route::External if scope == Scope::Local => Fate::Dropped(why),
                _ => Fate::Refused(why),
            });
        }
        if shape.affinity_s.is_some()
            && let Some(target) = self.remembered(primary, scope)?
        {
            self.step(format!("map {MEMORY}: this client was sent there before"));
            return Ok(Fate::Again(target));
        }
        self.picks(primary, scope, count)
    }

    fn picks(&mut self, primary: Primary, scope: Scope, count: u32) -> io::Result<Fate> {
        let mut picks = Vec::new();
        for index in (scope.first_index()..).take(count as usize) {
            let (_, key, _) = wire::key(&EntryKey::Endpoint { primary, index });
            let found = self
                .table
                .element(ENDPOINTS, &key, |raw, _| wire::read(ENDPOINTS, raw))?;
            match found {
                Some((_, EntryValue::Target(target))) => picks.push(Pick {
                    target,
                    one_in: count,
                }),
                _ => self.step(format!("map {ENDPOINTS}: number {index} is missing")),
            }
        }
        Ok(Fate::Sent(picks))
    }

    fn remembered(&mut self, primary: Primary, scope: Scope) -> io::Result<Option<Target>> {
        let Some(from) = self.from else {
            return Ok(None);
        };
        let key = Bytes::default().address(from).primary(primary);
        let found = self
            .table
            .element(MEMORY, &key, |raw, _| wire::target_at(raw.data, 0))?;
        let Some(target) = found else {
            return Ok(None);
        };
        let set = match scope {
            Scope::Cluster => MEMBERS,
            Scope::Local => LOCAL_MEMBERS,
        };
        let member = EntryKey::Member {
            scope,
            primary,
            target,
        };
        let (_, key, _) = wire::key(&member);
        self.table.element(set, &key, |_, _| Some(target))
    }

    fn is_listed(&mut self, to: Primary, from: Ipv4Addr) -> io::Result<bool> {
        let key = Bytes::default().primary(to).address(from);
        let listed = self.table.element(SOURCES, &key, |_, _| Some(()))?;
        Ok(listed.is_some())
    }

    fn scope(&self, shape: &Shape) -> Scope {
        let is_inside =
            |from: Ipv4Addr| self.table.config.cluster.contains(from.into()) || self.is_own(from);
        match shape.route {
            Route::Cluster => Scope::Cluster,
            Route::Local => Scope::Local,
            Route::External if self.from.is_none_or(is_inside) && shape.cluster > 0 => {
                Scope::Cluster
            }
            Route::External => Scope::Local,
        }
    }

    fn is_own(&self, address: Ipv4Addr) -> bool {
        self.own.contains(&IpAddr::V4(address))
    }

    fn step(&mut self, step: String) {
        self.steps.push(step);
    }
}
