//! The program. Everything it does stands in `sluice_runtime`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice_runtime::main()
}
