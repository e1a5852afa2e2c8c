//! The program. Everything it does stands in `sluice_runtime`.

use std::process::ExitCode;

/// Gives back what a large commit or a first listing took; the C library's keeps half of it as holes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sluice_runtime::main()
}
