//! What becomes of a model after it was trained, end to end.

mod bare;
mod bombs;
mod contents;
mod diff;
mod files;
mod folders;
mod gto;
mod hostile;
mod inspect;
mod names;
mod publish;
mod registry;
mod revision;
mod sound;
