//! Cloudflare: the API as a deployment reads it, and wrangler with its config, arguments and output.

pub mod api;
#[cfg(test)]
mod fuzz;
pub mod wrangler;
pub mod wrangler_fields;
