//! The program. Everything it does stands in `sluice_runtime`.

use std::process::ExitCode;

/// After a first apply of ten thousand objects the C library's allocator keeps a tenth more, and is slower. For C code, too.
/// Not in debug builds: tests run them under another clock, whose library allocates before jemalloc is ready, for ever.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64", not(debug_assertions)))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    sluice_runtime::main()
}
