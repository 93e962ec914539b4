//! Measures a server: starts one as a process of its own, drives it over loopback with a cheap load, and prints what it
//! costs beside what encrypting and sending alone would cost in the same minute on the same machine. `files` measures the
//! recorder alone, `library` the catalogue, both without a network.

mod crowd;
mod fanout;
mod files;
mod floor;
mod library;
mod numbers;
mod offer;
mod process;
mod record;
mod seat;
mod source;

pub use fanout::fanout;
pub use files::{Size, files};
pub use library::library;
pub use record::record;
