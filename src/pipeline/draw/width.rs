//! Widths in columns of a terminal.

/// The number of terminal columns of a text: two for characters of East Asia and emoji, approximately as terminals
/// count.
pub fn columns(text: &str) -> usize {
    let wide = |c: char| {
        matches!(c as u32, 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
            | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd)
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// The width of a box with this label and this number of incoming lines; odd.
pub fn box_width(label: &str, ports: usize) -> usize {
    (columns(label) + 4).max(2 * ports + 3) | 1
}
