//! Shows what the work says it does.

use std::sync::Mutex;

use crate::cli::output::{Output, Style};
use crate::cli::text;
use crate::event::{Event, Sink, StageResult};

pub struct Progress<'a> {
    out: &'a Output,
    /// Several stages may run at once: lines carry the stage's name.
    prefixed: bool,
    state: Mutex<()>,
}

impl<'a> Progress<'a> {
    pub fn new(out: &'a Output, prefixed: bool) -> Progress<'a> {
        Progress { out, prefixed, state: Mutex::new(()) }
    }

    pub fn finish(&self) {}
}

impl Sink for Progress<'_> {
    fn event(&self, event: Event<'_>) {
        let _turn = self.state.lock();
        let out = self.out;
        match event {
            Event::StageStarted { stage, command, reason } => {
                out.say(format!(
                    "{} {}",
                    out.paint(Style::Bold, &format!("running {stage}")),
                    out.paint(Style::Dim, &format!("({reason})"))
                ));
                for line in command.lines() {
                    out.say(out.paint(Style::Dim, &format!("> {line}")));
                }
            }
            Event::StageOutput { stage, line } => {
                let line = String::from_utf8_lossy(line);
                if self.prefixed { out.say(format!("[{stage}] {line}")) } else { out.say(line) }
            }
            Event::StageFinished { stage, result, seconds } => match result {
                StageResult::Ran if self.prefixed => out.say(format!("{stage} done in {}", text::seconds(seconds))),
                StageResult::Restored => out.say(format!("{} {stage}", out.paint(Style::Green, "restored"))),
                _ => {}
            },
            Event::Note { text } => out.say(text),
            Event::Warning { text } => out.warn(text),
            Event::Waiting { text } => out.say(text),
            Event::DataPinned { path, summary } => out.say(format!("{path}: {summary}")),
            _ => {}
        }
    }
}
