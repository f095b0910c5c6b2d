//! Static pods: the files of a folder, which the manager runs as it runs pods of the API, and
//! their mirrors in the API.
//!
//! `folder` reads and watches the files; `mirrors` keeps the mirrors. A file that cannot be read
//! as a pod is told of once for each of its versions, and the pod that it was before goes on, as
//! long as the file is there.

mod folder;
mod mirrors;

pub(crate) use folder::{Folder, follow};
pub(crate) use mirrors::MirrorHandle;
