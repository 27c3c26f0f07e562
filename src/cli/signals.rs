//! SIGINT, SIGTERM and SIGHUP: noted once, acted on by whoever looks; a second one ends the program at once.

use std::sync::atomic::{AtomicI32, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The first signal that came, 0 if none did.
pub static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// From now on signals are noted instead of ending the program.
pub fn watch() {
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|n| !is_ignored(*n));
    let Ok(mut signals) = Signals::new(wanted) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if SIGNAL.swap(signal, Ordering::SeqCst) == signal && signal == SIGINT {
                // Impatience. The watchdog sees the pipe close and ends the stages; the next command restores outputs.
                std::process::exit(128 + signal);
            }
        }
    });
}

/// Was this signal ignored when we were started, as `nohup` does with SIGHUP? Then it stays so, for the commands too. Told
/// by Linux; elsewhere `nohup` does not help.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}
