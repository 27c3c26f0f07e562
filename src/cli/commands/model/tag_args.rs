//! The arguments of commands that create tags.

use serde_json::json;

use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::error::{Error, Result};
use crate::model::checks::CheckOutcome;
use crate::model::registry::Registry;
use crate::model::registry::publish::{Publisher, push_command};
use crate::model::registry::tag_write::{self, PlannedTag, TagOptions};
use crate::project::Project;
use crate::tag::ModelName;
use crate::value::Value;

#[derive(clap::Args, Debug)]
pub struct TagArgs {
    /// A message for the tag
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Sign the tag, as `git tag --sign` does
    #[arg(short, long)]
    sign: bool,
    /// Push the tag to the remote of this branch; if that fails, create no tag
    #[arg(long)]
    push: bool,
    /// Show the tag, and do not create it
    #[arg(long, visible_alias = "dry-run")]
    dry: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl TagArgs {
    /// The remote for the tags, with --push. Completes or undoes an earlier push that was interrupted, so this must be
    /// called before the registry is read.
    pub fn publisher<'p>(&self, project: &'p Project, out: &Output) -> Result<Option<Publisher<'p>>> {
        if !self.push || self.dry {
            return Ok(None);
        }
        let progress = Progress::new(out, false);
        let publisher = Publisher::open(project, &progress);
        progress.finish();
        let publisher = publisher?;
        publisher.settled.iter().for_each(|what| out.status(what));
        Ok(Some(publisher))
    }

    /// Warns of tags of a model, except `expected`, that the remote lacks.
    ///
    /// Errors: the remote has tags of the model that this clone lacks.
    pub fn compare(
        &self,
        publisher: Option<&Publisher>,
        name: &ModelName,
        registry: &Registry,
        expected: Option<&str>,
        out: &Output,
    ) -> Result<Vec<String>> {
        let Some(publisher) = publisher else { return Ok(Vec::new()) };
        let lacking = publisher.compare(name, registry.models.get(name))?;
        let others: Vec<&String> = lacking.iter().filter(|tag| Some(tag.as_str()) != expected).collect();
        if !others.is_empty() {
            let remote = &publisher.remote;
            let names = others.iter().map(|tag| tag.as_str()).collect::<Vec<_>>().join(", ");
            let push = push_command(remote, &others);
            out.warn(format!("missing at {remote} (not pushed yet, or deleted there): {names}; {push}"));
        }
        Ok(lacking)
    }

    /// Creates the tags, and prints `said`, or with --json `shape` with the common fields of tags.
    pub fn perform(
        &self,
        acts: Vec<PlannedTag>,
        said: &str,
        shape: impl Into<Value>,
        publisher: Option<&Publisher>,
        project: &Project,
        out: &Output,
    ) -> Result<u8> {
        let mut shape = shape.into();
        let tags: Vec<String> = acts.iter().map(|act| act.tag.to_string()).collect();
        if let Some(act) = acts.last() {
            let (event, name, commit) = (act.note.event.clone(), act.tag.name.to_string(), act.commit.hex());
            let tag = act.tag.to_string();
            for (key, value) in [("event", event), ("name", name), ("tag", tag), ("commit", commit)] {
                shape.set(&[key], json!(value).into());
            }
        }
        shape.set(&["tags"], json!(tags).into());
        let mut pushed = None;
        if self.dry {
            if !self.json {
                tags.iter().for_each(|tag| out.line(tag));
            }
            let push = if self.push { " and pushed" } else { "" };
            out.status(format!("would be created{push}; --dry changes nothing"));
        } else {
            let manner = TagOptions { words: self.message.clone(), sign: self.sign };
            let done = tag_write::perform(project, acts, &manner, publisher)?;
            done.remarks.iter().for_each(|remark| out.warn(remark));
            out.status(said);
            match (&done.pushed, project.repo.push_remote()) {
                (Some(remote), _) => out.status(format!("pushed {} to {remote}", tags.join(", "))),
                (None, Some(remote)) => out.status(format!("next: {}", push_command(&remote, &tags))),
                (None, None) => {}
            }
            pushed = done.pushed.map(|remote| remote.to_string());
        }
        if self.json {
            shape.set(&["pushed"], json!(pushed).into());
            shape.set(&["dry"], json!(self.dry).into());
            out.values(&shape);
        }
        Ok(0)
    }

    pub fn json(&self) -> bool {
        self.json
    }
}

/// The JSON of conditions, as in `model check --json`.
pub fn checks(judged: &[CheckOutcome]) -> Value {
    let one = |j: &CheckOutcome| {
        let mut shape = Value::from(json!({
            "check": j.check.text,
            "artifact": j.check.artifact,
            "pipeline": j.pipeline.to_string(),
            "file": j.file.as_ref().map(|file| file.to_string()),
            "key": j.check.metric.key,
            "value": null,
            "limit": null,
            "ok": j.ok,
            "error": j.error.as_ref().map(Error::full_message),
            "remark": j.remark,
        }));
        for (name, number) in [("value", j.value), ("limit", j.limit)] {
            shape.set(&[name], number.map_or(Value::Null, Value::from));
        }
        shape
    };
    Value::List(judged.iter().map(one).collect())
}
