//! Tests the program as its clients meet it: the API, what is served, and what survives.

mod assets;
mod bindings;
mod commands;
mod damage;
mod durable;
mod faults;
mod gate;
mod output;
mod previews;
mod process;
mod refusals;
mod resources;
mod server;
mod serving;
mod stateful;
mod uploads;
