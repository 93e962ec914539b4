//! Work that mostly waits for the disk, on a few threads at once: a disk makes ten files durable in little more than the time
//! of one.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does the work for each item; results are in the order of the items.
pub fn in_parallel<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = items.len().min(THREADS);
    let queue = Mutex::new(items.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some((at, item)) = next() {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Without a thread this one does it all.
            let _ = thread::Builder::new().name("reelay-close".into()).spawn_scoped(scope, run);
        }
        run();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

const THREADS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let wanted: Vec<u32> = (0..100).map(|n| n * 2).collect();
        assert_eq!(in_parallel((0..100).collect(), |n: u32| n * 2), wanted);
        assert!(in_parallel(Vec::<u32>::new(), |n| n).is_empty());
    }
}
