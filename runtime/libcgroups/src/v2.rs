//! One directory for all controllers.

pub mod util {
    use crate::common::CgroupError;
    use crate::hierarchy::Layout;
    use std::path::PathBuf;

    pub fn get_unified_mount_point() -> Result<PathBuf, CgroupError> {
        let layout = Layout::get()?;
        layout.v2.clone().ok_or(CgroupError::NotMounted)
    }
}
