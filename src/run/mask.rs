//! Values of secrets, masked in what is stored of a stage's output. The terminal shows what the stage wrote.

/// Shorter values occur in other words.
const SHORTEST: usize = 8;

/// Replaces secrets by `***` in bytes that come in parts.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    /// From the longest to the shortest.
    secrets: Vec<Vec<u8>>,
    /// The end of what came, which may be the beginning of a secret.
    held: Vec<u8>,
}

impl Mask {
    /// Of a secret of several lines (a private key) each line counts, since a terminal changes line ends.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Mask {
        let lines =
            values.into_iter().flat_map(|value| std::iter::once(value.trim()).chain(value.lines().map(str::trim)));
        let mut secrets: Vec<Vec<u8>> =
            lines.filter(|line| line.len() >= SHORTEST).map(|line| line.as_bytes().to_vec()).collect();
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Mask { secrets, held: Vec::new() }
    }

    /// What can be stored now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        self.release(false)
    }

    /// The rest.
    pub fn finish(&mut self) -> Vec<u8> {
        self.release(true)
    }

    fn release(&mut self, all: bool) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.held);
        let mut shown = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
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

#[cfg(test)]
mod tests {
    use super::*;

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
