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

/// Gives back to the system what was freed, and the code that has run: after a start, which needs
/// far more of both than what follows. Code that runs again is mapped again, from the file's pages.
///
/// # Errors
/// The process's own mappings cannot be read, or the kernel refuses.
pub fn give_back_memory() -> io::Result<()> {
    give_back_freed();
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    for (begin, end) in maps.lines().filter_map(|l| code(l, program.to_str()?)) {
        let begin = begin as *mut libc::c_void;
        // SAFETY: the range is the program's code as the kernel has mapped it: private, never
        // written to, and the same in the file, from which the next access brings it back.
        if unsafe { libc::madvise(begin, end - begin as usize, libc::MADV_DONTNEED) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Where a line of the mappings says that code of the program is.
fn code(line: &str, program: &str) -> Option<(usize, usize)> {
    let (range, rest) = line.split_once(' ')?;
    if !rest.starts_with("r-xp ") || !rest.ends_with(program) {
        return None;
    }
    let (begin, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some((number(begin)?, number(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_program_itself_is_given_back() {
        let line = "00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/kabuki";
        assert_eq!(code(line, "/usr/bin/kabuki"), Some((0x40_0000, 0x45_2000)));
        assert_eq!(code(line, "/usr/bin/other"), None);
        let data = "00652000-00655000 rw-p 00052000 08:02 173521      /usr/bin/kabuki";
        assert_eq!(code(data, "/usr/bin/kabuki"), None);
        let vdso = "7ffd2000-7ffd4000 r-xp 00000000 00:00 0           [vdso]";
        assert_eq!(code(vdso, "/usr/bin/kabuki"), None);
    }

    #[test]
    fn the_program_goes_on_afterwards() {
        give_back_memory().expect("given back");
        assert_eq!("ab".repeat(2), "abab");
    }
}
