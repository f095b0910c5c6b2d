//! Where memory comes from, and what a process keeps of it without need.
//!
//! Objects are made on one thread and freed on another, by the thousand: the C library's allocator
//! has threads wait for each other there, and grows and shrinks by single pages.

use std::fs;
use std::io;
use std::ptr::null_mut;
use tikv_jemallocator::Jemalloc;

/// Of every program that has this crate. Its settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Gives back to the system what was freed: by this process's Rust code, and by C libraries.
pub(crate) fn give_back_freed() {
    // 4096 stands for all arenas. Both calls fail only when there is no such name.
    for name in [c"thread.tcache.flush", c"arena.4096.purge"] {
        // SAFETY: the name is a C string; nothing is read or written through the null pointers.
        unsafe { tikv_jemalloc_sys::mallctl(name.as_ptr(), null_mut(), null_mut(), null_mut(), 0) };
    }
    // SAFETY: it takes the allocator's own locks and touches no memory that is in use.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Gives back to the system what was freed, and what has been used of the program's file (code and
/// constants): after a start, which needs far more of all of it than what follows. What is needed
/// again is mapped again, from the file's pages.
///
/// # Errors
/// The process's own mappings cannot be read, or the kernel refuses.
pub fn give_back_memory() -> io::Result<()> {
    give_back_freed();
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/smaps")?;
    for (begin, end) in program
        .to_str()
        .map_or_else(Vec::new, |p| as_in_file(&maps, p))
    {
        let begin = begin as *mut libc::c_void;
        // SAFETY: the range is mapped from the program's file, cannot be written to, and holds no
        // page that was (such as one that was relocated): the next access brings the same back.
        if unsafe { libc::madvise(begin, end - begin as usize, libc::MADV_DONTNEED) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The mappings (`/proc/PID/smaps`) that are the same as in the program's file.
fn as_in_file(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut present = None;
    for line in maps.lines() {
        match line.split_once(' ') {
            // The fields of a mapping follow its first line.
            Some(("Anonymous:", size)) if size.trim() == "0 kB" => found.extend(present.take()),
            Some((name, _)) if name.ends_with(':') => {}
            _ => present = read_only(line, program),
        }
    }
    found
}

/// Where a line of the mappings says that the program's file is mapped and cannot be written to.
fn read_only(line: &str, program: &str) -> Option<(usize, usize)> {
    let (range, rest) = line.split_once(' ')?;
    if !(rest.starts_with("r-xp ") || rest.starts_with("r--p ")) || !rest.ends_with(program) {
        return None;
    }
    let (begin, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some((number(begin)?, number(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
00200000-00400000 r--p 00000000 08:02 173521      /usr/bin/kabuki
Size:               2048 kB
Anonymous:             0 kB
00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/kabuki
Anonymous:             0 kB
00452000-00455000 r--p 00052000 08:02 173521      /usr/bin/kabuki
Anonymous:             8 kB
00652000-00655000 rw-p 00052000 08:02 173521      /usr/bin/kabuki
Anonymous:             0 kB
7ffd0000-7ffd1000 r--p 00052000 08:02 173522      /usr/lib/libc.so.6
Anonymous:             0 kB
7ffd2000-7ffd4000 r-xp 00000000 00:00 0           [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_as_in_the_program_s_own_file_is_given_back() {
        let code = (0x40_0000, 0x45_2000);
        let constants = (0x20_0000, 0x40_0000);
        assert_eq!(as_in_file(MAPS, "/usr/bin/kabuki"), [constants, code]);
        assert_eq!(as_in_file(MAPS, "/usr/bin/other"), []);
    }

    #[test]
    fn the_program_goes_on_afterwards() {
        give_back_memory().expect("given back");
        assert_eq!("ab".repeat(2), "abab");
    }
}
