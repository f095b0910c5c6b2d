//! The content of a log entry: a version, then commands, each with its length.

use bytes::BufMut;
use kabuki_model::codec;
use kabuki_model::command::Command;

const VERSION: u8 = 1;

/// A log entry that this program cannot read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("entry {index} has content of version {version}, only {VERSION} is supported")]
    Version { index: u64, version: u8 },
    #[error("entry {index} ends within a command")]
    Truncated { index: u64 },
    #[error("entry {index} has a command that cannot be read")]
    Command {
        index: u64,
        #[source]
        source: codec::CodecError,
    },
}

/// Joins encoded commands.
pub(crate) fn join<'a>(commands: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let size = commands.clone().map(|c| c.len() + 4).sum::<usize>() + 1;
    let mut content = Vec::with_capacity(size);
    content.put_u8(VERSION);
    for command in commands {
        // Commands are far below 4 GiB: see MAX_COMMAND_BYTES.
        content.put_u32_le(command.len() as u32);
        content.put_slice(command);
    }
    content
}

/// The commands of an entry.
pub(crate) fn split(index: u64, content: &[u8]) -> Result<Vec<Command>, EntryError> {
    let Some((version, mut rest)) = content.split_first() else {
        return Ok(Vec::new());
    };
    if *version != VERSION {
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
    fn commands_survive_an_entry_and_its_truncation_is_found() {
        let commands = [1, 2].map(|term| Command {
            term,
            ops: Vec::new(),
        });
        let encoded = commands
            .clone()
            .map(|c| codec::encode(&c).expect("encodes"));
        let content = join(encoded.iter().map(Vec::as_slice));
        assert_eq!(split(1, &content).expect("whole"), commands);
        assert!(split(1, &content[..content.len() - 1]).is_err());
        assert!(matches!(
            split(1, b"\x02"),
            Err(EntryError::Version { version: 2, .. })
        ));
        assert!(split(1, b"").expect("a leader's first entry").is_empty());
    }
}
