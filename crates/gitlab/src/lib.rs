//! GitLab: the variables of a job, the API client, the merge request comment and the pipeline.

pub mod api;
pub mod ci;
pub mod comment;
pub mod deployments;
#[cfg(test)]
mod fuzz;
pub mod pipeline;
