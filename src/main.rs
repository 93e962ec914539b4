//! The `reelay` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    match reelay::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reelay: {error:#}");
            ExitCode::FAILURE
        }
    }
}
