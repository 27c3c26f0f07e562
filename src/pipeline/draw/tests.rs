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
    draw(&picture(text), Charset::Unicode, None).join("\n")
}

#[test]
fn a_chain_and_a_diamond() {
    insta::assert_snapshot!(drawn("prepare -> train\ntrain -> evaluate"), @"
 ┌─────────┐
 │ prepare │
 └────┬────┘
      │
  ┌───┴───┐
  │ train │
  └───┬───┘
      │
┌─────┴─────┐
│ evaluate  │
└───────────┘
");
    insta::assert_snapshot!(drawn("prepare -> a b\na b -> join\nprepare -> join"), @"
   ┌─────────┐
   │ prepare │
   └────┬────┘
  ┌─────┼─────┐
┌─┴─┐  ┌┴──┐  │
│ a │  │ b │  │
└─┬─┘  └─┬─┘  │
  └──────┴─┬──┘
       ┌───┴───┐
       │ join  │
       └───────┘
");
}

#[test]
fn lines_of_several_boxes_cross_without_touching() {
    insta::assert_snapshot!(drawn("a b c -> x y\nc -> z"), @"
  ┌───┐  ┌───┐  ┌───┐
  │ a │  │ b │  │ c │
  └─┬─┘  └─┬─┘  └─┬─┘
  ┌─┴──────│──┐   │
  │ ┌──────┴──│─┐ │
  │ │ ┌───────│─│─┼─────┐
┌─┴─┴─┴─┐  ┌──┴─┴─┴┐  ┌─┴─┐
│   x   │  │   y   │  │ z │
└───────┘  └───────┘  └───┘
");
}

#[test]
fn parts_stand_below_each_other_and_lone_boxes_beside_each_other() {
    insta::assert_snapshot!(drawn("one\na -> b\ntwo\n数据"), @"
┌───┐
│ a │
└─┬─┘
  │
┌─┴─┐
│ b │
└───┘

┌─────┐  ┌─────┐  ┌───────┐
│ one │  │ two │  │ 数据  │
└─────┘  └─────┘  └───────┘
");
    assert!(drawn("").is_empty());
}

#[test]
fn in_ascii() {
    insta::assert_snapshot!(draw(&picture("a -> b c\nb c -> d"), Charset::Ascii, None).join("\n"), @"
    +---+
    | a |
    +-+-+
  +---+--+
+-+-+  +-+-+
| b |  | c |
+-+-+  +-+-+
  +--+---+
  +--+--+
  |  d  |
  +-----+
");
}

#[test]
fn too_large_for_a_drawing() {
    insta::assert_snapshot!(list(&picture("join\nprepare -> a b\na b -> join\nprepare -> join")).join("\n"), @"
prepare
a        <- prepare
b        <- prepare
join     <- prepare, a, b
");
    let picture = Picture { labels: (0..200).map(|n| format!("s{n}")).collect(), edges: vec![(199, 0)] };
    let lines = draw(&picture, Charset::Ascii, None);
    assert_eq!((lines.len(), lines[198].as_str(), lines[199].as_str()), (200, "s199", "s0    <- s199"));
}

/// Returns true if a line of the drawing has a character of a box.
fn has_boxes(lines: &[String]) -> bool {
    lines.iter().any(|line| line.contains(['┌', '│']))
}

#[test]
fn what_does_not_fit_the_width_is_listed() {
    let wide = "prepare -> a b c\na b c -> join";
    for (text, width, boxes, listed) in [
        ("prepare -> train", Some(13), true, ""),
        ("prepare -> train", Some(10), false, "prepare|train    <- prepare"),
        (wide, None, true, ""),
        (wide, Some(80), true, ""),
        (
            wide,
            Some(12),
            false,
            "prepare|a        <- prepare|b        <- prepare|c        <- prepare|join     <- a, b, c",
        ),
        // parts that fit are drawn nevertheless
        ("prepare -> train\nx", Some(8), true, "prepare|train    <- prepare"),
        // a box for each stage, in as many rows as are needed, or a line
        ("one\ntwo\nthree", Some(16), true, ""),
        ("a-long-name\nshort\nanother-name", Some(12), true, "a-long-name|another-name"),
        // two columns each
        ("数据 -> 数", Some(10), true, ""),
        ("数据 -> 数", Some(8), false, "数据|数    <- 数据"),
        ("", Some(0), false, ""),
        ("a -> b", Some(0), false, "a|b  <- a"),
    ] {
        let lines = draw(&picture(text), Charset::Unicode, width);
        assert_eq!(has_boxes(&lines), boxes, "{text} {width:?}\n{}", lines.join("\n"));
        assert!(lines.join("|").contains(listed), "{text} {width:?}\n{}", lines.join("\n"));
        let drawn = lines.iter().filter(|line| has_boxes(std::slice::from_ref(line)));
        assert!(drawn.into_iter().all(|line| width::columns(line) <= width.unwrap_or(500)), "{}", lines.join("\n"));
    }
}

/// Reads the edges back from the characters of a drawing: the pairs of boxes that lines join downwards.
fn read_back(lines: &[String], labels: &[String]) -> Vec<(usize, usize)> {
    let rows: Vec<Vec<char>> = lines.iter().map(|l| l.chars().collect()).collect();
    let at = |row: usize, column: usize| rows.get(row).and_then(|r| r.get(column)).copied().unwrap_or(' ');
    // the box that a column of a row of borders belongs to
    let box_at = |row: usize, column: usize| {
        let words: String = rows[row].iter().collect();
        labels.iter().position(|label| {
            words.match_indices(&format!(" {label} ")).any(|(byte, _)| {
                let start = words[..byte].chars().count();
                let left = (0..=start).rev().find(|c| at(row, *c) == '│').unwrap();
                let right = (start + 1..).find(|c| at(row, *c) == '│').unwrap();
                (left..=right).contains(&column)
            })
        })
    };
    let down = "│┤├┬┼┌┐";
    let (to_left, to_right) = ("─┤┬┴┼┐┘", "─├┬┴┼┌└");
    let mut edges = Vec::new();
    for (n, label) in labels.iter().enumerate() {
        let (row, column) = (0..rows.len())
            .find_map(|r| {
                let words: String = rows[r].iter().collect();
                words.find(&format!(" {label} ")).map(|byte| (r, words[..byte].chars().count()))
            })
            .unwrap_or_else(|| panic!("{label}\n{}", lines.join("\n")));
        let left = (0..=column).rev().find(|c| at(row, *c) == '│').unwrap();
        let right = (column + 1..).find(|c| at(row, *c) == '│').unwrap();
        // cells, each with the direction from which it was entered: (0, 1) is from the left
        let mut open: Vec<(usize, usize, (i32, i32))> =
            (left..=right).filter(|c| at(row + 1, *c) == '┬').map(|c| (row + 2, c, (1, 0))).collect();
        let mut seen = std::collections::HashSet::new();
        while let Some(cell) = open.pop() {
            if !seen.insert(cell) {
                continue;
            }
            let (r, c, from) = cell;
            let sign = at(r, c);
            if from == (1, 0) && sign == '┴' && r + 1 < rows.len() && box_at(r + 1, c).is_some() {
                edges.push((n, box_at(r + 1, c).unwrap()));
                continue;
            }
            let is_vertical = from.0 != 0;
            let turns = |signs: &str| signs.contains(sign);
            if sign == '│' && !is_vertical {
                // a crossing
                open.push((r, (c as i32 + from.1) as usize, from));
                continue;
            }
            if turns(down) && from != (-1, 0) {
                open.push((r + 1, c, (1, 0)));
            }
            if turns(to_left) && from != (0, 1) && c > 0 {
                open.push((r, c - 1, (0, -1)));
            }
            if turns(to_right) && from != (0, -1) {
                open.push((r, c + 1, (0, 1)));
            }
        }
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

#[test]
fn a_drawing_shows_all_edges_and_no_others() {
    // a small generator of numbers, the same in every run
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for round in 0..150 {
        let count = 2 + random(if round < 120 { 14 } else { 40 });
        let labels: Vec<String> = (0..count).map(|n| format!("s{n}{}", "x".repeat(random(6)))).collect();
        let mut edges: Vec<(usize, usize)> = Vec::new();
        for b in 1..count {
            // everything hangs together
            edges.push((random(b), b));
            for _ in 0..random(3) {
                edges.push((random(b), b));
            }
        }
        edges.sort_unstable();
        edges.dedup();
        let picture = Picture { labels, edges };
        let lines = draw(&picture, Charset::Unicode, None);
        if lines[0].starts_with('s') {
            assert!(count > 14, "a small one is a list");
            continue;
        }
        assert_eq!(read_back(&lines, &picture.labels), picture.edges, "\n{}", lines.join("\n"));
    }
}
