//! The `reelay` program.
fn main() {}
