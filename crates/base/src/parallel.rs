//! Works on several items at the same time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::mutex;

/// Calls `work` for each item on at most `threads` threads. Returns the results in the order of the items.
pub fn map<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(items.iter().enumerate());
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let next = mutex::lock(&queue).next();
                    let Some((index, item)) = next else { break };
                    let result = work(item);
                    mutex::lock(&results).insert(index, result);
                }
            });
        }
    });
    mutex::into_inner(results).into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(
            map(&items, 7, |item| item * 2),
            items.iter().map(|item| item * 2).collect::<Vec<_>>()
        );
        assert!(map(&[] as &[usize], 7, |item| item * 2).is_empty());
    }
}
