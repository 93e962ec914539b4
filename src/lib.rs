//! Reelay: a WebRTC media server with a recorder inside.
//! `ARCHITECTURE.md` has the map; dependencies point one way: `http → room → media → rtp`, `recording → media, webm, rtp`.

pub mod audit;
pub mod auth;
pub mod bench;
pub mod cli;
pub mod config;
pub mod http;
pub mod media;
pub mod places;
pub mod playback;
pub mod qr;
pub mod recording;
pub mod render;
pub mod room;
pub mod rtp;
pub mod server;
pub mod telemetry;
pub mod tls;
pub mod webhooks;
pub mod webm;
