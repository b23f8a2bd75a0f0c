//! The program as its clients meet it: the API, what is served, and what survives.

mod damage;
mod durable;
mod faults;
mod gate;
mod previews;
mod process;
mod refusals;
mod resources;
mod server;
mod serving;
mod uploads;
