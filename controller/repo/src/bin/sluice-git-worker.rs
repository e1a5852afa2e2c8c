//! The worker process alone, for tests of this crate; the product runs it as a hidden subcommand of its own binary.

fn main() -> std::process::ExitCode {
    sluice_repo::init();
    match sluice_repo::worker::run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(_) => std::process::ExitCode::FAILURE,
    }
}
