//! What befalls requests on their way, drawn from a seed and the request's number: a run that fails can be had again, as
//! far as the client sends in the same order.

use std::time::Duration;

/// What may befall a request, and how many of a thousand it does befall.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    pub seed: u64,
    /// Goes by before a connection is made, and before each request is passed on: a round trip, not a bandwidth.
    pub latency: Duration,
    /// Answered with 503 by the proxy, never seen by the server.
    pub unavailable: u32,
    /// Answered with 429.
    pub too_many: u32,
    /// Both ends see the connection close in the middle of the request's body, or the client in that of the answer, where
    /// the server did as it was told.
    pub dropped: u32,
    /// Of the answer's body comes half, under a `Content-Length` that agrees: only a checksum can tell.
    pub truncated: u32,
    /// One bit in the middle of the answer's body is another.
    pub corrupted: u32,
    /// Befalls only requests whose first line contains this.
    pub on: &'static str,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fate {
    Passes,
    Refused(&'static str),
    RequestDropped,
    AnswerDropped,
    Truncated,
    Corrupted,
}

impl Weather {
    pub fn fate(&self, number: u64, line: &str) -> Fate {
        if !line.contains(self.on) {
            return Fate::Passes;
        }
        let dice = dice(self.seed, number);
        let dropped = if dice >> 63 == 0 { Fate::RequestDropped } else { Fate::AnswerDropped };
        let mut draw = dice % 1000;
        for (share, fate) in [
            (self.unavailable, Fate::Refused("503 Service Unavailable")),
            (self.too_many, Fate::Refused("429 Too Many Requests")),
            (self.dropped, dropped),
            (self.truncated, Fate::Truncated),
            (self.corrupted, Fate::Corrupted),
        ] {
            match draw.checked_sub(share.into()) {
                Some(rest) => draw = rest,
                None => return fate,
            }
        }
        Fate::Passes
    }
}

/// splitmix64.
pub fn dice(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
