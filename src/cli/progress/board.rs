//! The state of the work, formatted as lines. Pure: the caller passes the time since the start.

use std::time::Duration;

use crate::cli::output::{Style, paint};
use crate::cli::text;
use crate::event::Activity;

/// Work that takes longer than this is shown with its speed.
const NOTABLE: Duration = Duration::from_secs(1);
/// Without a terminal: the time to the first line about long work, and between further ones.
const FIRST_REMARK: Duration = Duration::from_secs(5);
const NEXT_REMARK: Duration = Duration::from_secs(30);
/// At most so many running stages have a line; the rest is a number.
const SHOWN: usize = 12;

pub struct Board {
    colour: bool,
    stages: usize,
    done: usize,
    running: Vec<Running>,
    work: [Work; 7],
}

struct Running {
    stage: String,
    since: Duration,
    said: String,
}

/// Bytes of one kind of work. Starts over once all planned bytes are done, so that the speed is the current one.
#[derive(Default)]
struct Work {
    planned: u64,
    done: u64,
    since: Duration,
    remarked: Option<Duration>,
}

impl Board {
    pub fn new(colour: bool) -> Board {
        Board { colour, stages: 0, done: 0, running: Vec::new(), work: Default::default() }
    }

    pub fn run_started(&mut self, stages: usize) {
        self.stages += stages;
    }

    pub fn stage_started(&mut self, stage: &str, now: Duration) {
        self.running.push(Running { stage: stage.into(), since: now, said: String::new() });
    }

    pub fn stage_said(&mut self, stage: &str, line: &str) {
        if let Some(running) = self.running.iter_mut().find(|r| r.stage == stage)
            && !line.trim().is_empty()
        {
            running.said = line.into();
        }
    }

    pub fn stage_finished(&mut self, stage: &str) {
        self.done += 1;
        self.running.retain(|r| r.stage != stage);
    }

    pub fn planned(&mut self, doing: Activity, bytes: u64, now: Duration) {
        let work = &mut self.work[doing as usize];
        if work.done >= work.planned {
            *work = Work { since: now, ..Work::default() };
        }
        work.planned += bytes;
    }

    /// The line about long work, when one is due.
    pub fn done(&mut self, doing: Activity, bytes: u64, now: Duration) -> Option<String> {
        let work = &mut self.work[doing as usize];
        work.done += bytes;
        let due = work.remarked.map_or(work.since + FIRST_REMARK, |last| last + NEXT_REMARK);
        if now < due || work.done >= work.planned {
            return None;
        }
        work.remarked = Some(now);
        Some(work.sentence(doing, now))
    }

    /// The lines to draw: one for the run, one for each running stage, one for each kind of long work.
    pub fn lines(&self, now: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        if self.stages > 0 {
            let count = paint(self.colour, Style::Bold, &format!("{}/{}", self.done.min(self.stages), self.stages));
            lines.push(format!("{count} stages, {}", clock(now)));
        }
        let width = self.running.iter().map(|r| r.stage.chars().count()).max().unwrap_or(0);
        for running in self.running.iter().take(SHOWN) {
            let name = paint(self.colour, Style::of_stage(&running.stage), &format!("{:width$}", running.stage));
            let time = clock(now.saturating_sub(running.since));
            let said = paint(self.colour, Style::Dim, &running.said);
            lines.push(format!("  {name} {time:>6}  {said}").trim_end().to_string());
        }
        if self.running.len() > SHOWN {
            lines.push(format!("  and {} more", self.running.len() - SHOWN));
        }
        for doing in [
            Activity::Hashing,
            Activity::Storing,
            Activity::Restoring,
            Activity::Pushing,
            Activity::Fetching,
            Activity::Comparing,
            Activity::Verifying,
        ] {
            let work = &self.work[doing as usize];
            if work.done < work.planned && now.saturating_sub(work.since) > NOTABLE {
                lines.push(format!("  {}", work.sentence(doing, now)));
            }
        }
        lines
    }
}

impl Work {
    /// `hashing 1.2 GB of 4.1 GB, 512.0 MB/s, 6s left`
    fn sentence(&self, doing: Activity, now: Duration) -> String {
        let verb = match doing {
            Activity::Hashing => "hashing",
            Activity::Storing => "storing",
            Activity::Restoring => "restoring",
            Activity::Pushing => "pushing",
            Activity::Fetching => "fetching",
            Activity::Comparing => "comparing",
            Activity::Verifying => "verifying",
        };
        let mut sentence = format!("{verb} {} of {}", text::bytes(self.done), text::bytes(self.planned));
        let seconds = now.saturating_sub(self.since).as_secs_f64();
        let speed = self.done as f64 / seconds;
        if speed.is_finite() && speed >= 1.0 {
            let left = self.planned.saturating_sub(self.done) as f64 / speed;
            let left = clock(Duration::from_secs_f64(left.ceil().min(1e9)));
            sentence.push_str(&format!(", {}/s, {left} left", text::bytes(speed as u64)));
        }
        sentence
    }
}

/// Whole seconds: a number that changes ten times a second is unreadable.
fn clock(time: Duration) -> String {
    match time.as_secs() {
        s if s < 60 => format!("{s}s"),
        s => text::seconds(s as f64),
    }
}

/// A line without control sequences, to be shown inside another line.
pub fn clean(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' if chars.peek() == Some(&'[') => {
                chars.next();
                // Parameters, up to the final letter of the sequence.
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\t' => plain.push(' '),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn stages_and_what_they_said_last() {
        let mut board = Board::new(false);
        assert_eq!(board.lines(at(1)), Vec::<String>::new());
        board.run_started(3);
        board.stage_finished("");
        board.stage_started("a", at(1));
        board.stage_started("train", at(3));
        board.stage_said("train", "epoch 1");
        board.stage_said("train", "  ");
        assert_eq!(board.lines(at(75)), ["1/3 stages, 1m 15s", "  a     1m 14s", "  train 1m 12s  epoch 1"]);
        board.stage_finished("a");
        assert_eq!(board.lines(at(4)), ["2/3 stages, 4s", "  train     1s  epoch 1"]);
    }

    #[test]
    fn work_is_shown_when_it_takes_over_a_second() {
        let mut board = Board::new(false);
        board.planned(Activity::Hashing, 4_000_000, at(10));
        board.done(Activity::Hashing, 1_000_000, at(11));
        assert_eq!(board.lines(at(11)), Vec::<String>::new());
        assert_eq!(board.lines(at(12)), ["  hashing 1.0 MB of 4.0 MB, 500.0 kB/s, 6s left"]);
        board.planned(Activity::Hashing, 2_000_000, at(12));
        assert_eq!(board.lines(at(12)), ["  hashing 1.0 MB of 6.0 MB, 500.0 kB/s, 10s left"]);
        board.done(Activity::Hashing, 5_000_000, at(13));
        assert_eq!(board.lines(at(20)), Vec::<String>::new());
        board.planned(Activity::Hashing, 10, at(30));
        assert_eq!(board.lines(at(32)), ["  hashing 0 B of 10 B"]);
    }

    #[test]
    fn long_work_is_remarked_upon_now_and_then() {
        let mut board = Board::new(false);
        board.planned(Activity::Storing, 100, at(1));
        let mut remarks = Vec::new();
        for second in 2..=50 {
            remarks.extend(board.done(Activity::Storing, 1, at(second)).map(|r| (second, r)));
        }
        assert_eq!(
            remarks,
            [
                (6, "storing 5 B of 100 B, 1 B/s, 1m 35s left".to_string()),
                (36, "storing 35 B of 100 B, 1 B/s, 1m 05s left".to_string()),
            ]
        );
    }

    #[test]
    fn control_sequences_are_taken_out() {
        for (line, want) in [
            ("plain", "plain"),
            ("\x1b[1;31mred\x1b[0m x", "red x"),
            ("a\tb\x07\r", "a b"),
            ("cut \x1b[3", "cut "),
            ("ä\x1bü", "äü"),
        ] {
            assert_eq!(clean(line), want);
        }
    }
}
