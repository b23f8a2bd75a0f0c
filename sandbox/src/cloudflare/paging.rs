//! Divides lists into pages.

use serde::Deserialize;
use serde_json::{Value, json};

/// The default number of items per page
/// (<https://developers.cloudflare.com/workers/configuration/versions-and-deployments/>).
const DEFAULT_PAGE_SIZE: usize = 10;

/// The requested page of a list, in the query.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    page: Option<usize>,
    per_page: Option<usize>,
    /// `true` to list only versions that can be deployed. For lists of versions.
    deployable: Option<bool>,
}

impl Page {
    /// Returns the items of this page.
    pub fn slice<T>(&self, items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        let size = self.size();
        items.skip(size.saturating_mul(self.number() - 1)).take(size)
    }

    /// Returns the `result_info` of a page with `count` of `total` items.
    #[must_use]
    pub fn info(&self, count: usize, total: usize) -> Value {
        json!({ "page": self.number(), "per_page": self.size(), "count": count, "total_count": total,
            "total_pages": total.div_ceil(self.size()) })
    }

    /// Returns whether this is not the first page. A list without pages is empty there, because clients request
    /// pages until one is empty.
    #[must_use]
    pub fn is_after_first(&self) -> bool {
        self.number() > 1
    }

    /// Returns whether a list of versions has only those that can be deployed.
    #[must_use]
    pub fn is_deployable(&self) -> bool {
        self.deployable == Some(true)
    }

    fn size(&self) -> usize {
        self.per_page.unwrap_or(DEFAULT_PAGE_SIZE).clamp(1, 100)
    }

    fn number(&self) -> usize {
        self.page.unwrap_or(1).max(1)
    }
}
