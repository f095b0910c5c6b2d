//! What the fuzzer begins with and what it once found, replayed; and that its checks bite.

use kabuki_fuzz::layer::{self, escapes, examine};
use kabuki_fuzz::{Target, dictionary};
use std::fs;
use std::path::Path;
use tar::{Archive, EntryType};

#[test]
fn every_seed_holds() {
    for target in Target::ALL {
        let seeds = target.seeds();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        seeds.iter().for_each(|seed| target.run(seed));
    }
}

/// A few blind changes of each seed, the same ones each time: what needs no guide is found here.
/// `FUZZ_ROUNDS` makes more.
#[test]
fn seeds_with_blind_changes_hold() {
    let rounds = std::env::var("FUZZ_ROUNDS")
        .ok()
        .and_then(|r| r.parse().ok());
    let words = dictionary();
    let words: Vec<&[u8]> = words
        .lines()
        .map(|w| w.trim_matches('"').as_bytes())
        .collect();
    for target in Target::ALL {
        let seeds = target.seeds();
        let mut chance = Chance(1);
        for round in 0..rounds.unwrap_or(300) {
            let mut data = seeds[round % seeds.len()].clone();
            let other = &seeds[chance.below(seeds.len())];
            for _ in 0..=chance.below(4) {
                change(&mut data, other, &words, &mut chance);
            }
            let run = std::panic::catch_unwind(|| target.run(&data));
            assert!(
                run.is_ok(),
                "{}: {:?}",
                target.name,
                String::from_utf8_lossy(&data)
            );
        }
    }
}

/// A small generator (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

fn change(data: &mut Vec<u8>, other: &[u8], words: &[&[u8]], chance: &mut Chance) {
    let at = chance.below(data.len() + 1);
    let end = data.len().min(at + chance.below(24));
    let from = chance.below(other.len());
    let piece = &other[from..other.len().min(from + chance.below(64))];
    match chance.below(6) {
        0 => drop(data.drain(at..end)),
        1 => drop(data.splice(at..end, piece.iter().copied())),
        2 => drop(data.splice(at..at, words[chance.below(words.len())].iter().copied())),
        3 => drop(data.splice(at..end, words[chance.below(words.len())].iter().copied())),
        4 => {
            let again = data[at..end].to_vec();
            drop(data.splice(at..at, again));
        }
        _ => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
    }
}

#[test]
fn what_was_once_found_stays_fixed() {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    // There is no folder while nothing was found.
    for folder in fs::read_dir(found).into_iter().flatten() {
        let folder = folder.expect("an entry").path();
        let name = folder
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        let target = Target::named(name).unwrap_or_else(|| panic!("no target {name:?}"));
        for input in fs::read_dir(&folder).expect("a target's findings") {
            let input = input.expect("an entry").path();
            target.run(&fs::read(input).expect("a finding"));
        }
    }
}

#[test]
fn the_dictionary_knows_fields_and_marks() {
    let words = dictionary();
    for word in ["containers", "matchExpressions", "apps/v1", "---"] {
        assert!(words.contains(&format!("\"{word}\"\n")), "{word}");
    }
}

#[test]
fn an_unpacker_that_leaves_its_directory_is_caught_in_every_way() {
    for (way, bytes) in escapes() {
        examine(&bytes, layer::unpack).unwrap_or_else(|broken| panic!("{way}: {broken}"));
        let caught = examine(&bytes, |tar, root| {
            unpack_without_care(tar, root);
            Ok(())
        });
        assert!(caught.is_err(), "not caught: {way}");
    }
}

/// Does what the entries say.
fn unpack_without_care(tar: &[u8], root: &Path) {
    for entry in Archive::new(tar).entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = root.join(entry.path().expect("a name"));
        let link = entry.link_name().expect("a link").map(|l| l.into_owned());
        let done = match (entry.header().entry_type(), link) {
            (EntryType::Symlink, Some(link)) => std::os::unix::fs::symlink(link, path),
            (EntryType::Link, Some(link)) => fs::hard_link(root.join(link), path),
            (EntryType::Directory, _) => fs::create_dir_all(path),
            _ => fs::File::create(path)
                .and_then(|mut file| std::io::copy(&mut entry, &mut file).map(drop)),
        };
        done.expect("nothing stops it");
    }
}
