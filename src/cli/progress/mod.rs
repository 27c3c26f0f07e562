//! Shows the events of a command: plain lines always, and bars at a terminal.
//!
//! `board` keeps the state and formats it (pure), `bars` draws it. Nothing is drawn in the first moments, and the drawing
//! thread starts with the first event that may take time, so that a run with nothing to do costs nothing. While a single
//! stage runs, it has the screen: its output passes through, without bars.

mod bars;
mod board;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cli::output::{Output, Style, rendered};
use crate::cli::progress::bars::Bars;
use crate::cli::progress::board::{Board, clean};
use crate::cli::signals::SIGNAL;
use crate::cli::text;
use crate::event::{Event, Sink, StageResult};

/// The time before the first drawing.
const PATIENCE: Duration = Duration::from_millis(200);
/// The time between two drawings.
const BEAT: Duration = Duration::from_millis(100);

pub struct Progress<'a> {
    out: &'a Output,
    /// Several stages may run at once, so lines begin with the stage's name.
    prefixed: bool,
    started: Instant,
    shared: Arc<Shared>,
    ticker: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    show: Mutex<Show>,
    /// Notified when the drawing thread is to end.
    over: Condvar,
}

struct Show {
    board: Board,
    bars: Bars,
    /// A stage has the screen.
    owned: bool,
    /// The last output does not end with a line end.
    midline: bool,
    /// The stage wrote control sequences.
    styled: bool,
    over: bool,
}

impl Shared {
    fn show(&self) -> MutexGuard<'_, Show> {
        self.show.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Show {
    fn draw(&mut self, now: Duration) {
        if self.owned || now < PATIENCE {
            self.bars.clear()
        } else {
            self.bars.set(&self.board.lines(now).iter().map(|line| rendered(line)).collect::<Vec<_>>())
        }
    }
}

impl<'a> Progress<'a> {
    pub fn new(out: &'a Output, prefixed: bool) -> Progress<'a> {
        let show = Show {
            board: Board::new(out.colour()),
            bars: Bars::default(),
            owned: false,
            midline: false,
            styled: false,
            over: false,
        };
        let shared = Arc::new(Shared { show: Mutex::new(show), over: Condvar::new() });
        Progress { out, prefixed, started: Instant::now(), shared, ticker: Mutex::new(None) }
    }

    /// Removes the bars, so that the caller can print.
    pub fn finish(&self) {
        self.shared.show().over = true;
        self.shared.over.notify_all();
        let ticker = self.ticker.lock().ok().and_then(|mut ticker| ticker.take());
        if let Some(ticker) = ticker {
            let _ = ticker.join();
        }
        let mut show = self.shared.show();
        self.release(&mut show);
        show.bars.clear();
    }

    /// Starts the drawing thread, when something begins that may take time.
    fn tick(&self) {
        let Ok(mut ticker) = self.ticker.lock() else { return };
        if !self.out.progress || ticker.is_some() {
            return;
        }
        let (shared, started) = (self.shared.clone(), self.started);
        *ticker = Some(std::thread::spawn(move || {
            let mut show = shared.show();
            while !show.over {
                show = match shared.over.wait_timeout(show, BEAT) {
                    Ok((show, _)) => show,
                    Err(poisoned) => poisoned.into_inner().0,
                };
                show.draw(started.elapsed());
            }
        }));
    }

    /// Prints a message above the bars, on a line of its own.
    fn print_message(&self, show: &mut Show, text: impl AsRef<str>) {
        self.print_line(show, format!("{}\n", rendered(text.as_ref())));
    }

    fn print_line(&self, show: &mut Show, mut line: String) {
        if std::mem::take(&mut show.midline) {
            line.insert(0, '\n');
        }
        if show.owned && self.out.interactive {
            // A raw terminal does not return to the first column by itself.
            line = line.replace('\n', "\r\n");
        }
        show.bars.suspend(|| self.out.raw_stderr(line.as_bytes()));
    }

    fn print_status(&self, show: &mut Show, text: impl AsRef<str>) {
        if !self.out.quiet {
            self.print_message(show, text);
        }
    }

    /// Takes the screen back after the stage that had it has ended.
    fn release(&self, show: &mut Show) {
        show.owned = false;
        if std::mem::take(&mut show.styled) && self.out.interactive {
            // A killed stage may leave colours on and the cursor hidden.
            self.out.raw_stderr(b"\x1b[0m\x1b[?25h");
        }
        if std::mem::take(&mut show.midline) {
            self.out.raw_stderr(b"\n");
        }
    }

    fn stage_started(&self, show: &mut Show, stage: &str, command: &str, reason: &str) {
        let out = self.out;
        let name = if self.prefixed { out.paint(Style::of_stage(stage), stage) } else { out.paint(Style::Bold, stage) };
        let running = out.paint(Style::Bold, "running");
        let reason = out.paint(Style::Dim, &format!("({})", text::cut(reason, 80)));
        self.print_status(show, format!("{running} {name} {reason}"));
        for line in command.lines() {
            self.print_status(show, out.paint(Style::Dim, &format!("> {line}")));
        }
        show.board.stage_started(stage, self.started.elapsed());
        if !self.prefixed {
            show.owned = true;
            show.bars.clear();
        }
    }

    fn stage_finished(&self, show: &mut Show, stage: &str, result: StageResult, seconds: f64) {
        show.board.stage_finished(stage);
        let out = self.out;
        let time = || out.paint(Style::Dim, &format!("in {}", text::seconds(seconds)));
        match result {
            StageResult::Ran => {
                self.print_status(show, format!("{} {stage} {}", out.paint(Style::Green, "done"), time()))
            }
            StageResult::Restored => {
                self.print_status(show, format!("{} {stage} {}", out.paint(Style::Green, "restored"), time()))
            }
            // With one job the report follows at once.
            StageResult::Failed if self.prefixed => {
                let stopped = SIGNAL.load(Ordering::SeqCst) != 0;
                let how = if stopped { out.paint(Style::Yellow, "stopped") } else { out.paint(Style::Red, "failed") };
                self.print_status(show, format!("{how} {stage} {}", time()))
            }
            _ => {}
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Sink for Progress<'_> {
    fn event(&self, event: Event<'_>) {
        let mut show = self.shared.show();
        let show = &mut *show;
        match event {
            Event::RunStarted { stages } => show.board.run_started(stages),
            Event::StageStarted { stage, command, reason } => {
                self.stage_started(show, stage, command, reason);
                self.tick();
            }
            Event::StageOutput { stage, line } => {
                let line = String::from_utf8_lossy(line);
                show.board.stage_said(stage, &clean(&line));
                let prefix = self.out.paint(Style::of_stage(stage), &format!("[{stage}]"));
                if !self.out.quiet {
                    self.print_line(show, format!("{} {line}\n", rendered(&prefix)));
                }
            }
            Event::StageBytes { bytes } => {
                if !self.out.quiet && !bytes.is_empty() {
                    show.midline = !bytes.ends_with(b"\n");
                    show.styled |= bytes.contains(&0x1b);
                    self.out.raw_stderr(bytes);
                }
            }
            Event::CommandsOver { stage } => {
                show.board.stage_said(stage, "looking at what it made");
                self.release(show);
            }
            Event::StageFinished { stage, result, seconds } => self.stage_finished(show, stage, result, seconds),
            Event::WorkPlanned { doing, bytes } => {
                show.board.planned(doing, bytes, self.started.elapsed());
                if bytes > 0 {
                    self.tick();
                }
            }
            Event::WorkDone { doing, bytes } => {
                let remark = show.board.done(doing, bytes, self.started.elapsed());
                if let Some(remark) = remark
                    && !self.out.progress
                    && !show.owned
                {
                    self.print_status(show, remark);
                }
            }
            Event::Note { text } | Event::Waiting { text } => self.print_status(show, text),
            Event::Warning { text } => {
                self.print_message(show, format!("{} {text}", self.out.paint(Style::Yellow, "warning:")))
            }
            Event::DataPinned { path, summary } => self.print_status(show, format!("{path}: {summary}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::global::Global;
    use crate::event::Activity;

    #[test]
    fn a_run_of_nothing_draws_nothing_and_starts_no_thread() {
        let mut out = Output::new(&Global { quiet: true, ..Global::default() });
        out.progress = true;
        let progress = Progress::new(&out, true);
        progress.event(Event::RunStarted { stages: 10_000 });
        progress.event(Event::WorkPlanned { doing: Activity::Hashing, bytes: 0 });
        for _ in 0..10_000 {
            progress.event(Event::StageFinished { stage: "", result: StageResult::UpToDate, seconds: 0.0 });
        }
        assert!(progress.ticker.lock().unwrap().is_none());
        assert!(progress.started.elapsed() < Duration::from_secs(1));
        assert_eq!(progress.shared.show().board.lines(Duration::from_secs(2)), ["10000/10000 stages, 2s"]);
    }
}
