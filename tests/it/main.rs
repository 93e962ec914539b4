//! One test binary for everything that needs more than one module.

#![allow(clippy::unwrap_used, clippy::panic)]

mod access;
mod calls;
mod cameras;
mod capture;
mod clip;
mod continuity;
mod disk_faults;
mod export;
mod file_tools;
mod files;
mod growing;
mod happenings;
mod harness;
mod library_rights;
mod limits;
mod media;
mod openapi;
mod operation;
mod publish;
mod publisher;
mod recorder;
mod retention;
mod secure;
mod short_calls;
mod signaling;
mod socket;
mod tape;
mod tidy;
mod viewer;
mod watch;
mod web_doors;
mod webm_crash;
mod webm_judges;
mod whip_life;
