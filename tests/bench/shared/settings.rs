//! What the environment may change.

use std::path::PathBuf;

/// The program under measurement: `SLUICE_BENCH_PROGRAM`, so that another build can be measured beside this one.
pub fn program() -> PathBuf {
    std::env::var_os("SLUICE_BENCH_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_sluice").into(), PathBuf::from)
}

/// A number, such as a size: small ones try a measurement out.
pub fn number(name: &str, otherwise: usize) -> usize {
    let given = std::env::var_os(name);
    given.map_or(otherwise, |text| {
        let number = text.to_str().and_then(|text| text.parse().ok());
        number.unwrap_or_else(|| panic!("{name} is not a number"))
    })
}
