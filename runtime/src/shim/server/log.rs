//! The CRI log format: one line per line of output, with time, stream, and a tag that says
//! whether the line is whole (`F`) or goes on in the next one (`P`).
//!
//! Bytes are written as they come: output need not be text. The shim rotates by itself, since
//! it is the only writer and must go on when no daemon runs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::now_ns;
use crate::spec::LogSpec;

/// A longer line is cut into partial ones of this size, as in other runtimes.
const LINE_LIMIT: usize = 16 << 10;

pub(super) struct LogFile {
    spec: LogSpec,
    path: PathBuf,
    /// `None` while it cannot be opened; tried again with the next output.
    file: Option<File>,
    size: u64,
}

/// The bytes of one stream's line whose end has not come yet.
#[derive(Default)]
pub(super) struct Unfinished(Vec<u8>);

impl LogFile {
    pub fn open(spec: LogSpec) -> io::Result<Self> {
        let path = PathBuf::from(&spec.path);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            spec,
            path,
            file: Some(file),
            size,
        })
    }

    /// Writes formatted lines. Returns the number of bytes that could not be written.
    fn write(&mut self, lines: &[u8]) -> u64 {
        if self.file.is_none() {
            self.file = append(&self.path).ok();
        }
        let Some(file) = &mut self.file else {
            return lines.len() as u64;
        };
        if file.write_all(lines).is_err() {
            return lines.len() as u64;
        }
        self.size += lines.len() as u64;
        if self.spec.max_size > 0 && self.size >= self.spec.max_size {
            self.rotate();
        }
        0
    }

    /// Renames the file, as `<path>.<time>`, and starts a new one. When that fails the old one
    /// grows on: losing output would be worse.
    fn rotate(&mut self) {
        let mut aside = PathBuf::from(format!("{}.{}", self.spec.path, compact_time(now_ns())));
        let mut number = 0;
        while aside.exists() {
            number += 1;
            aside = format!("{}.{}.{number}", self.spec.path, compact_time(now_ns())).into();
        }
        if self.spec.max_files <= 1 {
            // Nothing old is kept.
            let _ = fs::remove_file(&self.path);
        } else if fs::rename(&self.path, &aside).is_err() {
            return;
        }
        self.file = append(&self.path).ok();
        self.size = 0;
        self.remove_oldest();
    }

    fn remove_oldest(&self) {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return;
        };
        let prefix = format!("{}.", name.to_string_lossy());
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        let rotated =
            |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&prefix);
        let mut old: Vec<_> = entries
            .flatten()
            .filter(rotated)
            .map(|entry| entry.path())
            .collect();
        old.sort_by_key(|path| fs::metadata(path).and_then(|found| found.modified()).ok());
        let keep = (self.spec.max_files as usize).saturating_sub(1);
        for path in old.iter().take(old.len().saturating_sub(keep)) {
            let _ = fs::remove_file(path);
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

impl Unfinished {
    /// Takes output of a stream, and logs the lines that are complete with it. Returns the
    /// number of bytes lost.
    pub fn feed(&mut self, stream: &str, mut output: &[u8], log: &mut LogFile) -> u64 {
        let time = rfc3339(now_ns());
        let mut lines = Vec::with_capacity(output.len() + 64);
        while let Some(end) = output.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = output.split_at(end);
            output = &rest[1..];
            self.cut(&time, stream, line, &mut lines);
            entry(&mut lines, &time, stream, 'F', &std::mem::take(&mut self.0));
        }
        self.cut(&time, stream, output, &mut lines);
        if lines.is_empty() {
            0
        } else {
            log.write(&lines)
        }
    }

    /// Adds to the unfinished line, and logs the full parts of an overlong one.
    fn cut(&mut self, time: &str, stream: &str, more: &[u8], lines: &mut Vec<u8>) {
        self.0.extend_from_slice(more);
        while self.0.len() > LINE_LIMIT {
            let rest = self.0.split_off(LINE_LIMIT);
            entry(lines, time, stream, 'P', &self.0);
            self.0 = rest;
        }
    }

    /// Logs what a stream ended with, if it did not end with a line.
    pub fn finish(&mut self, stream: &str, log: &mut LogFile) -> u64 {
        if self.0.is_empty() {
            return 0;
        }
        let mut lines = Vec::new();
        entry(
            &mut lines,
            &rfc3339(now_ns()),
            stream,
            'P',
            &std::mem::take(&mut self.0),
        );
        log.write(&lines)
    }
}

fn entry(lines: &mut Vec<u8>, time: &str, stream: &str, tag: char, content: &[u8]) {
    lines.extend_from_slice(format!("{time} {stream} {tag} ").as_bytes());
    lines.extend_from_slice(content);
    lines.push(b'\n');
}

/// Year, month, day, hour, minute, second.
fn civil(seconds: u64) -> [u64; 6] {
    // Days are counted from 1 March of year 0, so that a leap day ends its year.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let of_day = seconds % 86_400;
    [
        year,
        month,
        day,
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60,
    ]
}

fn rfc3339(at_ns: u64) -> String {
    let [year, month, day, hour, minute, second] = civil(at_ns / 1_000_000_000);
    let fraction = at_ns % 1_000_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

fn compact_time(at_ns: u64) -> String {
    let [year, month, day, hour, minute, second] = civil(at_ns / 1_000_000_000);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dir: &Path, max_size: u64, max_files: u32) -> LogFile {
        let path = dir.join("0.log").display().to_string();
        LogFile::open(LogSpec {
            path,
            max_size,
            max_files,
        })
        .unwrap()
    }

    fn entries(dir: &Path) -> Vec<(String, Vec<u8>)> {
        let bytes = fs::read(dir.join("0.log")).unwrap();
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let parse = |line: &[u8]| {
            let mut parts = line.splitn(4, |byte| *byte == b' ').skip(1);
            let mut text = || String::from_utf8(parts.next().unwrap().to_vec()).unwrap();
            let head = format!("{} {}", text(), text());
            (head, parts.next().unwrap().to_vec())
        };
        lines.map(parse).collect()
    }

    #[test]
    fn times_are_written_as_rfc3339_with_nanoseconds() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(
            rfc3339(951_827_696_000_000_007),
            "2000-02-29T12:34:56.000000007Z"
        );
        assert_eq!(
            rfc3339(4_107_542_399_999_999_999),
            "2100-02-28T23:59:59.999999999Z"
        );
    }

    #[test]
    fn a_line_that_comes_in_pieces_is_one_entry() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, mut stream) = (log(dir.path(), 0, 1), Unfinished::default());
        for piece in [&b"he"[..], b"llo\n\xff\x00", b"\nend"] {
            assert_eq!(stream.feed("stdout", piece, &mut log), 0);
        }
        stream.finish("stdout", &mut log);
        let expected: Vec<(String, Vec<u8>)> = vec![
            ("stdout F".into(), b"hello".to_vec()),
            ("stdout F".into(), b"\xff\x00".to_vec()),
            ("stdout P".into(), b"end".to_vec()),
        ];
        assert_eq!(entries(dir.path()), expected);
    }

    #[test]
    fn an_overlong_line_is_cut_into_partial_entries() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, mut stream) = (log(dir.path(), 0, 1), Unfinished::default());
        stream.feed("stderr", &vec![b'x'; LINE_LIMIT * 2 + 5], &mut log);
        stream.feed("stderr", b"\n", &mut log);
        let sizes: Vec<_> = entries(dir.path())
            .into_iter()
            .map(|(head, line)| (head, line.len()))
            .collect();
        let partial = ("stderr P".to_owned(), LINE_LIMIT);
        assert_eq!(
            sizes,
            [partial.clone(), partial, ("stderr F".to_owned(), 5)]
        );
    }

    #[test]
    fn rotation_keeps_only_so_many_files() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, mut stream) = (log(dir.path(), 200, 3), Unfinished::default());
        for number in 0..100 {
            stream.feed("stdout", format!("line {number}\n").as_bytes(), &mut log);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        let size = fs::metadata(dir.path().join("0.log")).unwrap().len();
        assert!(size < 300, "{size}");
    }
}
