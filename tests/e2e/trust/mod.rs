//! Whose word counts: what a hostile repository, remote or neighbour cannot do, one file a subject.

mod addresses;
mod bare;
mod documents;
mod escapes;
mod grades;
mod grants;
mod imports;
mod limits;
mod links_out;
mod listener;
mod multiplication;
mod outside;
mod owner;
mod paths;
mod remote_answers;
mod secret_places;
mod secrets;
mod signatures;
mod stores;
mod swapped;
mod temporary_files;
mod tree_bomb;
mod trees;
mod typed_hints;
mod urls;
mod waits;
