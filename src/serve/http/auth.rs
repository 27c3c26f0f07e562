//! The token of a server.

use crate::error::{Error, Result};

/// A shorter token can be guessed.
const SHORTEST: usize = 16;

/// A secret that clients send as `Authorization: Bearer TOKEN`.
pub struct Token(String);

impl Token {
    /// The token in the text of a file, without the line end.
    ///
    /// Errors: it is short, or cannot be in a header.
    pub fn from_text(text: &str, file: &str) -> Result<Token> {
        let token = text.trim();
        if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::usage(format!("{file} has no usable token"))
                .because(format!("a token has at least {SHORTEST} letters, digits and signs, without blanks"))
                .hint(format!("openssl rand -hex 32 > {file}")));
        }
        Ok(Token(token.to_string()))
    }

    /// Is this the value of the header `Authorization`? Takes the same time for each wrong token of one length.
    pub fn accepts(&self, header: Option<&[u8]>) -> bool {
        let given = header.and_then(|header| {
            let (scheme, token) = header.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
        });
        given.is_some_and(|given| is_same(given, self.0.as_bytes()))
    }
}

fn is_same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0u8, |difference, (a, b)| difference | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_accepted() {
        let token = Token::from_text("0123456789abcdef\n", "t").unwrap();
        for (header, want) in [
            (Some("Bearer 0123456789abcdef"), true),
            (Some("bearer 0123456789abcdef"), true),
            (Some("Bearer 0123456789abcdeg"), false),
            (Some("Bearer 0123456789abcde"), false),
            (Some("Bearer "), false),
            (Some("Basic 0123456789abcdef"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(token.accepts(header.map(str::as_bytes)), want, "{header:?}");
        }
        for text in ["", "short", "0123456789 abcdef", "0123456789abcdeé"] {
            assert!(Token::from_text(text, "t").is_err(), "{text}");
        }
    }
}
