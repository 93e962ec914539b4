//! Rooms without sockets and media: what people are told, what the media plane is asked, what observers hear.

mod faults;
mod flow;
mod people;
mod web;
mod world;
