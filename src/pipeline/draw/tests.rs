use super::*;

/// `a b -> c` on each line: boxes and edges, in the order in which they are named.
fn picture(text: &str) -> Picture {
    let mut picture = Picture::default();
    for line in text.lines() {
        let (from, to) = line.split_once("->").unwrap_or((line, ""));
        let mut node = |label: &str| {
            picture.labels.iter().position(|l| l == label).unwrap_or_else(|| {
                picture.labels.push(label.into());
                picture.labels.len() - 1
            })
        };
        let (from, to): (Vec<_>, Vec<_>) =
            (from.split_whitespace().map(&mut node).collect(), to.split_whitespace().map(&mut node).collect());
        picture.edges.extend(from.iter().flat_map(|a| to.iter().map(|b| (*a, *b))));
    }
    picture
}

fn drawn(text: &str) -> String {
    draw(&picture(text), Charset::Unicode).join("\n")
}
