//! The beginning of a run: reads the selected stages, and warns of what was wrong before it.

use crate::event::{Event, Sink};
use crate::plan::facts::FactsReader;
use crate::plan::select::Selection;
use crate::plan::{locked_secrets, stale_upstream};
use crate::project::{Definitions, Locks, Project};

/// Reads the facts of the selected stages in one sweep, and sends the warnings that concern them.
pub(super) fn announce<'a>(
    project: &'a Project,
    definitions: &'a Definitions,
    locks: &Locks,
    selected: &Selection,
    reader: &mut FactsReader<'a>,
    sink: &dyn Sink,
) {
    for text in &locked_secrets::warnings(project, definitions, locks) {
        sink.event(Event::Warning { text });
    }
    sink.event(Event::RunStarted { stages: selected.stages.len() });
    reader.sweep(&selected.stages);
    stale_upstream::warn_of_stale(project, definitions, locks, selected, reader, sink);
}
