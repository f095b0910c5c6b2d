//! The content of a log entry: a version, then commands, each with its length.
//!
//! Two versions are read, and either may be written: while a cluster's servers are being
//! upgraded the newer ones write what the older ones read.

use bytes::BufMut;
use kabuki_model::codec;
use kabuki_model::command::Command;

/// The newest version: what this program writes when all servers read it. Up to now it differs
/// from the one before in nothing but its number.
pub const ENTRY_VERSION: u8 = 2;

/// The oldest version that this program reads and writes.
pub const OLDEST_ENTRY_VERSION: u8 = 1;

/// A log entry that this program cannot read.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Written by a newer program.
    #[error(
        "entry {index} has content of version {version}, only {OLDEST_ENTRY_VERSION} to \
         {ENTRY_VERSION} are supported: upgrade this server"
    )]
    Version {
        /// Which entry.
        index: u64,
        /// Its version.
        version: u8,
    },
    /// It is shorter than it says.
    #[error("entry {index} ends within a command")]
    Truncated {
        /// Which entry.
        index: u64,
    },
    /// A command is not what it should be.
    #[error("entry {index} has a command that cannot be read")]
    Command {
        /// Which entry.
        index: u64,
        /// Why not.
        #[source]
        source: codec::CodecError,
    },
}

/// Joins encoded commands.
pub(super) fn join<'a>(version: u8, commands: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let size = commands.clone().map(|c| c.len() + 4).sum::<usize>() + 1;
    let mut content = Vec::with_capacity(size);
    content.put_u8(version);
    for command in commands {
        // Commands are far below 4 GiB: see MAX_COMMAND_BYTES.
        content.put_u32_le(command.len() as u32);
        content.put_slice(command);
    }
    content
}

/// The commands of an entry.
pub(super) fn split(index: u64, content: &[u8]) -> Result<Vec<Command>, EntryError> {
    let Some((version, mut rest)) = content.split_first() else {
        return Ok(Vec::new());
    };
    if !(OLDEST_ENTRY_VERSION..=ENTRY_VERSION).contains(version) {
        return Err(EntryError::Version {
            index,
            version: *version,
        });
    }
    let mut commands = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest
            .split_first_chunk::<4>()
            .ok_or(EntryError::Truncated { index })?;
        let length = u32::from_le_bytes(*length) as usize;
        let (command, after) = after
            .split_at_checked(length)
            .ok_or(EntryError::Truncated { index })?;
        let decoded = codec::decode(command);
        commands.push(decoded.map_err(|source| EntryError::Command { index, source })?);
        rest = after;
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_an_entry_of_either_version_and_its_truncation_is_found() {
        let commands = [1, 2].map(|term| Command {
            term,
            ops: Vec::new(),
        });
        let encoded = commands
            .clone()
            .map(|c| codec::encode(&c).expect("encodes"));
        for version in [OLDEST_ENTRY_VERSION, ENTRY_VERSION] {
            let content = join(version, encoded.iter().map(Vec::as_slice));
            assert_eq!(split(1, &content).expect("whole"), commands);
            assert!(split(1, &content[..content.len() - 1]).is_err());
        }
        assert!(split(1, b"").expect("a leader's first entry").is_empty());
    }

    #[test]
    fn content_of_another_version_is_refused_by_number() {
        for version in [0, ENTRY_VERSION + 1] {
            let refused = split(7, &[version]).expect_err("refused");
            assert!(matches!(refused, EntryError::Version { index: 7, .. }));
            let said = refused.to_string();
            assert!(
                said.contains(&format!("version {version}, only 1 to 2")),
                "{said}"
            );
        }
    }
}
