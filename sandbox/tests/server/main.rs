//! Tests the program from the outside: the API, the served pages and the stored state.

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
mod queues;
mod refusals;
mod resources;
mod server;
mod serving;
mod stateful;
mod uploads;
