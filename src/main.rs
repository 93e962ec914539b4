//! The `reelay` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    match reelay::cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("reelay: {error:#}");
            ExitCode::FAILURE
        }
    }
}
