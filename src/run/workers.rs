//! The threads of a run. Each thread processes one task after another, because starting a thread costs more than many
//! stages do. There are never more threads than tasks that were active at one time.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::Scope;

type QueuedWork<'s> = Box<dyn FnOnce() + Send + 's>;

/// A thread pool that grows on demand. The threads end when this is dropped and their tasks are done.
pub struct Workers<'s, 'e> {
    scope: &'s Scope<'s, 'e>,
    give: Sender<QueuedWork<'s>>,
    take: Arc<Mutex<Receiver<QueuedWork<'s>>>>,
    threads: usize,
}

impl<'s, 'e> Workers<'s, 'e> {
    pub fn new(scope: &'s Scope<'s, 'e>) -> Workers<'s, 'e> {
        let (give, take) = channel();
        Workers { scope, give, take: Arc::new(Mutex::new(take)), threads: 0 }
    }

    /// Runs a task, which must not panic, on a free or a new thread. `under_way` is the number of unfinished tasks,
    /// this one included.
    pub fn start(&mut self, under_way: usize, work: impl FnOnce() + Send + 's) {
        if self.threads < under_way {
            self.threads += 1;
            let take = Arc::clone(&self.take);
            self.scope.spawn(move || {
                while let Some(work) = next(&take) {
                    work()
                }
            });
        }
        let _ = self.give.send(Box::new(work));
    }
}

/// `None` once the sender is dropped.
fn next<'s>(take: &Mutex<Receiver<QueuedWork<'s>>>) -> Option<QueuedWork<'s>> {
    take.lock().unwrap_or_else(|e| e.into_inner()).recv().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::thread::current;

    #[test]
    fn as_many_threads_as_work_at_a_time() {
        let (sender, done) = channel();
        std::thread::scope(|scope| {
            let mut workers = Workers::new(scope);
            let mut threads = HashSet::new();
            for _ in 0..20 {
                let sender = sender.clone();
                workers.start(1, move || sender.send(current().id()).unwrap());
                threads.insert(done.recv().unwrap());
            }
            assert_eq!(threads.len(), 1);
            // Each of these waits for the other.
            let barrier = Arc::new(std::sync::Barrier::new(2));
            for under_way in [1, 2] {
                let (sender, barrier) = (sender.clone(), Arc::clone(&barrier));
                workers.start(under_way, move || {
                    barrier.wait();
                    sender.send(current().id()).unwrap();
                });
            }
            threads.extend([done.recv().unwrap(), done.recv().unwrap()]);
            assert_eq!(threads.len(), 2);
        });
    }
}
