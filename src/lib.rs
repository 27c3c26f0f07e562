//! lockstep: a Git-native pipeline runner for people who build models.
//!
//! This page is the architecture: the rooms, the steps of one `repro`, the promises with the file that keeps each, and
//! the formats. README.md describes the program for users, docs/decisions.md gives the reasons for decisions.
//!
//! # Rooms
//!
//! A room is a folder (or file) of `src/` about one subject. It may use rooms of lower layers, never of higher ones;
//! rooms of the lowest layer may use each other. `tests/layers/main.rs` has this order and fails on a violation.
//!
//! | layer | rooms | subject |
//! | --- | --- | --- |
//! | 0 | [`error`] [`escape`] [`path`] [`event`] [`value`] [`document`] [`file_lock`] [`lfs`] [`replace`] [`secret`] [`shell`] [`tag`] [`url`] | errors with kind and hint; escaping of untrusted text; [`path::RepoPath`]; progress events; YAML, JSON, TOML and Python values with positions; reading whole files with a size limit; file locks; Git LFS pointers; atomic replacement of small files; names of secrets; shell words; registry tags; URLs |
//! | 1 | [`config`] [`git`] | settings with their origins; discovery, ignore rules, tracked files, commits, tags |
//! | 2 | [`store`] | content-addressed objects, packs, trees, the stat index |
//! | 3 | [`pipeline`] [`lock`] | `pipeline.yaml` and its graph; `pipeline.lock` |
//! | 4 | [`project`] | an open repository, as of the worktree or of a commit |
//! | 5 | [`environment`] | what environments resolve to, and the state of their folders |
//! | 6 | [`plan`] | selection, facts, reasons, schedule |
//! | 7 | [`cache`] [`compare`] [`workspace`] | the run cache; differences of two snapshots; writing to the worktree: backups, journal, checkout |
//! | 8 | [`remote`] | push, fetch and garbage collection of a remote |
//! | 9 | [`import`] | reading files of any commit of any repository, also those in Git LFS |
//! | 10 | [`run`] [`retention`] | running stages; `gc`, `du`, `verify` |
//! | 11 | [`edit`] [`model`] | changing pipeline files; model files, versions on Git tags, quality gates |
//! | 12 | [`report`] [`deploy`] | CI summaries, plots; versions in the places where they are used |
//! | 13 | [`serve`] | answering requests with models over HTTP |
//! | 14 | [`cli`] | arguments, output, one file per command |
//!
//! `store` and `git` do not use each other. Only `cli` prints, or reads the environment, the clock or the current
//! folder; other rooms get them in [`project::Surroundings`]. Untrusted names, values and messages are escaped in one
//! place, when they are printed: `cli/output.rs`.
//!
//! # The steps of one `repro`
//!
//! ```text
//! cli::main                 parses the command line
//! Project::open             finds the root, merges the settings
//! Project::definitions      git::discover → pipeline::load → graph   (or the compiled form, if no file changed)
//! plan::select              targets → stages, in topological order
//! workspace::guard          takes the workspace lock; puts back and records what a killed command left
//! run::repro                one thread owns all state
//!   plan::schedule          the state of each stage; the next one    (pure)
//!   plan::facts             stat index → facts of a stage
//!   plan::reasons           facts × lock entry → reasons             (pure)
//!   run::decide             reasons, what is missing → an action     (pure: next_action.rs)
//!   cache::entries          stage key → an earlier result, if cache::signatures accepts it
//!   run::pull               the same from a remote, on a worker; fetches missing inputs
//!   run::execute            on a worker: backs up outputs, runs the commands, pins; or restores
//!   run::record             on the recorder thread: objects → run cache → journal
//! workspace::guard          at the end: records → pipeline.lock, which is read again for it
//! Outcome                   printed by the command, which turns it into an exit code
//! ```
//!
//! Workers and the recorder send messages; they share only read-only state. Progress goes to `cli::progress` through
//! [`event::Sink`].
//!
//! # Promises, and where each is kept
//!
//! 1. *The lock never claims an input that a result was not made from.* Inputs are pinned before the commands and read
//!    again after them: `run/execute/pin.rs`.
//! 2. *A failed, killed or interrupted run loses nothing.* Outputs are moved to a backup and moved back:
//!    `workspace/backup.rs`. Names of temporary files say whether they may be removed: `store/fs/paths.rs`. Outputs
//!    without a good copy in the store are kept: `run/decide/stored.rs`. The journal is durable before old outputs are
//!    deleted: `run/record.rs`. If lockstep is killed, a second process ends the commands: `run/watchdog.rs`. A command
//!    that succeeded after it was asked to stop is refused: `run/execute/pin.rs`.
//! 3. *Read-only commands take no lock and run no user code.* They apply the journal in memory: `workspace/recover.rs`.
//! 4. *Two processes never corrupt anything.* One exclusive lock per worktree, and another for pipeline files:
//!    `workspace/worktree_lock.rs`. Writers of one small file take turns: [`replace`]. Commands that store, record or
//!    restore exclude gc: `store/objects/store_lock.rs`. A shared store lists the projects that use it:
//!    `store/objects/projects.rs`.
//! 5. *An unsaved change is never overwritten without a request.* `workspace/checkout.rs`. A change during a restore is
//!    detected after the swap and restored: `store/checkout/race.rs`. Ignored files inside an output are kept:
//!    `workspace/preserve.rs`.
//! 6. *Bytes are verified against their id before use.* [`store`]. A failing remote is only a miss: `run/pull.rs`.
//!    Downloads are verified before they get their name: `store/objects/adopt_pack.rs`. Damaged objects and packs are
//!    quarantined. `verify` checks everything, and lists what depends on the damage: [`retention::verify`].
//! 7. *Only the user's own files are written.* By spelling: [`path::RepoPath`] and [`path::names`]; on disk:
//!    [`store::WritableArea`]. Trees of other people are checked: `store/trees/rules.rs`; a store has a marker file:
//!    `store/objects/marker.rs`. Documents are regular files inside the repository with a size limit: [`document`].
//!    Nothing outside of the repository is stored through a link: `store/index/outside.rs`.
//! 8. *Every rerun has a reason that is shown.* `plan/reasons.rs` returns reasons, not a boolean. One writer produces
//!    the hash of the stage key and its explanation: `lock/key.rs`.
//! 9. *Same inputs, same order, same lock bytes, same JSON.* Sorted maps everywhere; `lock/write.rs`.
//! 10. *Nothing phones home.* Only [`remote`], for a remote of the settings, `import/lfs/`, for files of a
//!     repository that the user or a pipeline file names, and `report/comment.rs`, for `ci report --comment`, use the
//!     network. A secret is sent only to the scheme, host and port that it was given for:
//!     `remote/settings/secrets.rs`.
//! 11. *A committed file cannot act as the user.* `config/grade.rs` defines what `lockstep.toml` may set. A remote that
//!     would use the user's credentials needs a confirmation: `remote/settings/grant.rs`.
//! 12. *A repository of another user is opened only if the user's Git settings list it.* `git/repo/owner.rs`. An
//!     address in a file starts no program, and a Git query runs no hook: `git/program/mod.rs`.
//! 13. *A tag is called signed only if Git says that its signature is good, for this tag.* `git/history/signature.rs`;
//!     if signatures are required: `model/registry/signed.rs`.
//! 14. *A remote that this clone used before and that is now missing is an error, and is never created again.*
//!     `remote/catalog/lost.rs`. All readers see everything that is at a remote: `remote/catalog/summary.rs`.
//! 15. *An address means the same to all commands.* Folder, service or host: `url/form.rs`; the hub: `url/hub.rs`; the
//!     rest of a remote's address: `remote/settings/address.rs`.
//!
//! # Deployments

//! `deploy::engine` starts a deployment, `deploy::steps` has its steps in order. A release is built in `staging/`, each
//! file hashed as it is copied (`store/checkout/hashed_copy.rs`), and gets its name by a rename; `current` is replaced by
//! a rename. The journal (`deploy/journal.rs`) has a line before each change of `current`, so the next call finishes what
//! a kill left. Targets and their commands come from the worktree, never from the commit that is deployed.
//!
//! # Reading other commits
//!
//! `git::History` resolves a name to a commit and reads Git's objects. `Project::at` returns a [`project::Snapshot`] of
//! it, or of the worktree with the same methods. A file of a commit is looked up in Git first, then among the pins of
//! that commit's locks, whose bytes are in the store. Definitions are loaded once for all commits with the same
//! pipeline files, and each metrics or params file is parsed once (`project/snapshot/cache.rs`). Objects are read in
//! the order of their packs (`git/history/prefetch.rs`). Other repositories are opened in place or cloned bare into
//! `<git common dir>/lockstep/repos/`: `project/open_repository.rs`.
//!
//! # Registry tags
//!
//! `tag/fold.rs` computes which version has a label, by GTO's rules, as one pure function. `tests/e2e/model/gto.rs`
//! compares it with GTO. A command that creates and pushes tags does both or neither: `model/registry/publish.rs`.
//!
//! # Merging locks
//!
//! `lock::merge` takes each stage of a lock whole from one side; a record is never mixed from two runs. If both sides
//! ran a stage, the record whose key matches the merged inputs is taken. Data that both sides changed is merged file by
//! file from the trees in the store (`store/trees/join/mod.rs`, `workspace/join_data.rs`), or is a conflict in the file
//! (`lock/conflict.rs`), because data cannot be made again. After a merge the workspace has an earlier version of data,
//! not an edit: `plan/data_version.rs` distinguishes the two. Git calls `merge-driver`, which sees three locks and the
//! store; `lockstep merge` (`edit/merge.rs`) runs afterwards and also sees the merged files. `lockstep hooks install` sets up
//! the driver and the hooks: `git/program/install.rs`.
//!
//! # Formats and their versions
//!
//! | file | version | if it is newer |
//! | --- | --- | --- |
//! | `pipeline.lock` | `schema: 1`, [`lock::SCHEMA`] | refused, never rewritten |
//! | stage key | part of its hash, `lock/key.rs` | another key: a miss |
//! | run-cache entry | [`cache::entries::VERSION`] | skipped: a miss |
//! | journal | `workspace/journal.rs` | see there |
//! | store | `generation`, `store/objects/mod.rs`; marker `lockstep-store` | read, since every object is verified, and never written |
//! | pack | [`store::pack::format`] | skipped and left alone; its objects are missing |
//! | tombstones of a pack | `store/pack/tombstones.rs` | the pack is verified again |
//! | manifest, journal and events of a deployment | `deploy/manifest.rs`, `deploy/event.rs` | refused |
//! | outcome of the last run, report | [`report::last`], [`report::collect`] | skipped; refused |
//! | note in a registry tag | [`tag::block::VERSION`] | ignored; the tag's name and commit are used |
//! | journal of pushed tags | `model/registry/publish.rs` | refused |
//! | remote | `lockstep-remote`, [`remote`] | refused |
//! | segment of a remote's index | `remote/catalog/segment.rs` | refused |
//! | gc marks of a remote | `remote/catalog/marks.rs` | refused |
//! | compiled pipelines and locks | `project/compiled.rs` | replaced |
//!
//! `workspace/logs.rs` describes the log folder of a run. The process that runs the commands holds a lock on the file
//! `output` in it; `logs -f` uses the lock to know when to stop, also after a crash.

mod cache;
pub mod cli;
mod compare;
mod config;
mod deploy;
mod document;
mod edit;
mod environment;
pub mod error;
mod escape;
pub mod event;
mod file_lock;
#[cfg(test)]
#[path = "../tests/fuzz/mod.rs"]
mod fuzz;
mod git;
mod import;
mod lfs;
pub mod lock;
mod model;
pub mod path;
pub mod pipeline;
pub mod plan;
pub mod project;
mod remote;
mod replace;
mod report;
mod retention;
pub mod run;
mod secret;
mod serve;
mod shell;
pub mod store;
mod tag;
mod url;
mod value;
mod workspace;
