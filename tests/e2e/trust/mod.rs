//! What a stranger's repository, remote or neighbour on the same machine cannot do: one file a subject.

mod documents;
mod links_out;
mod multiplication;
mod remote_answers;
mod temporary_files;
mod tree_bomb;
