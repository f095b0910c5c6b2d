//! Writing limits: the same request in the files of v1 and of v2.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{CgroupError, Cgroups, io_error};
use crate::spec::{Resources, Warnings};

pub(super) fn apply(
    cgroups: &Cgroups,
    path: &str,
    resources: &Resources,
) -> Result<Warnings, CgroupError> {
    let mut writer = Writer {
        cgroups,
        path,
        warnings: Vec::new(),
    };
    if cgroups.is_v2() {
        writer.v2(resources)?
    } else {
        writer.v1(resources)?
    }
    Ok(writer.warnings)
}

struct Writer<'a> {
    cgroups: &'a Cgroups,
    path: &'a str,
    warnings: Warnings,
}

impl Writer<'_> {
    fn v1(&mut self, resources: &Resources) -> Result<(), CgroupError> {
        if let Some((name, _)) = resources.unified.first() {
            return Err(CgroupError::NeedsV2(name.clone()));
        }
        if let Some(shares) = resources.cpu_shares {
            self.write("cpu", "cpu.shares", shares)?;
        }
        if let Some(period) = resources.cpu_period_us {
            self.write("cpu", "cpu.cfs_period_us", period)?;
        }
        if let Some(quota) = resources.cpu_quota_us {
            self.write("cpu", "cpu.cfs_quota_us", quota)?;
        }
        if let Some(limit) = resources.memory_limit {
            self.memory_v1(limit)?;
        }
        self.common(resources)
    }

    /// Memory with swap may never be below memory alone, so the order depends on the direction.
    fn memory_v1(&mut self, limit: i64) -> Result<(), CgroupError> {
        const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";
        const ALONE: &str = "memory.limit_in_bytes";
        let counts_swap = self
            .file("memory", WITH_SWAP)
            .is_some_and(|file| file.exists());
        if !counts_swap {
            return self.write("memory", ALONE, limit);
        }
        if self.write("memory", WITH_SWAP, limit).is_ok() {
            return self.write("memory", ALONE, limit);
        }
        self.write("memory", ALONE, limit)?;
        self.write("memory", WITH_SWAP, limit)
    }

    fn v2(&mut self, resources: &Resources) -> Result<(), CgroupError> {
        if let Some(shares) = resources.cpu_shares {
            self.write("cpu", "cpu.weight", weight(shares))?;
        }
        if resources.cpu_quota_us.is_some() || resources.cpu_period_us.is_some() {
            let quota = resources.cpu_quota_us.filter(|quota| *quota >= 0);
            let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
            // 100 ms is the kernel's own default period.
            let period = resources.cpu_period_us.unwrap_or(100_000);
            self.write("cpu", "cpu.max", format!("{quota} {period}"))?;
        }
        if let Some(limit) = resources.memory_limit {
            self.write("memory", "memory.max", or_max(limit))?;
            let no_swap = if limit < 0 { "max" } else { "0" };
            if self
                .file("memory", "memory.swap.max")
                .is_some_and(|file| file.exists())
            {
                self.write("memory", "memory.swap.max", no_swap)?;
            }
        }
        self.common(resources)?;
        for (name, value) in &resources.unified {
            if name.contains('/') || !name.contains('.') {
                return Err(CgroupError::BadPath(name.clone()));
            }
            self.write("memory", name, value)?;
        }
        Ok(())
    }

    fn common(&mut self, resources: &Resources) -> Result<(), CgroupError> {
        if let Some(limit) = resources.pids_limit {
            self.write("pids", "pids.max", or_max(limit))?;
        }
        if let Some(cpus) = &resources.cpuset_cpus {
            self.write("cpuset", "cpuset.cpus", cpus)?;
        }
        if let Some(mems) = &resources.cpuset_mems {
            self.write("cpuset", "cpuset.mems", mems)?;
        }
        for (size, limit) in &resources.hugetlb {
            self.huge_pages(size, *limit)?;
        }
        Ok(())
    }

    /// Whoever may have no pages is not harmed where they cannot be counted.
    fn huge_pages(&mut self, size: &str, limit: i64) -> Result<(), CgroupError> {
        let name = match self.cgroups.is_v2() {
            true => format!("hugetlb.{size}.max"),
            false => format!("hugetlb.{size}.limit_in_bytes"),
        };
        let counted = self.file("hugetlb", &name).is_some_and(|f| f.exists());
        if limit == 0 && !counted {
            return Ok(());
        }
        self.write("hugetlb", &name, limit)
    }

    fn file(&self, controller: &str, name: &str) -> Option<PathBuf> {
        Some(self.cgroups.dir(controller, self.path)?.join(name))
    }

    fn write(
        &mut self,
        controller: &str,
        name: &str,
        value: impl ToString,
    ) -> Result<(), CgroupError> {
        let Some(file) = self.file(controller, name) else {
            self.warnings
                .push(format!("{name}: the host has no {controller} controller"));
            return Ok(());
        };
        match fs::write(&file, value.to_string()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.warnings.push(format!(
                    "{name}: the host's {controller} controller lacks it"
                ));
                Ok(())
            }
            other => other.map_err(io_error("write", &file)),
        }
    }
}

fn or_max(limit: i64) -> String {
    if limit < 0 {
        "max".to_owned()
    } else {
        limit.to_string()
    }
}

/// v1 shares (2 to 262144) on v2's scale (1 to 10000), the ends meeting the ends.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_keep_their_ends_on_the_weight_scale() {
        assert_eq!(
            (weight(0), weight(2), weight(262_144), weight(1024)),
            (1, 1, 10_000, 39)
        );
    }

    #[test]
    fn huge_pages_are_limited_where_they_are_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().display();
        let table = format!("1 1 0:1 / {root} rw - cgroup cgroup rw,hugetlb");
        let (mounts, unified) = super::super::hierarchy::parse(&table);
        let cgroups = Cgroups { mounts, unified };
        let pod = dir.path().join("pod");
        fs::create_dir(&pod).expect("made");
        let file = pod.join("hugetlb.2MB.limit_in_bytes");
        fs::write(&file, "unlimited").expect("written");
        let of = |pages: &[(&str, i64)]| Resources {
            hugetlb: pages.iter().map(|(n, b)| ((*n).to_string(), *b)).collect(),
            ..Resources::default()
        };
        let warnings = apply(&cgroups, "/pod", &of(&[("2MB", 4 << 20), ("1GB", 0)]));
        assert_eq!(warnings.expect("written"), Vec::<String>::new());
        assert_eq!(fs::read_to_string(&file).expect("text"), "4194304");
        apply(&cgroups, "/pod", &of(&[("2MB", 0)])).expect("written");
        assert_eq!(fs::read_to_string(&file).expect("text"), "0");
        // Where nothing counts them, only who wants some is told.
        let none = Cgroups {
            mounts: Vec::new(),
            unified: false,
        };
        let warnings = apply(&none, "/pod", &of(&[("2MB", 2 << 20), ("1GB", 0)]));
        assert_eq!(warnings.expect("no error").len(), 1);
    }
}
