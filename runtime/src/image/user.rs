//! Who a container runs as: an image's or pod's user text against the image's own files.
//!
//! `user`, `uid`, `user:group`, `uid:gid` in any mix, by the rules of Docker and the OCI
//! runtimes: names must be in `/etc/passwd` and `/etc/group`, numbers need not be; a number
//! is taken as an id first. Without a group it is the user's own, or 0 for an unknown uid.

use std::path::{Path, PathBuf};

use super::{
    error::{ImageError, Result},
    overlay::LayerView,
};

/// Large directories of users have some hundred KiB.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// As many supplementary groups as Linux allows.
const MAX_GROUPS: usize = 65_536;

/// A user as the kernel needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUser {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups of the user in `/etc/group`, without `gid`.
    pub groups: Vec<u32>,
    /// The home directory, `/` if the image does not say.
    pub home: String,
    /// The name in `/etc/passwd`, if any.
    pub name: Option<String>,
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Resolves `user`; empty means root. `layers` are directories stacked as for overlayfs, the
/// top one first. Blocking.
///
/// # Errors
/// [`ImageError::UnknownUser`] for names that the image does not have.
pub fn resolve_user(layers: &[PathBuf], user: &str) -> Result<ResolvedUser> {
    let view = LayerView::new(layers.to_vec())?;
    let read = |path: &str| -> Result<String> {
        let bytes = view
            .read(Path::new(path), MAX_FILE_BYTES)?
            .unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    resolve(user, &read("etc/passwd")?, &read("etc/group")?)
}

/// Resolves `user` against the texts of the two files.
fn resolve(user: &str, passwd: &str, group: &str) -> Result<ResolvedUser> {
    let unknown = |reason: String| ImageError::UnknownUser {
        user: user.to_owned(),
        reason,
    };
    let (user_text, group_text) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user_text = if user_text.is_empty() { "0" } else { user_text };
    let number = id(user_text);
    let known = passwd
        .lines()
        .filter_map(parse_passwd)
        .find(|entry| match number {
            Some(uid) => entry.uid == uid,
            None => entry.name == user_text,
        });
    let uid = match (number, &known) {
        (Some(uid), _) => uid,
        (None, Some(entry)) => entry.uid,
        (None, None) => {
            return Err(unknown(format!(
                "no matching entry for {user_text:?} in /etc/passwd"
            )));
        }
    };
    let gid = match group_text {
        None => known.as_ref().map_or(0, |entry| entry.gid),
        Some(text) => match id(text) {
            Some(gid) => gid,
            None => {
                let found = group
                    .lines()
                    .filter_map(parse_group)
                    .find(|entry| entry.name == text);
                found.map(|entry| entry.gid).ok_or_else(|| {
                    unknown(format!("no matching entry for {text:?} in /etc/group"))
                })?
            }
        },
    };
    // Like initgroups(3); a group that is named explicitly stands alone, as with Docker.
    let groups = match (&known, group_text) {
        (Some(entry), None) => supplementary(group, entry.name, gid),
        _ => Vec::new(),
    };
    let home = known
        .as_ref()
        .map(|entry| entry.home)
        .filter(|home| !home.is_empty());
    Ok(ResolvedUser {
        uid,
        gid,
        groups,
        home: home.unwrap_or("/").to_owned(),
        name: known.map(|entry| entry.name.to_owned()),
    })
}

fn supplementary(group: &str, name: &str, gid: u32) -> Vec<u32> {
    let mut groups: Vec<u32> = group
        .lines()
        .filter_map(parse_group)
        .filter(|entry| entry.gid != gid && entry.members.split(',').any(|m| m.trim() == name))
        .map(|entry| entry.gid)
        .take(MAX_GROUPS)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The highest number means "none" to the kernel.
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|&number| digits && number != u32::MAX)
}

fn parse_passwd(line: &str) -> Option<PasswdEntry<'_>> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let uid = id(fields.nth(1)?)?;
    let gid = id(fields.next()?)?;
    let home = fields.nth(1).unwrap_or_default();
    Some(PasswdEntry {
        name,
        uid,
        gid,
        home,
    })
}

fn parse_group(line: &str) -> Option<GroupEntry<'_>> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let gid = id(fields.nth(1)?)?;
    let members = fields.next().unwrap_or_default();
    Some(GroupEntry { name, gid, members })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\n\
        app:x:1000:1001:App:/home/app:/bin/sh\nbroken:x:y\n";
    const GROUP: &str = "root:x:0:\nappgrp:x:1001:\nextra:x:50:other,app\nmore:x:60:app\n";

    fn ids(user: &str) -> (u32, u32, Vec<u32>) {
        let user = resolve(user, PASSWD, GROUP).unwrap();
        (user.uid, user.gid, user.groups)
    }

    #[test]
    fn names_and_numbers_resolve_in_any_mix() {
        assert_eq!(ids(""), (0, 0, vec![]));
        assert_eq!(ids("app"), (1000, 1001, vec![50, 60]));
        assert_eq!(ids("1000"), (1000, 1001, vec![50, 60]));
        assert_eq!(ids("1000:5"), (1000, 5, vec![]));
        assert_eq!(ids("app:extra"), (1000, 50, vec![]));
        assert_eq!(ids("4711"), (4711, 0, vec![]));
        assert_eq!(ids("4711:4712"), (4711, 4712, vec![]));
        assert_eq!(ids(":extra"), (0, 50, vec![]));
    }

    #[test]
    fn the_home_directory_comes_along() {
        assert_eq!(resolve("app", PASSWD, GROUP).unwrap().home, "/home/app");
        assert_eq!(resolve("4711", PASSWD, GROUP).unwrap().home, "/");
    }

    #[test]
    fn unknown_names_and_impossible_numbers_are_refused() {
        for user in [
            "nobody",
            "app:nogroup",
            "broken",
            "4294967295",
            "-1",
            "99999999999",
        ] {
            let error = resolve(user, PASSWD, GROUP).unwrap_err();
            assert!(
                matches!(error, ImageError::UnknownUser { .. }),
                "{user}: {error}"
            );
        }
    }

    #[test]
    fn files_are_found_through_links_and_layers_but_never_outside() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("passwd"), "evil:x:666:666::/:").unwrap();
        let (top, low) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(low.path().join("usr/lib/users")).unwrap();
        fs::write(low.path().join("usr/lib/users/passwd"), PASSWD).unwrap();
        symlink("usr/lib", low.path().join("lib")).unwrap();
        fs::create_dir(top.path().join("etc")).unwrap();
        symlink("/lib/users/../users/passwd", top.path().join("etc/passwd")).unwrap();
        symlink("../../../../../../etc/real", top.path().join("etc/group")).unwrap();
        fs::write(top.path().join("etc/real"), GROUP).unwrap();
        let layers = [top.path().to_owned(), low.path().to_owned()];
        assert_eq!(resolve_user(&layers, "app:extra").unwrap().gid, 50);

        let escape = outside.path().join("passwd");
        fs::remove_file(top.path().join("etc/passwd")).unwrap();
        symlink(&escape, top.path().join("etc/passwd")).unwrap();
        assert!(resolve_user(&layers, "evil").is_err());
    }

    #[test]
    fn a_deleted_file_and_an_opaque_directory_hide_what_is_below() {
        let (top, low) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layers = [top.path().to_owned(), low.path().to_owned()];
        fs::create_dir(low.path().join("etc")).unwrap();
        fs::write(low.path().join("etc/passwd"), PASSWD).unwrap();
        assert!(resolve_user(&layers, "app").is_ok());
        fs::create_dir(top.path().join("etc")).unwrap();
        assert!(resolve_user(&layers, "app").is_ok());
        xattr::set(top.path().join("etc"), "trusted.overlay.opaque", b"y").unwrap();
        assert!(resolve_user(&layers, "app").is_err());
    }
}
