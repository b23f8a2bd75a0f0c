//! The program as its clients meet it: the API, what is served, and what survives.

mod durable;
mod faults;
mod previews;
mod process;
mod refusals;
mod server;
mod serving;
