//! Scans a shell script for the beginnings of its commands, and for bash syntax that `sh` does not have. Pure.
//!
//! The scan knows quotes, `$( )`, `${ }`, `$(( ))`, backticks, comments and here-documents. Text in quotes is skipped,
//! since it may be a script for another program (`python -c '…'`), but `$( )` and backticks in double quotes are
//! scanned. It keeps its own stack, so nesting may be arbitrarily deep, and reads each byte once.

#[derive(Clone, Copy, Debug, PartialEq)]
enum ScanMode {
    /// Commands, up to this byte or to the end.
    Code(Option<u8>),
    /// Within double quotes.
    Double,
    /// Within `${ }`; inside double quotes, single quotes are text.
    Brace { is_quoted: bool },
    /// Within `$(( ))`, with this many open parentheses.
    Arithmetic(usize),
    /// The text of a here-document with substitutions, up to this place.
    Text(usize),
}

/// A here-document whose text begins after the next line end.
struct HereDocument {
    delimiter: Vec<u8>,
    strips_tabs: bool,
    is_quoted: bool,
}

pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    modes: Vec<ScanMode>,
    pending: Vec<HereDocument>,
    /// Inside a word, where a `#` does not begin a comment.
    in_word: bool,
    /// The next word is the first of a command.
    first: bool,
    /// The preceding words were assignments, or a program that runs another one (`env`, `nice -n 5`).
    is_led: bool,
    /// The word before was an option whose value is a word of its own (`env -C src`).
    takes_word: bool,
    /// The first words of commands, if they are literal.
    pub(super) programs: Vec<&'a str>,
}

/// Programs that run the program named by their arguments.
const WRAPPERS: [&[u8]; 6] = [b"env", b"exec", b"command", b"nice", b"nohup", b"time"];

impl<'a> Scan<'a> {
    pub(super) fn new(script: &'a str) -> Scan<'a> {
        Scan {
            bytes: script.as_bytes(),
            at: 0,
            modes: vec![ScanMode::Code(None)],
            pending: Vec::new(),
            in_word: false,
            first: true,
            is_led: false,
            takes_word: false,
            programs: Vec::new(),
        }
    }

    /// Reads all of the script, as bash would.
    pub(super) fn run_as_bash(&mut self) {
        while let Some((at, _)) = self.run() {
            self.at = self.at.max(at + 1);
            (self.in_word, self.first) = (false, self.first && self.bytes[at] == b'[');
        }
    }

    /// The first piece of bash-only syntax, and its position.
    pub(super) fn run(&mut self) -> Option<(usize, &'static str)> {
        while self.at < self.bytes.len() {
            let found = match self.modes.last().copied().unwrap_or(ScanMode::Code(None)) {
                ScanMode::Code(end) => self.code(end),
                mode => self.text(mode),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The byte this many places ahead, skipping line continuations.
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.place(ahead)).copied()
    }

    fn place(&self, ahead: usize) -> usize {
        let mut at = self.at;
        for _ in 0..ahead {
            at += 1;
            while self.bytes[at.min(self.bytes.len())..].starts_with(b"\\\n") {
                at += 2;
            }
        }
        at
    }

    fn skip(&mut self, count: usize) {
        self.at = self.place(count);
    }

    fn push(&mut self, mode: ScanMode) {
        self.modes.push(mode);
        if matches!(mode, ScanMode::Code(_)) {
            (self.in_word, self.first) = (false, true);
        }
    }

    fn pop(&mut self) {
        self.modes.pop();
        (self.in_word, self.first) = (true, false);
    }

    /// Skips a `$` expansion, backtick or backslash at the current position. Returns whether there was one.
    fn expansion(&mut self) -> bool {
        match (self.bytes[self.at], self.peek(1)) {
            (b'\\', _) => self.at = (self.at + 2).min(self.bytes.len()),
            (b'`', _) => {
                self.at += 1;
                self.push(ScanMode::Code(Some(b'`')));
            }
            (b'$', Some(b'(')) if self.peek(2) == Some(b'(') => {
                self.skip(3);
                self.push(ScanMode::Arithmetic(2));
            }
            (b'$', Some(b'(')) => {
                self.skip(2);
                self.push(ScanMode::Code(Some(b')')));
            }
            (b'$', Some(b'{')) => {
                self.skip(2);
                let last = self.modes.last();
                let is_quoted =
                    matches!(last, Some(ScanMode::Double | ScanMode::Text(_) | ScanMode::Brace { is_quoted: true }));
                self.push(ScanMode::Brace { is_quoted });
            }
            _ => return false,
        }
        true
    }

    fn single_quotes(&mut self) {
        let rest = &self.bytes[self.at + 1..];
        self.at = rest.iter().position(|byte| *byte == b'\'').map_or(self.bytes.len(), |end| self.at + end + 2);
    }

    fn text(&mut self, mode: ScanMode) -> Option<(usize, &'static str)> {
        match (mode, self.bytes[self.at]) {
            (ScanMode::Text(end), _) if self.at >= end => {
                self.modes.pop();
                (self.in_word, self.first) = (false, true);
                // The delimiter is not a command.
                let rest = &self.bytes[self.at..];
                self.at += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
            }
            (ScanMode::Double, b'"') | (ScanMode::Brace { .. }, b'}') => {
                self.at += 1;
                self.pop();
            }
            (ScanMode::Brace { .. }, b'"') => {
                self.at += 1;
                self.push(ScanMode::Double);
            }
            (ScanMode::Brace { is_quoted: false }, b'\'') => self.single_quotes(),
            (ScanMode::Arithmetic(open), b'(') => {
                self.at += 1;
                self.set(ScanMode::Arithmetic(open + 1));
            }
            (ScanMode::Arithmetic(1), b')') => {
                self.at += 1;
                self.pop();
            }
            (ScanMode::Arithmetic(open), b')') => {
                self.at += 1;
                // `$((a) | b)` is a substitution that begins with a subshell.
                match open == 2 && self.bytes.get(self.at) != Some(&b')') {
                    true => self.set(ScanMode::Code(Some(b')'))),
                    false => self.set(ScanMode::Arithmetic(open - 1)),
                }
            }
            _ if self.expansion() => {}
            _ => self.at += 1,
        }
        None
    }

    fn set(&mut self, mode: ScanMode) {
        if let Some(last) = self.modes.last_mut() {
            *last = mode;
        }
    }

    fn code(&mut self, end: Option<u8>) -> Option<(usize, &'static str)> {
        let (at, byte) = (self.at, self.bytes[self.at]);
        if Some(byte) == end {
            self.at += 1;
            self.pop();
            return None;
        }
        if self.bytes[at..].starts_with(b"\\\n") {
            self.at += 2;
            return None;
        }
        let (next, third) = (self.peek(1), self.peek(2));
        match byte {
            b'\\' => {
                self.at = (at + 2).min(self.bytes.len());
                (self.in_word, self.first) = (true, false);
            }
            b'`' | b'$' if self.expansion() => {}
            b'\'' => {
                self.single_quotes();
                (self.in_word, self.first) = (true, false);
            }
            b'"' => {
                self.at += 1;
                self.push(ScanMode::Double);
            }
            b'#' if !self.in_word => {
                let rest = &self.bytes[at..];
                self.at = rest.iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |end| at + end);
            }
            b'\n' => {
                self.at += 1;
                (self.in_word, self.first, self.is_led, self.takes_word) = (false, true, false, false);
                self.here_documents();
            }
            b' ' | b'\t' => {
                self.at += 1;
                self.in_word = false;
            }
            b'&' if next == Some(b'>') => return Some((at, "&>")),
            b'|' if next == Some(b'&') && third != Some(b'&') => return Some((at, "|&")),
            b'<' if next == Some(b'(') => return Some((at, "<(")),
            b'>' if next == Some(b'(') => return Some((at, ">(")),
            b'<' if next == Some(b'<') && third == Some(b'<') => return Some((at, "<<<")),
            b'<' if next == Some(b'<') => self.here_document(),
            b'>' if next == Some(b'&') => {
                let digits = self.bytes[..at].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
                let is_whole = self.bytes[..at - digits].last().is_none_or(|byte| b" \t\n;&|<>()".contains(byte));
                let is_numbered = digits > 0 && is_whole;
                self.skip(2);
                while matches!(self.bytes.get(self.at), Some(b' ' | b'\t')) {
                    self.at += 1;
                }
                let is_file = |byte: &u8| !byte.is_ascii_digit() && !b"-$`\"'\\\n;&|<>()#".contains(byte);
                if !is_numbered && self.bytes.get(self.at).is_some_and(is_file) {
                    return Some((at, ">&"));
                }
                self.in_word = true;
            }
            b'<' | b'>' => {
                let is_double = matches!(next, Some(b'<' | b'>' | b'&' | b'|'));
                self.skip(1 + usize::from(is_double));
                self.in_word = false;
            }
            // The head of a function: its body is a command.
            b'(' if next == Some(b')') => {
                self.at += 2;
                (self.in_word, self.first) = (false, true);
            }
            b'(' => {
                self.at += 1;
                self.push(ScanMode::Code(Some(b')')));
            }
            b';' | b'&' | b'|' | b')' => {
                self.at += 1;
                (self.in_word, self.first, self.is_led, self.takes_word) = (false, true, false, false);
            }
            _ if !self.in_word => return self.word(),
            _ => self.at += 1,
        }
        None
    }

    /// Reads the beginning of a word.
    fn word(&mut self) -> Option<(usize, &'static str)> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| b" \t\n;&|<>()'\"`$\\#".contains(byte)).unwrap_or(rest.len());
        let word = &rest[..length.max(1)];
        if self.first && word == b"[[" && matches!(rest.get(2), Some(b' ' | b'\t')) {
            return Some((self.at, "[["));
        }
        let begins_command =
            matches!(word, b"if" | b"then" | b"elif" | b"else" | b"while" | b"until" | b"do" | b"!" | b"{");
        self.note_program(word, rest.get(length).copied(), begins_command);
        self.first = self.first && begins_command;
        self.at += word.len();
        self.in_word = true;
        None
    }

    /// Handles a word that begins here and is followed by `next`: notes it if it is the program of a command.
    fn note_program(&mut self, word: &'a [u8], next: Option<u8>, begins_command: bool) {
        if !(self.first || self.is_led) || begins_command {
            return;
        }
        if word == b"function" {
            (self.is_led, self.takes_word) = (true, true);
            return;
        }
        let name = word.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        // `A=x`, and `A+=x` of bash.
        let is_assignment = name > 0 && (word[name..].starts_with(b"=") || word[name..].starts_with(b"+="));
        let is_option = self.is_led && (word[0] == b'-' || word.iter().all(u8::is_ascii_digit));
        let is_of_option = std::mem::replace(&mut self.takes_word, is_option && matches!(word, b"-C" | b"-u"));
        if is_assignment || is_option || is_of_option || WRAPPERS.contains(&word) {
            self.is_led = true;
            return;
        }
        self.is_led = false;
        let is_written_out = !matches!(next, Some(b'\'' | b'"' | b'`' | b'$' | b'\\'));
        if let Some(text) = std::str::from_utf8(word).ok().filter(|_| is_written_out) {
            self.programs.push(text);
        }
    }

    /// Reads `<<WORD` or `<<-WORD`.
    fn here_document(&mut self) {
        self.skip(2);
        let strips_tabs = self.bytes.get(self.at) == Some(&b'-');
        self.at += usize::from(strips_tabs);
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        let (mut delimiter, mut is_quoted) = (Vec::new(), false);
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => break,
                b'\'' | b'"' => {
                    let rest = &self.bytes[self.at + 1..];
                    let end = rest.iter().position(|other| *other == byte).unwrap_or(rest.len());
                    delimiter.extend(&rest[..end]);
                    self.at = (self.at + end + 2).min(self.bytes.len());
                    is_quoted = true;
                }
                b'\\' => {
                    delimiter.extend(self.bytes.get(self.at + 1));
                    self.at = (self.at + 2).min(self.bytes.len());
                    is_quoted = true;
                }
                byte => {
                    delimiter.push(byte);
                    self.at += 1;
                }
            }
        }
        self.pending.push(HereDocument { delimiter, strips_tabs, is_quoted });
        self.in_word = true;
    }

    /// Skips the texts of the here-documents that begin here; the substitutions of a single one are scanned.
    fn here_documents(&mut self) {
        let mut bodies = Vec::new();
        for document in std::mem::take(&mut self.pending) {
            let from = self.at;
            let mut end = self.bytes.len();
            while self.at < self.bytes.len() {
                let rest = &self.bytes[self.at..];
                let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                let line = &rest[..length];
                let tabs = line.iter().take_while(|byte| document.strips_tabs && **byte == b'\t').count();
                let start = self.at;
                self.at = (self.at + length + 1).min(self.bytes.len());
                if line[tabs..] == document.delimiter[..] {
                    end = start;
                    break;
                }
            }
            bodies.push((from, end, document.is_quoted));
        }
        // Only the text of a single one is scanned for substitutions; several in one line are skipped as a whole.
        if let [(from, end, false)] = bodies[..]
            && from < end
        {
            self.at = from;
            self.modes.push(ScanMode::Text(end));
        }
    }
}
