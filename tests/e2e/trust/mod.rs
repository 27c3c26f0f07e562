//! Whose word counts: what a hostile repository, remote or neighbour cannot do, one file a subject.

mod documents;
mod escapes;
mod grades;
mod grants;
mod links_out;
mod multiplication;
mod remote_answers;
mod secrets;
