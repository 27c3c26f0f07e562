//! The body of a request, with limits: of one body, of all bodies together, and of the time that it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::serve::protocol::refusal::Refusal;

/// The most bytes that are reserved for a body before they arrive.
const MOST_RESERVED: usize = 1 << 20;

/// The bytes of all bodies that are in memory.
pub struct BodyBudget {
    used: AtomicUsize,
    limit: usize,
}

impl BodyBudget {
    /// A budget of so many bytes.
    pub fn new(limit: usize) -> Arc<BodyBudget> {
        Arc::new(BodyBudget { used: AtomicUsize::new(0), limit })
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }
}

/// A part of the budget, returned when it is dropped.
pub struct BudgetShare {
    budget: Arc<BodyBudget>,
    bytes: usize,
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// The limits of a body.
pub struct BodyLimits<'b> {
    /// Of one body, in bytes.
    pub most: usize,
    /// Until the last byte.
    pub time: Duration,
    /// Of all bodies.
    pub budget: &'b Arc<BodyBudget>,
}

/// Reads a body; the share is to be kept as long as the bytes are.
///
/// Errors: 413 (too large), 408 (too slow), 503 (no room for it now), 400 (it ends early).
pub async fn read(body: Incoming, limits: &BodyLimits<'_>) -> Result<(Bytes, BudgetShare), Refusal> {
    match tokio::time::timeout(limits.time, read_all(body, limits)).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::new(408, format!("the body did not arrive within {} s", limits.time.as_secs_f64()))),
    }
}

async fn read_all(mut body: Incoming, limits: &BodyLimits<'_>) -> Result<(Bytes, BudgetShare), Refusal> {
    let too_large = || Refusal::new(413, format!("the body is larger than {} bytes", limits.most));
    let mut share = BudgetShare { budget: limits.budget.clone(), bytes: 0 };
    let declared = body.size_hint().exact().unwrap_or(0);
    if declared > limits.most as u64 {
        discard(body, limits.most).await;
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Refusal::request(format!("the body cannot be read: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if share.bytes + data.len() > limits.most {
            discard(body, limits.most).await;
            return Err(too_large());
        }
        if !limits.budget.take(data.len()) {
            return Err(Refusal::new(503, "the server has no memory for another body now"));
        }
        share.bytes += data.len();
        match (first.is_empty(), rest.is_empty()) {
            (true, _) => first = data,
            (false, true) => {
                // Most bodies have the declared length; of a large one only what arrives takes memory.
                rest.reserve((declared as usize).min(MOST_RESERVED).max(first.len() + data.len()));
                rest.extend_from_slice(&first);
                rest.extend_from_slice(&data);
            }
            (false, false) => rest.extend_from_slice(&data),
        }
    }
    Ok((if rest.is_empty() { first } else { rest.into() }, share))
}

/// Reads on for a moment: a client that is still sending does not see the answer on a connection that is reset.
async fn discard(mut body: Incoming, most: usize) {
    let mut seen = 0;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            if seen > most {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_returned() {
        let budget = BodyBudget::new(10);
        assert!(budget.take(7) && !budget.take(4) && !budget.take(usize::MAX));
        drop(BudgetShare { budget: budget.clone(), bytes: 7 });
        assert!(budget.take(10));
    }
}
