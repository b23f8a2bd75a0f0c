//! Previews beside the upload of one: the comment of the merge request, their end, and the cleanup of those that remain.

pub mod cleanup;
pub mod comment;
pub mod stop;
