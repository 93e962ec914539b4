//! Recording: what is on disk, and the index over it.

pub mod catalog;
pub mod library;
pub mod shelf;
