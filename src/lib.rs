//! lockstep: a Git-native pipeline runner for people who build models.
//!
//! This page is the architecture. README.md tells users what the program does; here stands how it is made, what it
//! promises, where each promise is kept, and what was decided against.
//!
//! # Rooms
//!
//! A folder is a subject. A room names rooms of its own layer and of lower ones, never a higher one; `tests/layers.rs`
//! reads the sources and fails on a breach.
//!
//! | layer | room | subject |
//! | --- | --- | --- |
//! | 0 words | [`error`] [`escape`] [`path`] [`event`] [`value`] [`document`] [`file_lock`] [`lfs`] [`replace`] [`secret`] [`shell`] [`tag`] [`url`] | errors with kind and hint; text from elsewhere made harmless; [`path::RepoPath`]; what a long task tells the world; YAML, JSON, TOML and Python values, with marks; reading files whole, with a cap and within the repository; waiting for locks; pointers of Git LFS; replacing a small file in one step; names of secrets; words of a shell; the grammar of registry tags and what they come to; URLs, told apart from folders and shown without their secrets |
//! | 1 places | [`git`] [`store`] [`config`] | discovery, ignore rules, what Git tracks, any commit's files, tags; objects, stat index, trees; settings with their origins |
//! | 2 documents | [`pipeline`] [`lock`] [`project`] | what the user wrote; what happened; one open repository, as of the worktree or a commit |
//! | 3 work | [`run`] | select, look, judge, schedule, execute, record |
//! | | [`remote`] | the same objects elsewhere: push, fetch, what is there |
//! | | [`keep`] | what of the store and of a remote is needed, by whom, what may go and what is damaged: `gc`, `du`, `verify` |
//! | | [`compare`] | how two snapshots differ: data, metrics, params |
//! | 4 products | [`report`] | what a run came to, for CI systems: summary, annotations, comment, cache key; plots as one page of HTML, as data and as text |
//! | | [`model`] | what is inside a model file, how two of them differ, versions on Git tags, quality gates, provenance |
//! | 5 counter | [`cli`] | arguments, output, one file a command |
//!
//! `git` and `store` do not know each other, `pipeline` does not know `lock`. Only the counter prints, or asks for the
//! environment, the clock or the current folder: everything else gets them as [`project::Surroundings`]. Names, values and
//! messages from elsewhere are escaped where they are written, in `cli/output.rs`, and in no other place.
//!
//! # The way of one `repro`
//!
//! ```text
//! cli::main          parses the command line
//! Project::open      finds the root, merges the settings
//! definitions()      git::discover → pipeline::load → graph     (or the compiled form, if no byte changed)
//! Scope::select      targets → stages, in topological order
//! run::repro         one thread owns all state
//!   look               stat index → facts of a stage            (what is there now)
//!   fresh::judge       facts × lock entry → reasons             (pure)
//!   cache::get         stage key → an earlier result            (whose results count: cache/signatures.rs)
//!   pull               the same from a remote, on a worker; what a stage needs is fetched before it runs
//!   execute            worker thread: set aside, run, pin, or put back
//!   record             recorder thread: objects → run cache → journal
//!   fold               journal → pipeline.lock                  (at the end, re-read under the workspace lock)
//! Outcome            printed by the command, made an exit code in one place
//! ```
//!
//! Workers and the recorder send messages; nothing is shared but what is read-only. Events go to
//! `cli::progress` through [`event::Sink`].
//!
//! # Promises, and where each is kept
//!
//! 1. *What the lock says was made from an input was made from it.* Inputs are pinned before the command and looked at
//!    again after it: `run/execute/pin.rs`.
//! 2. *A failed, killed or interrupted run loses nothing.* Outputs are set aside by a rename and put back:
//!    `workspace/backup.rs`. Where only a name beside the output will do, the name says whether what bears it may be removed:
//!    `store/fs/paths.rs`. What the store has no good copy of is kept, pinned or not: `run/decide.rs`. The journal is durable
//!    before the old outputs go: `run/record.rs`. Should lockstep itself be killed, a second process ends the commands:
//!    `run/watchdog.rs`. What ended well because it was asked to stop is refused: `run/execute/pin.rs`.
//! 3. *Read-only commands take no lock and run no user code.* They overlay the journal in memory: `workspace/recover.rs`.
//! 4. *Two processes never corrupt anything.* One exclusive lock a worktree, and a second one for the text of pipeline
//!    files: `workspace/worktree_lock.rs`. Writers of one small file take turns: [`replace`]. Who stores, records or restores keeps
//!    gc out: `store/objects/store_lock.rs`; who shares a store is known in it: `store/objects/projects.rs`.
//! 5. *An unsaved change is never overwritten unasked.* `workspace/checkout.rs`; one that was made while a restore went on is
//!    seen after the swap, and returns: `store/checkout/race.rs`. What is ignored inside an output outlives it:
//!    `workspace/preserve.rs`.
//! 6. *Bytes are verified against their id before use.* [`store`]. A remote is a help, never a need: what fails there is
//!    a miss (`run/pull.rs`). Copies while they stream, whether from a file of
//!    their own or from a pack; what was fetched before it gets its name: `store/objects/adopt_pack.rs`. Damage is set aside:
//!    a loose object, one object of a pack, or a pack whose index is broken. `verify` looks for it where nobody reads, and
//!    tells whom it hurts: [`keep::verify`].
//! 7. *Nothing but the user's own files is written.* By spelling: [`path::RepoPath`] and [`path::names`]; on the disk:
//!    [`store::WritableArea`]. Trees from elsewhere: `store/trees/rules.rs`; a store is a folder that says so:
//!    `store/objects/marker.rs`. What is
//!    read for what it says lies in it, too, is a regular file, and has a largest size: [`document`]. Nothing from outside
//!    is stored through a link: `store/index/outside.rs`.
//! 8. *Every rerun has a reason that is shown.* `plan/reasons.rs` gives reasons, not a yes or no; the manifest behind the
//!    stage key is one writer with two sinks, a hash and a text: `lock/key.rs`.
//! 9. *Same inputs, same order, same lock bytes, same JSON.* Sorted maps throughout; `lock/write.rs`.
//! 10. *Nothing phones home.* The network is used by two rooms: [`remote`], for a remote of the settings, and
//!     `report/comment.rs`, for `ci report --comment`. A secret goes to the scheme, host and port that it was given for:
//!     `remote/settings/secrets.rs`.
//! 11. *A committed file is not the user's word.* `config/grade.rs` says what `lockstep.toml` may set, the tables of
//!     settings have a rule for each key; a remote that would use the user's credentials asks first: `remote/settings/grant.rs`.
//! 12. *A repository of another user is opened only where the user's Git settings list it.* `git/repo/owner.rs`. An address
//!     that stands in a file starts no program, and a question to Git no hook: `git/program/mod.rs`.
//! 13. *A tag is called signed when Git says that its signature is good, for this tag.* `git/history/signature.rs`; where that is
//!     required: `model/registry/signed.rs`.
//! 14. *A remote that this clone has used and that is not there is refused, and never begun again.* `remote/catalog/lost.rs`. What is
//!     at a remote is hidden from no reader: `remote/catalog/summary.rs`.
//! 15. *An address means one thing to all commands.* Folder, service or host: `url/form.rs`; of a remote the rest:
//!     `remote/settings/address.rs`.
//!
//! # The way of a look back
//!
//! `git::History` resolves a name to a commit and reads Git's objects; `Project::at` gives a [`project::Snapshot`] of it
//! (or of the worktree, with the same methods). A file of a commit is looked for in Git first, then among what the locks
//! of that commit pin, whose bytes are in the store. Definitions are loaded once for all commits with the same pipeline
//! files, each distinct metrics or params file is parsed once: a history of 10,000 commits is a matter of their root
//! trees, which are read in the order of their packs (`git/history/prefetch.rs`). Other repositories are projects, too ([`project::open_repository`]): opened where they lie, or cloned bare by the
//! `git` program into `<git common dir>/lockstep/repos/`.
//!
//! # The way of a label
//!
//! `tag/fold.rs` says which version has a label, by GTO's rules: one pure function for the registry and for revisions. GTO
//! itself judges it in `tests/e2e/model/gto.rs`. A command that makes tags and pushes them does both or neither:
//! `model/registry/publish.rs`.
//!
//! # The way of a merge
//!
//! `lock::merge` takes each stage of a lock whole from one side; a record is never mixed from two runs. Where both sides
//! ran a stage, the one whose key is that of the merged inputs stays. Data that both sides changed is joined file by file,
//! by the trees in the store (`store/trees/join/mod.rs`, `workspace/join_data.rs`), or is a conflict that Git shows (`lock/conflict.rs`):
//! it cannot be made again. What the workspace has after a merge is an earlier version, not an edit: the stat index
//! remembers which version the lock pinned last, and where it is lost, Git says whether an earlier lock pins it
//! (`plan/data_version.rs`). Git calls it through `merge-driver`, which sees
//! three locks and the store; `run::merge` calls it afterwards, and has the merged files as well. `lockstep install`
//! (`git/program/install.rs`) sets the driver and the hooks; what is committed does not change.
//!
//! # Formats and their versions
//!
//! | file | version | a newer one |
//! | --- | --- | --- |
//! | `pipeline.lock` | `schema: 1`, [`lock::SCHEMA`] | is refused, never rewritten |
//! | stage key | in the context of its hash, `lock/key.rs` | is another key: a miss |
//! | run-cache entry | [`run::cache::VERSION`] | is passed over: a miss |
//! | journal | `workspace/journal.rs` | see there |
//! | store | `generation`, `store/objects/mod.rs` (`lockstep-store` says that the folder is one) | is read, since every object proves itself, and never written |
//! | pack | [`store::pack::format`] | is passed over and left alone; what it holds is missing |
//! | tombstones of a pack | `store/pack/tombstones.rs` | the pack is verified anew |
//! | outcome of the last run, report | [`report::last`], [`report::collect`] | is passed over; is refused |
//! | note in a registry tag | [`tag::block::VERSION`] | counts as none; the tag's name and its commit say the rest |
//! | journal of pushed tags | `model/registry/publish.rs` | is refused |
//! | remote | `lockstep-remote`, [`remote`] | is refused |
//! | segment of a remote's index | `remote/catalog/segment.rs` | is refused |
//! | note on what goes from a remote | `remote/gc/marks.rs` | is refused |
//! | compiled pipelines and locks | `project/mod.rs`, `project/locks.rs` | are made anew |
//!
//! The log folder of a run is described in `workspace/logs.rs`. Whoever runs the commands holds a lock on the file `output`
//! in it, which is how `logs -f` knows when to stop, also after a crash.
//!
//! # Where the design was changed, and why
//!
//! - With `--allow-missing` a dep that is not here counts as what the lock pins, folders of several outputs put together
//!   from their pins (`store/overlay.rs`): a clone decides all of its stages without their bytes.
//! - Of stages that run side by side each has a process group of its own, not one for all: `kill 0` in a script means that
//!   script. The group of the watchdog is for a stage that runs alone.
//! - What an output with `cache: false` held, as the lock pins it, is not kept when a rerun replaces it and the store lacks
//!   it: it is Git's.
//! - Exit code 7 is a refusal of the file system (disk full, permission). It would otherwise have been 3, which means
//!   that something named by the user is missing, or 101, which means a bug.
//! - Params files are read by the parser that gives marks, not by serde_yaml: that one cannot tell `1_000` from
//!   `'1_000'`, and the first is a number and the second a text.
//! - The lock is written by hand and read by serde_yaml. The next version of a library must not change committed bytes,
//!   but it may read them as it likes. A text that is what we would write is read without it (`lock/quick.rs`).
//! - Compiled forms are keyed by the hashes of all files that were read, not by their times. Hashing a megabyte takes
//!   well under a millisecond and cannot be fooled by an edit within a tick of the clock.
//! - 1 and 1.0 are one number, and so one stage key and no reason to run. A result from the run cache is reused only
//!   for the same type nevertheless, since a command that reads the file may treat them differently.
//! - The `.gitignore` of a folder that a stage makes is written when the folder is there, not before the run: a folder
//!   made for it would be in the way of the stage's own `mkdir`. It is written before any stage that depends on a
//!   folder above looks at it, so that it counts from the first run on.
//! - Packs hold trees of any size: a batch that writes a pack has no loose trees. A single-file output may lie in a pack.
//! - A pack is sealed as a whole, as a loose object is: whether an object of it may be counted on before its other copy
//!   goes costs one stat a pack, not a read of all of it.
//! - Two more things lie in the store: `lock`, held shared by whoever stores or restores and exclusively by gc, and
//!   `projects/`, by which a shared store knows who uses it. Its counterpart in a repository is the file `lockstep/id` in
//!   the common Git folder: a path alone does not tell containers apart.
//! - gc keeps what any `pipeline.lock` pins that it finds by name, whatever the pipelines beside it say now.
//! - A commit says nothing of files outside the repository: a template that reads one has no value at a revision.
//! - Metrics whose bytes are not in the store are shown as the lock has them: a fresh clone has its numbers at once.
//! - `list` and `get` of another repository mean its `HEAD`, never what lies uncommitted in somebody's folder.
//! - Counters of labels go up over all tags of a model, not of a label: so does GTO, and the order of all that happened to a
//!   model is told without clocks.
//! - What is pinned and not here is no damage to `verify`, unless the workspace pins it and there is no remote: then it is
//!   lost. Objects whose seal is broken are read without being asked for.
//! - Registry tags are made by the `git` program, not by gix: its signing, its settings and its hooks are the user's.
//! - `register` judges the commit by its own files, and the workspace besides where `HEAD` is meant. The stages that
//!   measured a model count as well as those that made it: metrics of the model before would open a gate.
//! - A remote that is a folder is written with the standard library, not through opendal: it is made durable, and a pack
//!   is copied as it is.
//! - A segment lists the large objects that a push added, besides whole outputs: a large file that an output shares with
//!   an earlier one is known to be there without a request.
//! - `gc -c` means the remote alone, not the store as well: each asks its own question, and a marked object is no reason
//!   to give up the last copy here. What is marked stands in notes beside the segments, which older programs pass over.
//! - A bare repository has no workspace; `HEAD` is meant, and what needs files refuses.
//! - A link in data or in an output that leads out of the repository is an error, though section 2 lets it count as what it
//!   points to: what is stored is pushed, and promise 7 says that nothing from outside is (`store/index/outside.rs`).
//! - A dep may lie outside the repository, a document may not, not even through a symlink (params, vars, metrics, plots,
//!   settings, ignore rules): what it says is printed, recorded and published.
//! - DVC's own templates are drawn here as SVG; a template of the project is Vega-Lite, and Vega-Lite draws it, in the page.
//! - Bytes of imports have a second place after the remotes: the repository that they come from, at the commit that is
//!   pinned (`import/origin.rs`). `repro` asks it with `--pull` alone: what only reads the store never clones anything.
//! - Without `core.remote` the only remote there is counts.
//! - A target that is an output means that output alone for whoever moves bytes, and its stage for whoever runs.
//! - Large objects go to WebDAV past opendal, which sends a request from memory (`remote/backend/upload.rs`).
//! - `metrics show` and `params show` go on past a file that is missing or broken, name it, and end with its code.
//! - What cannot be read is unknown, which is neither equal nor gone: comparisons leave it out, name it, and end with 2
//!   if it can be mended (the workspace) and with a warning if it cannot (a commit). A check does not hold on what is
//!   unknown or NaN.
//! - JSON output has NaN and the infinities as strings; null would be a value that is missing.

pub mod cache;
pub mod cli;
pub mod compare;
pub mod config;
pub mod document;
pub mod edit;
pub mod error;
pub mod escape;
pub mod event;
pub mod file_lock;
#[cfg(test)]
#[path = "../tests/fuzz/mod.rs"]
mod fuzz;
pub mod git;
pub mod import;
pub mod lfs;
pub mod lock;
pub mod model;
pub mod path;
pub mod pipeline;
pub mod plan;
pub mod project;
pub mod remote;
pub mod replace;
pub mod report;
pub mod retention;
pub mod run;
pub mod secret;
pub mod shell;
pub mod store;
pub mod tag;
pub mod url;
pub mod value;
pub mod workspace;
