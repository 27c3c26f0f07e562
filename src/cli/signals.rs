//! SIGINT, SIGTERM and SIGHUP: the first is noted, and acted on by whoever looks. A second SIGINT kills the commands of
//! the run, and after a moment for putting things in order ends the program; a third ends it at once. What needs no
//! putting in order is not watched, and the first signal ends it.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::Result;
use crate::event::StopSignal;
use crate::run::pty::restore_terminal;
use crate::run::repro::KILL;

/// The first signal that came, with [`KILL`] added when the user insists; 0 if none did.
pub static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// For putting outputs back and writing the lock. What is not done by then, the next command does.
const MOMENT: Duration = Duration::from_secs(1);

/// Signals end the program, though they are watched.
static AT_ONCE: AtomicBool = AtomicBool::new(false);

/// Does something that looks for signals all the while; afterwards they end the program again. One that came too late to
/// be seen is acted on now.
pub fn watched<T>(stop: StopSignal, work: impl FnOnce() -> Result<T>) -> Result<T> {
    watch();
    let done = work();
    AT_ONCE.store(true, Ordering::SeqCst);
    match done {
        Ok(done) => stop.check().map(|()| done),
        failed => failed,
    }
}

/// From now on signals are noted instead of ending the program.
pub fn watch() {
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|n| !is_ignored(*n));
    let Ok(mut signals) = Signals::new(wanted) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if AT_ONCE.load(Ordering::SeqCst) {
                let _ = SIGNAL.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
                end();
            }
            match next(SIGNAL.load(Ordering::SeqCst), signal) {
                Next::Note(number) => SIGNAL.store(number, Ordering::SeqCst),
                Next::Kill(number) => {
                    SIGNAL.store(number, Ordering::SeqCst);
                    std::thread::spawn(|| {
                        std::thread::sleep(MOMENT);
                        end();
                    });
                }
                Next::End => end(),
                Next::Nothing => {}
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

/// The watchdog sees the pipe close and ends what still runs; the next command restores outputs.
fn end() {
    restore_terminal();
    std::process::exit(128 + (SIGNAL.load(Ordering::SeqCst) & !KILL));
}

#[derive(Debug, PartialEq)]
enum Next {
    Note(i32),
    Kill(i32),
    End,
    Nothing,
}

fn next(noted: i32, signal: i32) -> Next {
    match noted {
        0 => Next::Note(signal),
        // SIGTERM and SIGHUP are sent by programs, which mean nothing by a second one.
        _ if signal != SIGINT => Next::Nothing,
        n if n & KILL == 0 => Next::Kill(n | KILL),
        _ => Next::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_insists_is_obeyed() {
        for (noted, signal, want) in [
            (0, SIGINT, Next::Note(SIGINT)),
            (0, SIGTERM, Next::Note(SIGTERM)),
            (SIGINT, SIGINT, Next::Kill(SIGINT | KILL)),
            (SIGTERM, SIGINT, Next::Kill(SIGTERM | KILL)),
            (SIGINT, SIGTERM, Next::Nothing),
            (SIGTERM, SIGTERM, Next::Nothing),
            (SIGINT | KILL, SIGINT, Next::End),
            (SIGINT | KILL, SIGHUP, Next::Nothing),
        ] {
            assert_eq!(next(noted, signal), want, "{noted} then {signal}");
        }
    }
}
