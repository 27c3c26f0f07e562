//! Draws the lines at the bottom of a terminal.

use std::io::Write;
use std::sync::{Mutex, MutexGuard};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use rustix::termios::tcgetwinsize;

/// Columns left free at the right, for the `^C` of the terminal.
const MARGIN: u16 = 4;

/// The drawing library is set up with the first line.
#[derive(Default)]
pub struct Bars {
    drawn: Option<(MultiProgress, Vec<ProgressBar>)>,
}

impl Bars {
    /// Replaces the drawn lines, cut to the width of the terminal.
    pub fn set(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return self.clear();
        }
        let (all, bars) = self.drawn.get_or_insert_with(|| {
            let target = ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), 20);
            (MultiProgress::with_draw_target(target), Vec::new())
        });
        while bars.len() > lines.len() {
            if let Some(bar) = bars.pop() {
                bar.finish_and_clear();
                all.remove(&bar);
            }
        }
        while bars.len() < lines.len() {
            bars.push(all.add(ProgressBar::no_length()));
        }
        let width = Screen::default().width() - MARGIN;
        let style = ProgressStyle::with_template(&format!("{{msg:{width}!}}"));
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        for (bar, line) in bars.iter().zip(lines) {
            bar.set_style(style.clone());
            bar.set_message(line.clone());
        }
    }

    pub fn clear(&mut self) {
        if let Some((all, bars)) = self.drawn.take() {
            for bar in bars {
                bar.finish_and_clear();
            }
            let _ = all.clear();
        }
    }

    /// Prints a text above the lines.
    pub fn suspend(&self, print: impl FnOnce()) {
        match &self.drawn {
            Some((all, _)) => all.suspend(print),
            None => print(),
        }
    }
}

/// The terminal at stderr. The library pads each line to the full width. The last line is left short: after a `^C` in a
/// full last line, the terminal would begin a new line, and all further drawing would be one line too low.
#[derive(Debug, Default)]
struct Screen {
    unwritten: Mutex<Vec<u8>>,
}

impl Screen {
    fn unwritten(&self) -> MutexGuard<'_, Vec<u8>> {
        self.unwritten.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Moves the cursor `n` places. The terminal reads 0 as 1, so 0 writes nothing.
    fn go(&self, n: usize, letter: char) -> std::io::Result<()> {
        if n == 0 { Ok(()) } else { self.write_str(&format!("\x1b[{n}{letter}")) }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        tcgetwinsize(rustix::stdio::stderr()).map_or(80, |size| size.ws_col).max(20)
    }

    fn height(&self) -> u16 {
        tcgetwinsize(rustix::stdio::stderr()).map_or(24, |size| size.ws_row).max(2)
    }

    fn move_cursor_up(&self, n: usize) -> std::io::Result<()> {
        self.go(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> std::io::Result<()> {
        self.go(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> std::io::Result<()> {
        self.go(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> std::io::Result<()> {
        self.go(n, 'D')
    }

    fn write_line(&self, line: &str) -> std::io::Result<()> {
        self.write_str(&format!("{line}\r\n"))
    }

    fn write_str(&self, text: &str) -> std::io::Result<()> {
        self.unwritten().extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn clear_line(&self) -> std::io::Result<()> {
        self.write_str("\r\x1b[2K")
    }

    fn flush(&self) -> std::io::Result<()> {
        let mut bytes = std::mem::take(&mut *self.unwritten());
        let filled = bytes.len();
        bytes.truncate(bytes.trim_ascii_end().len());
        if bytes.len() < filled {
            bytes.extend_from_slice(b"\x1b[K");
        }
        std::io::stderr().lock().write_all(&bytes)
    }
}
