//! Which processors are taken: whole sockets, then whole physical cores, then the rest of cores
//! and sockets that are in use already, so that what belongs together stays together.

use super::CpuSet;
use std::collections::{BTreeMap, BTreeSet};

/// Where a processor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its socket.
    pub socket: u32,
    /// Its physical core, counted within the socket.
    pub core: u32,
}

/// The processors of a machine and where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    places: BTreeMap<u32, Place>,
}

impl Topology {
    /// A machine with these processors.
    pub fn new(places: impl IntoIterator<Item = (u32, Place)>) -> Self {
        Self {
            places: places.into_iter().collect(),
        }
    }

    /// All processors.
    pub fn all(&self) -> CpuSet {
        self.places.keys().copied().collect()
    }

    /// `count` of all processors: what is kept when nobody says which.
    pub fn first(&self, count: usize) -> CpuSet {
        self.take(&self.all(), count)
    }

    /// `count` of the free processors; all of them when there are no more.
    pub(super) fn take(&self, free: &CpuSet, count: usize) -> CpuSet {
        let mut left = free.clone();
        let mut taken = CpuSet::default();
        let by_socket = |p: &Place| (p.socket, 0);
        let by_core = |p: &Place| (p.socket, p.core);
        self.take_whole(by_socket, count, &mut left, &mut taken);
        self.take_whole(by_core, count, &mut left, &mut taken);
        // One by one: from sockets and cores with the fewest free ones left.
        while taken.len() < count {
            let sockets = self.free_in(by_socket, &left);
            let cores = self.free_in(by_core, &left);
            let used: BTreeSet<u32> = taken.iter().filter_map(|c| self.socket(c)).collect();
            let order = |cpu: &u32| {
                let place = self.places.get(cpu)?;
                let of_socket = sockets.get(&by_socket(place)).map_or(0, Vec::len);
                let of_core = cores.get(&by_core(place)).map_or(0, Vec::len);
                let away = !used.is_empty() && !used.contains(&place.socket);
                Some((away, of_socket, of_core, *cpu))
            };
            let Some(next) = left.iter().min_by_key(order) else {
                break;
            };
            let one: CpuSet = [next].into_iter().collect();
            left = left.without(&one);
            taken.extend(&one);
        }
        taken
    }

    fn socket(&self, cpu: u32) -> Option<u32> {
        self.places.get(&cpu).map(|p| p.socket)
    }

    /// The free processors of each group.
    fn free_in(
        &self,
        group: impl Fn(&Place) -> (u32, u32),
        free: &CpuSet,
    ) -> BTreeMap<(u32, u32), Vec<u32>> {
        let mut groups: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
        for (cpu, place) in self.places.iter().filter(|(cpu, _)| free.contains(**cpu)) {
            groups.entry(group(place)).or_default().push(*cpu);
        }
        groups
    }

    /// Takes groups of which every processor is free, as long as a whole one is still wanted;
    /// those in sockets that are in use already come first.
    fn take_whole(
        &self,
        group: impl Fn(&Place) -> (u32, u32) + Copy,
        count: usize,
        left: &mut CpuSet,
        taken: &mut CpuSet,
    ) {
        let whole = self.free_in(group, &self.all());
        let free = self.free_in(group, left);
        let by_socket = self.free_in(|p| (p.socket, 0), left);
        let mut complete: Vec<_> = free
            .into_iter()
            .filter(|(at, cpus)| whole.get(at).map(Vec::len) == Some(cpus.len()))
            .collect();
        complete.sort_by_key(|(at, _)| {
            let of_socket = by_socket.get(&(at.0, 0)).map_or(0, Vec::len);
            (of_socket, *at)
        });
        for (_, cpus) in complete {
            if taken.len() + cpus.len() <= count {
                let set: CpuSet = cpus.into_iter().collect();
                *left = left.without(&set);
                taken.extend(&set);
            }
        }
    }
}
