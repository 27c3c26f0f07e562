//! Masks the values of secrets in the stored output of a stage. The terminal shows the output unmasked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Shorter values occur in ordinary words.
const SHORTEST: usize = 8;

/// Replaces secrets by `***` in a stream of bytes.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    /// From the longest to the shortest.
    secrets: Vec<Vec<u8>>,
    /// The first bytes of the secrets.
    beginnings: Vec<u8>,
    /// The end of the input so far, which may be the beginning of a secret.
    held: Vec<u8>,
}

impl Mask {
    /// Each line of a multi-line secret (a private key) is masked by itself, because a terminal changes line ends.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Mask {
        let lines =
            values.into_iter().flat_map(|value| std::iter::once(value.trim()).chain(value.lines().map(str::trim)));
        let mut secrets: Vec<Vec<u8>> = lines.flat_map(forms).filter(|form| form.len() >= SHORTEST).collect();
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        let mut beginnings: Vec<u8> = secrets.iter().map(|secret| secret[0]).collect();
        beginnings.sort_unstable();
        beginnings.dedup();
        Mask { secrets, beginnings, held: Vec::new() }
    }

    /// Returns the bytes that can be stored now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        self.release(false)
    }

    /// Returns the bytes that were held back.
    pub fn finish(&mut self) -> Vec<u8> {
        self.release(true)
    }

    fn release(&mut self, all: bool) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.held);
        let mut shown = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if self.beginnings.binary_search(&rest[0]).is_err() {
                shown.push(rest[0]);
                at += 1;
                continue;
            }
            let candidates = || self.secrets.iter().filter(|secret| secret[0] == rest[0]);
            if !all && candidates().any(|secret| secret.len() > rest.len() && secret.starts_with(rest)) {
                break;
            }
            match candidates().find(|secret| rest.starts_with(secret)) {
                Some(secret) => {
                    shown.extend_from_slice(b"***");
                    at += secret.len();
                }
                None => {
                    shown.push(rest[0]);
                    at += 1;
                }
            }
        }
        self.held = bytes[at..].to_vec();
        shown
    }
}

/// The forms in which programs write a secret: verbatim, without the `Bearer` or `Basic` of a header, the password of
/// `Basic`, and each of them inside base64, as in the header of a user and a password.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![value.as_bytes().to_vec()];
    for (at, _) in value.match_indices(' ') {
        let scheme = value[..at].rsplit([' ', ':', '=']).next().unwrap_or_default();
        let credential = value[at..].split_whitespace().next().unwrap_or_default();
        if ["basic", "bearer", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            forms.push(credential.trim_matches(['\'', '"']).as_bytes().to_vec());
        }
    }
    for form in forms.clone() {
        let Ok(decoded) = BASE64.decode(&form) else { continue };
        forms.extend(decoded.iter().position(|byte| *byte == b':').map(|colon| decoded[colon + 1..].to_vec()));
    }
    forms.retain(|form| form.len() >= SHORTEST);
    for form in forms.clone() {
        forms.extend(escaped(&form));
    }
    let encoded: Vec<_> = forms.iter().flat_map(|form| (0..3).map(|before| within_base64(form, before))).collect();
    for text in encoded {
        forms.push(text.replace('+', "-").replace('/', "_").into_bytes());
        forms.push(text.into_bytes());
    }
    forms
}

/// The form as a JSON string, as Python prints it, and in a URL.
fn escaped(form: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(form) else { return Vec::new() };
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    let in_url = |keep: &str| {
        let letter = |byte: u8| match byte.is_ascii_alphanumeric() || keep.as_bytes().contains(&byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        text.bytes().map(letter).collect::<String>()
    };
    let python = text.replace('\\', "\\\\").replace('\'', "\\'");
    let all = [json.to_string(), python, in_url("-_.~"), in_url("-_.~/"), in_url("-_.~").replace("%20", "+")];
    all.into_iter().filter(|other| other != text).map(String::into_bytes).collect()
}

/// The base64 letters that encode only bits of `secret` when `before` bytes (modulo three) come before it.
fn within_base64(secret: &[u8], before: usize) -> String {
    let text = BASE64.encode([&vec![0; before], secret].concat());
    // A letter has six bits; one that holds a bit of a neighbouring byte is left out.
    text[(before * 8).div_ceil(6)..(before + secret.len()) * 8 / 6].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_in_the_headers_that_programs_make_of_them() {
        let basic = |text: &str| BASE64.encode(text);
        let header = format!("AUTHORIZATION: basic {}", basic("x-access-token:ghs_0123456789"));
        for (secret, text) in [
            ("ghs_0123456789", header.clone()),
            ("ghs_0123456789", format!("url {}", basic("me:ghs_0123456789@host"))),
            ("ghs_0123456789", basic("ghs_0123456789")),
            ("Bearer ghs_0123456789", "ghs_0123456789".into()),
            ("bearer ghs_0123456789", format!("Basic {}", basic("u:ghs_0123456789"))),
            (&header, "x-access-token and ghs_0123456789".into()),
            (&header, basic("x-access-token:ghs_0123456789")),
            ("Authorization: token ghs_0123456789", "ghs_0123456789".into()),
            ("a\"0123456\\b", "{\"token\": \"a\\\"0123456\\\\b\"}".into()),
            ("it's 0123456", "'it\\'s 0123456'".into()),
            ("0123456/+=&", "?key=0123456%2F%2B%3D%26&x".into()),
            ("pass>>>word???ÿ", base64::engine::general_purpose::URL_SAFE.encode("pass>>>word???ÿ")),
        ] {
            let mut mask = Mask::new([secret]);
            let mut shown = mask.push(text.as_bytes());
            shown.extend(mask.finish());
            let shown = String::from_utf8(shown).unwrap();
            let known = [basic("hs_01234"), basic("s_012345"), basic("_0123456")];
            assert!(shown.contains("***") && !shown.contains("0123456"), "{secret} {text}: {shown}");
            assert!(!known.iter().any(|part| shown.contains(&part[..8])), "{secret} {text}: {shown}");
        }
    }

    #[test]
    fn secrets_are_masked_wherever_they_are_cut() {
        let secrets = ["0123456789abcdef", "01234567", "short", "-----BEGIN\nMIIEvQIBADANBg\n", "aaaaaaaa"];
        let text = "x0123456789abcdefy 01234567 0123456 short MIIEvQIBADANBg aaaaaaaaa 01234567";
        let want = "x***y *** 0123456 short *** ***a ***";
        for size in 1..=text.len() {
            let mut mask = Mask::new(secrets);
            let mut got: Vec<u8> = text.as_bytes().chunks(size).flat_map(|part| mask.push(part)).collect();
            got.extend(mask.finish());
            assert_eq!(String::from_utf8(got).unwrap(), want, "in parts of {size}");
        }
        let mut none = Mask::new(["short"]);
        assert_eq!((none.push(b"a short word"), none.finish()), (b"a short word".to_vec(), Vec::new()));
    }
}
