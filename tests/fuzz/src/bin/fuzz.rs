//! The driver: libFuzzer around one target, named by `FUZZ_TARGET`. Before the first run it puts
//! the target's seeds into the folder `FUZZ_SEEDS`, and the dictionary beside that folder's files,
//! as `FUZZ_DICTIONARY`.
#![no_main]

use kabuki_fuzz::{Target, dictionary};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::OnceLock;

static TARGET: OnceLock<&Target> = OnceLock::new();

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start with tests/fuzz/run"))
}

fn prepare() {
    let name = variable("FUZZ_TARGET");
    let known = || Target::ALL.iter().map(|t| t.name).collect::<Vec<_>>();
    let target = Target::named(&name)
        .unwrap_or_else(|| panic!("no target {name:?}, only: {}", known().join(", ")));
    let seeds = PathBuf::from(variable("FUZZ_SEEDS"));
    std::fs::create_dir_all(&seeds).expect("the folder of the seeds can be made");
    for (number, seed) in target.seeds().iter().enumerate() {
        let file = seeds.join(format!("seed-{number:02}"));
        std::fs::write(file, seed).expect("a seed can be written");
    }
    std::fs::write(variable("FUZZ_DICTIONARY"), dictionary())
        .expect("the dictionary can be written");
    TARGET.set(target).expect("prepared once");
}

fuzz_target!(init: prepare(), |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        target.run(data);
    }
});
