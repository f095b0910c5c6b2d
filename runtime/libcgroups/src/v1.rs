//! One directory per controller.

pub mod util {
    use crate::common::CgroupError;
    use crate::hierarchy::Layout;
    use std::path::PathBuf;

    /// Where the hierarchies of controllers and the named ones are mounted.
    pub fn list_subsystem_mount_points() -> Result<Vec<PathBuf>, CgroupError> {
        let layout = Layout::get()?;
        Ok(layout.v1.iter().map(|mount| mount.root.clone()).collect())
    }
}
