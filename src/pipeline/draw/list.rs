//! A graph as an indented list, for graphs that are too large to draw.

use super::Picture;
use super::canvas::Charset;

/// Lists each box below the boxes that lead to it; at a repeated box, its successors are not repeated.
pub fn list(picture: &Picture, charset: Charset) -> Vec<String> {
    let count = picture.labels.len();
    let (mut below, mut is_start) = (vec![Vec::new(); count], vec![true; count]);
    for (a, b) in &picture.edges {
        below[*a].push(*b);
        is_start[*b] = false;
    }
    let again = if charset == Charset::Ascii { " (see above)" } else { " ↑" };
    let mut seen = vec![false; count];
    let mut lines = Vec::new();
    let mut open: Vec<(usize, usize)> = (0..count).rev().filter(|n| is_start[*n]).map(|n| (n, 0)).collect();
    while let Some((n, depth)) = open.pop() {
        let repeated = std::mem::replace(&mut seen[n], true) && !below[n].is_empty();
        lines.push(format!("{}{}{}", "  ".repeat(depth), picture.labels[n], if repeated { again } else { "" }));
        if !repeated {
            open.extend(below[n].iter().rev().map(|b| (*b, depth + 1)));
        }
    }
    lines
}
