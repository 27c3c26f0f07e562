//! The threads that run models: a fixed number, with a bounded queue. They are threads of the system, since a run blocks.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// One request; gets the number of its thread.
pub type Job = Box<dyn FnOnce(usize) + Send>;

struct Queue {
    jobs: VecDeque<Job>,
    limit: usize,
    is_closed: bool,
}

struct SharedQueue {
    queue: Mutex<Queue>,
    is_filled: Condvar,
}

impl SharedQueue {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; `None` if the queue is closed and empty.
    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            match queue.jobs.pop_front() {
                Some(job) => return Some(job),
                None if queue.is_closed => return None,
                None => queue = self.is_filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// The threads. They end after the queued jobs when it is dropped.
pub struct WorkerPool {
    shared: Arc<SharedQueue>,
}

impl WorkerPool {
    /// Starts `workers` threads; at most `limit` jobs wait.
    ///
    /// Errors: the system has no more threads.
    pub fn start(workers: usize, limit: usize) -> Result<WorkerPool> {
        let queue = Mutex::new(Queue { jobs: VecDeque::new(), limit, is_closed: false });
        let pool = WorkerPool { shared: Arc::new(SharedQueue { queue, is_filled: Condvar::new() }) };
        for worker in 0..workers {
            let shared = pool.shared.clone();
            let work = move || {
                while let Some(job) = shared.next() {
                    // The request of a job that panics gets no answer from it, which is counted as a failure.
                    let _ = catch_unwind(AssertUnwindSafe(|| job(worker)));
                }
            };
            let started = std::thread::Builder::new().name(format!("worker-{worker}")).spawn(work);
            started.map_err(|e| Error::io("start a thread for", "a model", e))?;
        }
        Ok(pool)
    }

    /// Queues a job. Returns false if the queue is full.
    pub fn submit(&self, job: Job) -> bool {
        let mut queue = self.shared.lock();
        if queue.jobs.len() >= queue.limit {
            return false;
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.shared.is_filled.notify_one();
        true
    }

    /// The number of jobs that wait.
    pub fn waiting(&self) -> usize {
        self.shared.lock().jobs.len()
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.is_filled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_full_queue_refuses_and_a_panic_ends_no_thread() {
        let pool = WorkerPool::start(1, 1).unwrap();
        let (started, is_started) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        assert!(pool.submit(Box::new(move |_| {
            started.send(()).unwrap();
            is_released.recv().unwrap();
            panic!("a job");
        })));
        is_started.recv().unwrap();
        let (done, is_done) = mpsc::channel();
        assert!(pool.submit(Box::new(move |worker| done.send(worker).unwrap())));
        assert!(!pool.submit(Box::new(|_| ())), "one waits already");
        assert_eq!(pool.waiting(), 1);
        release.send(()).unwrap();
        assert_eq!(is_done.recv().unwrap(), 0);
    }
}
