//! Paints placed boxes and lines as characters.

use super::layers::Layered;
use super::route::Channel;
use super::width::{box_width, columns};

/// The characters to draw with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// Box drawing characters.
    Unicode,
    /// `+`, `-` and `|`.
    Ascii,
}

/// The sides of a cell that a line leads to.
const UP: u8 = 1;
const DOWN: u8 = 2;
const LEFT: u8 = 4;
const RIGHT: u8 = 8;

#[derive(Clone, Copy)]
enum Cell {
    Line(u8),
    Char(char),
    /// The right half of a wide character.
    Nothing,
}

struct Canvas {
    rows: Vec<Vec<Cell>>,
    width: usize,
}

impl Canvas {
    fn new(rows: usize, width: usize) -> Canvas {
        Canvas { rows: vec![vec![Cell::Line(0); width]; rows], width }
    }

    fn add(&mut self, row: usize, column: usize, sides: u8) {
        if let Some(Cell::Line(now)) = self.rows.get_mut(row).and_then(|r| r.get_mut(column)) {
            *now |= sides;
        }
    }

    fn vertical(&mut self, column: usize, rows: std::ops::Range<usize>) {
        for row in rows {
            // A line that goes down crosses others without a junction.
            if let Some(Cell::Line(now)) = self.rows.get_mut(row).and_then(|r| r.get_mut(column)) {
                *now = UP | DOWN;
            }
        }
    }

    fn text(&mut self, row: usize, column: usize, text: &str) {
        let mut at = column;
        for c in text.chars() {
            let wide = columns(c.encode_utf8(&mut [0; 4])) == 2;
            for cell in std::iter::once(Cell::Char(c)).chain(wide.then_some(Cell::Nothing)) {
                if at < self.width {
                    self.rows[row][at] = cell;
                }
                at += 1;
            }
        }
    }

    fn frame(&mut self, row: usize, column: usize, width: usize, label: &str) {
        let right = column + width - 1;
        for at in column + 1..right {
            self.add(row, at, LEFT | RIGHT);
            self.add(row + 2, at, LEFT | RIGHT);
        }
        for (row, column, sides) in [
            (row, column, DOWN | RIGHT),
            (row, right, DOWN | LEFT),
            (row + 1, column, UP | DOWN),
            (row + 1, right, UP | DOWN),
            (row + 2, column, UP | RIGHT),
            (row + 2, right, UP | LEFT),
        ] {
            self.add(row, column, sides);
        }
        self.text(row + 1, column + (width - columns(label)) / 2, label);
    }

    fn lines(&self, charset: Charset) -> Vec<String> {
        let show = |cell: &Cell| match cell {
            Cell::Line(sides) => Some(line_char(*sides, charset)),
            Cell::Char(c) => Some(*c),
            Cell::Nothing => None,
        };
        self.rows.iter().map(|row| row.iter().filter_map(show).collect::<String>().trim_end().to_string()).collect()
    }
}

fn line_char(sides: u8, charset: Charset) -> char {
    let unicode = match sides {
        0 => ' ',
        s if s & (LEFT | RIGHT) == 0 => '│',
        s if s & (UP | DOWN) == 0 => '─',
        s if s == DOWN | RIGHT => '┌',
        s if s == DOWN | LEFT => '┐',
        s if s == UP | RIGHT => '└',
        s if s == UP | LEFT => '┘',
        s if s == UP | DOWN | RIGHT => '├',
        s if s == UP | DOWN | LEFT => '┤',
        s if s == DOWN | LEFT | RIGHT => '┬',
        s if s == UP | LEFT | RIGHT => '┴',
        _ => '┼',
    };
    match (charset, unicode) {
        (Charset::Unicode, c) => c,
        (_, ' ') => ' ',
        (_, '│') => '|',
        (_, '─') => '-',
        _ => '+',
    }
}

/// A single box.
pub fn lone(label: &str, charset: Charset) -> Vec<String> {
    let width = box_width(label, 0);
    let mut canvas = Canvas::new(3, width);
    canvas.frame(0, 0, width, label);
    canvas.lines(charset)
}

/// Paints the layers and the lines between them, one string per row.
pub fn paint(layered: &Layered, channels: &[Channel], charset: Charset) -> Vec<String> {
    let right = layered.nodes.iter().map(|n| n.x + n.width).max().unwrap_or(0);
    let columns = channels.iter().flat_map(|c| &c.nets).flat_map(|n| n.from.iter().chain(&n.to));
    let width = columns.map(|c| c + 1).max().unwrap_or(0).max(right);
    // the first row of each layer; a channel without a track still has a row, so that its lines are visible
    let height = |channel: &Channel| channel.tracks.max(1);
    let mut tops = vec![0];
    for channel in channels {
        tops.push(tops[tops.len() - 1] + 3 + height(channel));
    }
    let mut canvas = Canvas::new(tops[tops.len() - 1] + 3, width);
    for (layer, nodes) in layered.layers.iter().enumerate() {
        for node in nodes.iter().map(|n| &layered.nodes[*n]) {
            match &node.label {
                Some(label) => canvas.frame(tops[layer], node.x, node.width, label),
                None => canvas.vertical(node.center(), tops[layer]..tops[layer] + 3),
            }
        }
    }
    for (layer, channel) in channels.iter().enumerate() {
        let (top, bottom) = (tops[layer] + 3, tops[layer + 1]);
        let nets = || channel.nets.iter();
        // tracks first, so that the lines that cross them are painted over them
        for net in nets() {
            let Some(track) = net.track else { continue };
            let columns = || net.from.iter().chain(&net.to).copied();
            let (from, to) = (columns().min().unwrap_or(0), columns().max().unwrap_or(0));
            for column in from..=to {
                let sides = if column == from {
                    RIGHT
                } else if column == to {
                    LEFT
                } else {
                    LEFT | RIGHT
                };
                canvas.add(top + track, column, sides);
            }
        }
        for net in nets() {
            let turn = net.track.map_or(bottom, |track| top + track);
            for &column in &net.from {
                canvas.vertical(column, top..turn);
            }
            for &column in &net.to {
                canvas.vertical(column, turn + 1..bottom);
            }
        }
        for net in nets() {
            let turn = net.track.map(|track| top + track);
            for &column in &net.from {
                canvas.add(top - 1, column, DOWN);
                turn.iter().for_each(|turn| canvas.add(*turn, column, UP));
            }
            for &column in &net.to {
                canvas.add(bottom, column, UP);
                turn.iter().for_each(|turn| canvas.add(*turn, column, DOWN));
            }
        }
    }
    canvas.lines(charset)
}
