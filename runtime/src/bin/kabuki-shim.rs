//! A program that is nothing but a shim. The `kabuki` binary runs its own from inside itself;
//! this one lets the shim be tested and measured alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    kabuki_runtime::shim_main(std::env::args_os().skip(1))
}
