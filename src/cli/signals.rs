//! SIGINT, SIGTERM and SIGHUP: noted once, acted on by whoever looks; a second one ends the program at once.

use std::sync::atomic::{AtomicI32, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The first signal that came, 0 if none did.
pub static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// From now on signals are noted instead of ending the program.
pub fn watch() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if SIGNAL.swap(signal, Ordering::SeqCst) == signal && signal == SIGINT {
                // Impatience. The watchdog sees the pipe close and ends the stages; the next command restores outputs.
                std::process::exit(128 + signal);
            }
        }
    });
}
