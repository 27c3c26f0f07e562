//! The keys of a pipeline file: the one table that files are checked against and that the JSON Schema for editors is
//! written from. A new key is a new row.

use KeyType::*;

use crate::pipeline::deploy::{ReleaseLink, Requirement};

/// A key of a map in a pipeline file.
pub struct KeySpec {
    /// The key as it is written.
    pub name: &'static str,
    /// The type of its value.
    pub takes: KeyType,
    /// One line for editors.
    pub about: &'static str,
    /// Whether a map without this key is an error.
    pub is_required: bool,
}

/// The keys of one map. Those of plots are in two tables: of outputs, and of charts.
pub type KeyTables = &'static [&'static [KeySpec]];

/// The type of a key's value. Types are checked before templates are resolved, so only a type with strings in it can
/// have templates.
#[derive(Clone, Copy)]
pub enum KeyType {
    /// A string, with templates.
    Text,
    /// A string without templates, not empty.
    Literal,
    /// The whole id of a Git commit.
    Commit,
    /// `true` or `false`.
    Flag,
    /// Any value; strings in it may have templates.
    Any,
    /// A list of strings, with templates.
    Texts,
    /// A list of some of these words.
    Words(&'static [&'static str]),
    /// A map with these keys.
    Map(KeyTables),
    /// A command or a list of commands, with templates.
    Command,
    /// A list of files and maps, without templates.
    Vars,
    /// A list of keys of `params.yaml`, and of maps from a file to its keys; with templates.
    Params,
    /// A list of names, and of maps from one name to a map with these keys.
    Env(KeyTables),
    /// A map from a dimension to a list, or to a template that is a list.
    Matrix,
    /// A list, a map, or a template that is one of them.
    Items,
    /// A list of paths, and of maps from a path to a map with these keys; with templates.
    Outs(KeyTables),
    /// A map from a name to a stage.
    Stages,
    /// The map below `do`: a stage without `matrix`.
    GroupBody,
    /// A list of paths, and of maps from a name to a map with these keys, or to nothing.
    Charts(KeyTables),
    /// The x-axis of a chart: a column, or a map of files and columns.
    Column,
    /// The y-axis of a chart: a column, a list of columns, or a map of files and columns.
    Columns,
    /// A map from a name to a map with these keys.
    Artifacts(KeyTables),
    /// A map from the name of a deployment target to a map with these keys.
    Targets(KeyTables),
    /// A number from 0.
    Count,
    /// A time: `60s`, `2m`, or a number of seconds.
    Time,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A map from a name to a map with these keys, exactly one of which says what kind of environment it is.
    Environments(KeyTables),
    /// A list of conditions, or a map from an artifact to such a list.
    Checks,
    /// A list of maps with these keys.
    Entries(KeyTables),
    /// Anything: DVC has this key, and it does nothing here.
    Ignored,
}

const fn key(name: &'static str, takes: KeyType, about: &'static str) -> KeySpec {
    KeySpec { name, takes, about, is_required: false }
}

const fn required(name: &'static str, takes: KeyType, about: &'static str) -> KeySpec {
    KeySpec { name, takes, about, is_required: true }
}

/// The keys at the top level of a pipeline file.
pub const TOP: KeyTables = &[&[
    key("stages", Stages, "The stages, by name"),
    key("vars", Vars, "Values for ${…}: maps, or files (`conf.json:a,b` takes two keys); params.yaml is always read"),
    key("params", Texts, "Params files that belong to no stage; `params diff` shows them"),
    key("metrics", Texts, "Metrics files that belong to no stage; `metrics show` shows them"),
    key("plots", Charts(CHART), "Files to plot, and charts over several files"),
    key("artifacts", Artifacts(ARTIFACT), "Names for files that get versions: `lockstep model register NAME`"),
    key("checks", Checks, "Conditions on metrics that a version must meet, as `metrics.json:accuracy >= 0.9`"),
    key("deploy", Targets(DEPLOY), "Places for versions: `lockstep deploy NAME`"),
    key(
        "environments",
        Environments(ENVIRONMENT),
        "Environments that stages run in, by name; made when a stage needs them",
    ),
    key("datasets", Ignored, "Of DVC; does nothing. Name the files under `deps` or `data`"),
    key("data", Entries(DATA), "Inputs that no stage makes; pinned and stored like outputs"),
]];

/// The keys of a stage.
pub const STAGE: KeyTables = &[&[
    required("cmd", Command, "The command: a line, a script of several lines, or a list with one shell each"),
    key("wdir", Text, "The folder in which the command runs, and from which the paths of the stage count"),
    key("deps", Texts, "Files and folders that the command reads; a change of content reruns the stage"),
    key("params", Params, "Keys of params.yaml, or `FILE: [KEYS]`; a change of one of these values reruns the stage"),
    key("vars", Vars, "Values for ${…} in this stage alone"),
    key("outs", Outs(OUT), "Files and folders that the command makes"),
    key("metrics", Outs(OUT), "Outputs with numbers to compare"),
    key("plots", Outs(PLOT), "Outputs to plot"),
    key("frozen", Flag, "true: never run the stage, whatever changes"),
    key("always_changed", Flag, "true: run the stage each time"),
    key("desc", Text, "A description for people"),
    key("meta", Any, "For people and other tools; lockstep does not use it"),
    key("matrix", Matrix, "Makes one stage for each combination of items: ${item.NAME}"),
    key("env", Env(ENV), "Environment variables that are inputs, or `NAME: {input: false}` for a secret"),
    key("environment", Text, "The name of one of `environments`, of this file or of one in a folder above"),
    key("scratch", Texts, "Folders for checkpoints: kept when the stage fails or is killed, emptied on success"),
]];

/// The keys of a group of stages.
pub const GROUP: KeyTables = &[&[
    required("foreach", Items, "Makes one stage for each item of a list (${item}) or a map (${key}, ${item})"),
    required("do", GroupBody, "The stage that is made for each item"),
]];

const NOTES: &[KeySpec] = &[
    key("desc", Text, "A description for people"),
    key("type", Text, "The kind of content, as `model` or `dataset`"),
    key("labels", Texts, "Words for people"),
    key("meta", Any, "For people and other tools"),
];

const TRANSFER: &[KeySpec] = &[
    key("remote", Text, "The remote that it goes to, instead of the default one"),
    key("push", Flag, "false: it never goes to a remote"),
];

const OUT_FLAGS: &[KeySpec] = &[
    key("cache", Flag, "false: lockstep does not store it, and Git tracks it"),
    key("persist", Flag, "true: it is not removed before the stage runs"),
    key("checkpoint", Flag, "Of DVC; does nothing"),
];

/// The keys of an output.
pub const OUT: KeyTables = &[OUT_FLAGS, TRANSFER, NOTES];

/// The properties of a plot that is an output.
pub const PLOT_PROPERTIES: &[KeySpec] = &[
    key("template", Text, "A template of lockstep or of `.dvc/plots`, as `linear` or `confusion`"),
    key("x", Text, "The column of the x-axis"),
    key("y", Text, "The column of the y-axis"),
    key("x_label", Text, "The title of the x-axis"),
    key("y_label", Text, "The title of the y-axis"),
    key("title", Text, "The title of the chart"),
    key("header", Flag, "false: the first line is data, and the columns are 0, 1, …"),
];

const PLOT: KeyTables = &[OUT_FLAGS, TRANSFER, NOTES, PLOT_PROPERTIES];

const CHART: KeyTables = &[&[
    key("template", Text, "A template of lockstep or of `.dvc/plots`, as `linear` or `confusion`"),
    key("x", Column, "The column of the x-axis, or a map of files and columns"),
    key("y", Columns, "The column of the y-axis, a list of columns, or a map of files and columns"),
    key("x_label", Text, "The title of the x-axis"),
    key("y_label", Text, "The title of the y-axis"),
    key("title", Text, "The title of the chart"),
]];

const DATA: KeyTables = &[
    &[required("path", Text, "The file or folder, from the folder of this file")],
    TRANSFER,
    NOTES,
    &[key("import", Map(IMPORT), "The origin of imported data; `lockstep import` writes it")],
];

const IMPORT: KeyTables = &[&[
    required("url", Literal, "The repository: a URL, hf://ORG/NAME, or a folder from the folder of this file"),
    required("path", Literal, "The path in that repository"),
    key("rev", Literal, "The revision that `lockstep update` follows"),
    required("commit", Commit, "The commit that the data was taken from"),
]];

const ARTIFACT: KeyTables = &[
    &[required("path", Text, "The file or folder of this name")],
    NOTES,
    &[key("require", Words(&["signed"]), "[signed]: only tags with good signatures count")],
];

/// The keys of a deployment target.
pub const DEPLOY: KeyTables = &[&[
    key("artifact", Text, "The artifact whose versions go there; the only one by default"),
    key("label", Text, "The label whose version belongs there; the latest version by default"),
    key("to", Text, "The folder, from the folder of this file. Outside of the repository the user confirms it"),
    key("keep", Count, "How many releases stay besides the current one and the one before [5]"),
    key(
        "check",
        Text,
        "A command that must succeed before the switch; $LOCKSTEP_RELEASE is the folder of the new release",
    ),
    key("after", Text, "A command after the switch, and after a way back, as `systemctl reload digits`"),
    key("healthy", Text, "A URL or a command that is asked after the switch, until it holds"),
    key("timeout", Time, "The limit of each of the three: 60s, 2m [60s]"),
    key("require", Words(Requirement::WORDS), "signed: the tags have good signatures; stored: a remote has the bytes"),
    key("link", Word(ReleaseLink::WORDS), "How files get into a release [reflink, else copy]"),
]];

/// The keys of an environment.
pub const ENVIRONMENT: KeyTables = &[&[
    key("uv", Text, "The pyproject.toml of a project with a uv.lock: what the lock resolves to is the input"),
    key("groups", Texts, "With `uv`: dependency groups besides the default ones"),
    key("extras", Texts, "With `uv`: optional dependencies"),
    key("pip", Text, "A requirements file with exact versions of all packages"),
    key("python", Text, "With `uv` and `pip`: the version of Python, as \"3.11\" or \"3.11.7\""),
    key("files", Texts, "Files and folders that another kind of environment is made from; their content is the input"),
    key("setup", Text, "With `files`: the command that makes the environment in the folder $LOCKSTEP_ENVIRONMENT"),
    key(
        "run",
        Text,
        "With `files`: a command that is put before `sh -c COMMAND`, as `conda run -p \"$LOCKSTEP_ENVIRONMENT\"`",
    ),
]];

const ENV: KeyTables = &[&[key("input", Flag, "false: passed on and written nowhere; true: an input, not a secret")]];

/// All rows of the tables of a map.
pub fn rows(tables: KeyTables) -> impl Iterator<Item = &'static KeySpec> {
    tables.iter().flat_map(|table| table.iter())
}

/// The row of a key.
pub fn find(tables: KeyTables, name: &str) -> Option<&'static KeySpec> {
    rows(tables).find(|spec| spec.name == name)
}
