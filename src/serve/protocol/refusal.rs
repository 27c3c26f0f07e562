//! A request that is not answered with a result: the status of HTTP and one sentence.

/// Longer messages are cut: they quote what the client sent.
const LONGEST: usize = 600;

/// The reason why a request gets no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of HTTP.
    pub status: u16,
    /// One sentence, the value of `error` in the answer.
    pub message: String,
}

impl Refusal {
    /// A refusal with a status of HTTP.
    pub fn new(status: u16, message: impl Into<String>) -> Refusal {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(LONGEST) {
            message.truncate(end);
            message.push('…');
        }
        Refusal { status, message }
    }

    /// The request is wrong (400).
    pub fn request(message: impl Into<String>) -> Refusal {
        Refusal::new(400, message)
    }

    /// The body of the answer.
    pub fn body(&self) -> Vec<u8> {
        serde_json::json!({ "error": self.message }).to_string().into_bytes()
    }

    /// The same without paths of this machine, for clients of other machines.
    pub fn without_paths(self) -> Refusal {
        Refusal { message: without_paths(&self.message), ..self }
    }
}

/// A text without absolute paths. Messages of engines name files of the machine that built or runs them.
pub fn without_paths(text: &str) -> String {
    let is_path = |word: &str| {
        let word = word.trim_start_matches(['"', '\'', '`', '(', '[', '=']);
        word.starts_with('/') && word.len() > 1 || word.starts_with("file://")
    };
    text.split(' ').map(|word| if is_path(word) { "[path]" } else { word }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_left_out() {
        for (text, want) in [
            ("cannot open /srv/a.onnx now", "cannot open [path] now"),
            ("(at '/onnxruntime_src/x.cc:3')", "(at [path]"),
            ("a / b, 1/2", "a / b, 1/2"),
            ("see file:///x", "see [path]"),
        ] {
            assert_eq!(without_paths(text), want);
        }
    }

    #[test]
    fn long_messages_are_cut() {
        assert!(Refusal::request("é".repeat(9999)).message.chars().count() <= LONGEST + 1);
    }
}
