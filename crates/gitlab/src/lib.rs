//! GitLab: the API client, the merge request comment and the pipeline.

pub mod api;
pub mod comment;
pub mod deployments;
pub mod pipeline;
