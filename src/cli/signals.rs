//! SIGINT, SIGTERM and SIGHUP. The first one sets [`SIGNAL`], which long work polls. A second SIGINT kills the commands of
//! the run and ends the program after a grace period; a third ends it at once. A command that has nothing to clean up
//! does not watch signals, and the first one ends it.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::Result;
use crate::event::StopSignal;
use crate::run::pty::restore_terminal;
use crate::run::repro::KILL;

/// The first signal received, with [`KILL`] added after a second SIGINT; 0 if there was none.
pub static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The grace period, to put outputs back and write the lock. The next command does the rest.
const MOMENT: Duration = Duration::from_secs(1);

/// Signals end the program although they are watched.
static AT_ONCE: AtomicBool = AtomicBool::new(false);

/// Runs work that polls for signals; afterwards signals end the program again. A signal that the work has not seen ends it
/// now.
pub fn watched<T>(stop: StopSignal, work: impl FnOnce() -> Result<T>) -> Result<T> {
    watch();
    let done = work();
    AT_ONCE.store(true, Ordering::SeqCst);
    match done {
        Ok(done) => stop.check().map(|()| done),
        failed => failed,
    }
}

/// From now on signals set [`SIGNAL`] instead of ending the program.
pub fn watch() {
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|n| !is_ignored(*n));
    let Ok(mut signals) = Signals::new(wanted) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if AT_ONCE.load(Ordering::SeqCst) {
                let _ = SIGNAL.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
                end();
            }
            match reaction(SIGNAL.load(Ordering::SeqCst), signal) {
                Reaction::Note(number) => SIGNAL.store(number, Ordering::SeqCst),
                Reaction::Kill(number) => {
                    SIGNAL.store(number, Ordering::SeqCst);
                    std::thread::spawn(|| {
                        std::thread::sleep(MOMENT);
                        end();
                    });
                }
                Reaction::End => end(),
                Reaction::Nothing => {}
            }
        }
    });
}

/// Was this signal ignored when the program started, as `nohup` does with SIGHUP? Then it stays ignored, by the commands
/// too. Known on Linux only.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}

/// The watchdog sees the pipe close and kills the commands that still run; the next command restores outputs.
fn end() {
    restore_terminal();
    std::process::exit(128 + (SIGNAL.load(Ordering::SeqCst) & !KILL));
}

#[derive(Debug, PartialEq)]
enum Reaction {
    Note(i32),
    Kill(i32),
    End,
    Nothing,
}

/// What a signal does after the one in `noted`.
fn reaction(noted: i32, signal: i32) -> Reaction {
    match noted {
        0 => Reaction::Note(signal),
        // SIGTERM and SIGHUP are sent by programs; a second one has no meaning.
        _ if signal != SIGINT => Reaction::Nothing,
        n if n & KILL == 0 => Reaction::Kill(n | KILL),
        _ => Reaction::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_interrupt_kills_and_a_third_ends() {
        for (noted, signal, want) in [
            (0, SIGINT, Reaction::Note(SIGINT)),
            (0, SIGTERM, Reaction::Note(SIGTERM)),
            (SIGINT, SIGINT, Reaction::Kill(SIGINT | KILL)),
            (SIGTERM, SIGINT, Reaction::Kill(SIGTERM | KILL)),
            (SIGINT, SIGTERM, Reaction::Nothing),
            (SIGTERM, SIGTERM, Reaction::Nothing),
            (SIGINT | KILL, SIGINT, Reaction::End),
            (SIGINT | KILL, SIGHUP, Reaction::Nothing),
        ] {
            assert_eq!(reaction(noted, signal), want, "{noted} then {signal}");
        }
    }
}
