//! A pod's own user namespace: whoever is root inside is nobody outside.
//!
//! The shim itself stays with the host's users, for it mounts images, writes cgroups and logs. A
//! child that lives for a moment makes the namespace, and in it the pod's network, host name and
//! IPC (and shared processes, if asked for), so that they belong to the pod's root.
//!
//! Files keep the owners that the container is to see: what it is given is mounted with its ids
//! mapped, which most file systems can from Linux 5.12, image layers from 5.19 and those in memory
//! from 6.3. Only what a container writes into its root is the mapped user's on the disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{chown, lchown};
use std::path::{Path, PathBuf};

use libcontainer::syscall::linux::{
    AT_RECURSIVE, MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH, MountAttr,
};
use libcontainer::syscall::syscall::create_syscall;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, pipe, setresgid, setresuid};

use super::{Attempt, Outcome, Refusal, refuse};
use crate::spec::IdRange;

/// The name of the namespace in the shim's directory.
const PLACE: &str = "users";

pub(super) struct Users {
    range: IdRange,
    namespace: File,
    /// Where containers find it to join.
    pub path: String,
}

impl Users {
    /// The host's id of one that the container sees.
    pub fn outside(&self, id: u32) -> Outcome<u32> {
        match id < self.range.count {
            true => Ok(self.range.first + id),
            false => refuse(format!(
                "id {id} is not one of the {} that a pod with users of its own has",
                self.range.count
            )),
        }
    }

    pub fn namespace(&self) -> &File {
        &self.namespace
    }

    /// Mounts `source` on `target` so that its owners are the pod's own users.
    pub fn bind(&self, source: &Path, target: &Path) -> Outcome<()> {
        self.attach(source, AT_RECURSIVE, target)
    }

    fn attach(&self, source: &Path, below: u32, target: &Path) -> Outcome<()> {
        let tree = self.mapped(source, below)?;
        let place = File::open(target)?;
        let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
        create_syscall()
            .move_mount(tree.as_fd(), None, place.as_fd(), None, flags)
            .attempt(|| format!("mount {source:?} on {target:?}"))
    }

    /// A mount of `source` (and of what is mounted `below`) that is nowhere yet and shows the pod's
    /// own users as owners.
    fn mapped(&self, source: &Path, below: u32) -> Outcome<OwnedFd> {
        let syscall = create_syscall();
        let text = source.to_str();
        let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | below;
        let tree = syscall
            .open_tree(libc::AT_FDCWD, text, flags)
            .attempt(|| format!("take {source:?}"))?;
        let mapped = MountAttr {
            attr_set: libc::MOUNT_ATTR_IDMAP,
            attr_clr: 0,
            propagation: 0,
            userns_fd: self.namespace.as_raw_fd() as u64,
        };
        let size = size_of::<MountAttr>();
        let flags = libc::AT_EMPTY_PATH as u32 | below;
        let set = syscall.mount_setattr(tree.as_fd(), Path::new(""), flags, &mapped, size);
        set.map_err(|error| {
            Refusal::from(error).reworded(|error| {
                format!(
                    "hostUsers: false needs mounts with mapped ids, which this kernel does not have \
                     for the file system of {source:?} (Linux 6.3 has them for all that are common): \
                     {error}"
                )
            })
        })?;
        Ok(tree)
    }

    /// Binds the directory that holds all `layers`, and says where they are found then.
    pub fn layers(&self, layers: &[String], stage: &Path) -> Outcome<Vec<String>> {
        // They are named by links, which lead elsewhere from another place.
        let found = layers.iter().map(std::fs::canonicalize);
        let layers = found
            .collect::<io::Result<Vec<_>>>()
            .attempt(|| "find the image's layers".to_owned())?;
        let Some(common) = common_directory(&layers) else {
            return refuse("the image has no layers");
        };
        std::fs::create_dir_all(stage)?;
        self.attach(&common, 0, stage)?;
        let moved = layers.iter().map(|layer| {
            let inside = layer.strip_prefix(&common)?;
            Ok(stage.join(inside).display().to_string())
        });
        moved.collect()
    }

    /// Gives a directory of the host to the user whom the container sees as its owner.
    pub fn take_over(&self, path: &Path) -> Outcome<()> {
        use std::os::unix::fs::MetadataExt;
        let now = std::fs::metadata(path)?;
        let id = |id: u32| match id < self.range.count {
            true => self.range.first + id,
            // Given already.
            false => id,
        };
        lchown(path, Some(id(now.uid())), Some(id(now.gid())))?;
        Ok(())
    }
}

/// The deepest directory above all of them.
fn common_directory(paths: &[PathBuf]) -> Option<PathBuf> {
    let mut common = paths.first()?.parent()?;
    for path in paths {
        while !path.starts_with(common) {
            common = common.parent()?;
        }
    }
    Some(common.to_path_buf())
}

/// Makes the namespaces and moves this process to those that are not of users or processes. The
/// process that is returned is the first of the pod's own process namespace, if one is asked for.
pub(super) fn enter(
    range: IdRange,
    dir: &Path,
    own_processes: Option<fn() -> !>,
) -> Outcome<(Users, Option<i32>)> {
    let (said, say) = pipe()?;
    let (heard, tell) = pipe()?;
    // SAFETY: the shim has a single thread.
    match unsafe { fork() }.attempt(|| "make a process".to_owned())? {
        ForkResult::Child => {
            drop((said, tell));
            let code = i32::from(holder(say, heard, own_processes).is_err());
            // SAFETY: ends the child without running what belongs to the shim.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            drop((say, heard));
            let entered = introduce(child, range, dir, said.into(), tell.into());
            // Its pipe is closed by now, which ends it.
            let _ = waitpid(child, None);
            entered
        }
    }
}

/// The child's side. What it says is a number: negative for what failed.
fn holder(say: OwnedFd, heard: OwnedFd, own_processes: Option<fn() -> !>) -> io::Result<()> {
    let (mut say, mut heard) = (File::from(say), File::from(heard));
    let mut tell = |result: Result<i32, Errno>| -> io::Result<()> {
        let number = result.unwrap_or_else(|errno| -(errno as i32));
        say.write_all(&number.to_le_bytes())?;
        result.map(|_| ()).map_err(Into::into)
    };
    tell(unshare(CloneFlags::CLONE_NEWUSER).map(|()| 0))?;
    heard.read_exact(&mut [0])?;
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    let others = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    let made = setresgid(gid, gid, gid)
        .and_then(|()| setresuid(uid, uid, uid))
        .and_then(|()| unshare(others))
        .and_then(|()| match own_processes {
            Some(life) => first_process(life),
            None => Ok(0),
        });
    // Becoming another user hides the namespaces of this process.
    let _ = nix::sys::prctl::set_dumpable(true);
    tell(made)?;
    heard.read_exact(&mut [0])
}

/// A sibling that is process 1 of a namespace of its own.
fn first_process(life: fn() -> !) -> Result<i32, Errno> {
    let flags = libc::CLONE_NEWPID | libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM this is a fork, in a process that has a single thread; the zeroes
    // are absent stack and id pointers, whatever their order on the architecture.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        0 => life(),
        pid if pid > 0 => Ok(pid as i32),
        _ => Err(Errno::last()),
    }
}

/// The shim's side.
fn introduce(
    child: Pid,
    range: IdRange,
    dir: &Path,
    mut said: File,
    mut tell: File,
) -> Outcome<(Users, Option<i32>)> {
    let mut answer = |what: &str| -> Outcome<i32> {
        let mut number = [0; 4];
        said.read_exact(&mut number).attempt(|| what.to_owned())?;
        match i32::from_le_bytes(number) {
            number if number >= 0 => Ok(number),
            errno => refuse(format!(
                "cannot {what}: {}; see user.max_user_namespaces",
                Errno::from_raw(-errno).desc()
            )),
        }
    };
    answer("make a user namespace")?;
    let map = format!("0 {} {}\n", range.first, range.count);
    for name in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{child}/{name}"), &map)
            .attempt(|| format!("give the pod the ids from {}", range.first))?;
    }
    tell.write_all(&[1])?;
    let first = answer("make namespaces in the pod's user namespace")?;
    let open = |name: &str| {
        File::open(format!("/proc/{child}/ns/{name}"))
            .attempt(|| format!("open the pod's {name} namespace"))
    };
    let namespace = open("user")?;
    for (name, kind) in [
        ("net", CloneFlags::CLONE_NEWNET),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("ipc", CloneFlags::CLONE_NEWIPC),
    ] {
        setns(open(name)?, kind).attempt(|| format!("enter the pod's {name} namespace"))?;
    }
    let path = dir.join(PLACE);
    File::create(&path)?;
    let source = format!("/proc/{child}/ns/user");
    let (none, bind) = (None::<&str>, MsFlags::MS_BIND);
    mount(Some(source.as_str()), &path, none, bind, none)
        .attempt(|| "keep the pod's user namespace".to_owned())?;
    let users = Users {
        range,
        namespace,
        path: path.display().to_string(),
    };
    Ok((users, (first > 0).then_some(first)))
}

/// Lets the pod's root pass, who is nobody here, to what is mounted below.
pub(super) fn let_pass(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711))
}

/// The shared memory of a pod belongs to its root. What this kernel cannot do with files in memory
/// is found out here, and not with the pod's first volume.
pub(super) fn give_root(users: &Users, path: &str) -> Outcome<()> {
    users.mapped(Path::new(path), 0)?;
    let root = users.outside(0)?;
    chown(path, Some(root), Some(root))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_found_below_what_they_have_in_common() {
        let common = |paths: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            common_directory(&paths)
        };
        let layers = ["/data/images/layers/a/fs", "/data/images/layers/b/fs"];
        let all = Some(PathBuf::from("/data/images/layers"));
        assert_eq!(common(&layers), all);
        let one = Some(PathBuf::from("/data/images/layers/a"));
        assert_eq!(common(&layers[..1]), one);
        assert_eq!(common(&[]), None);
    }
}
