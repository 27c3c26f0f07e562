//! What the verbs that make tags have in common.

use serde_json::json;

use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::model::act::{Act, Manner};
use crate::model::checks::Judged;
use crate::project::Project;
use crate::value::Value;

#[derive(clap::Args, Debug)]
pub struct How {
    /// What to say about it, for people
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Sign the tag, as `git tag --sign` does
    #[arg(short, long)]
    sign: bool,
    /// Push the tag to where Git pushes this branch
    #[arg(long)]
    push: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl How {
    /// Makes the tag and tells of it: `said` to people, `shape` to programs, with what every tag has added.
    pub fn perform(
        &self,
        act: Act,
        said: &str,
        shape: impl Into<Value>,
        project: &Project,
        out: &Output,
    ) -> Result<u8> {
        let mut shape = shape.into();
        let manner = Manner { words: self.message.clone(), sign: self.sign, push: self.push };
        let (event, name, commit) = (act.note.event.clone(), act.tag.name.to_string(), act.commit.hex());
        let done = act.perform(project, &manner)?;
        out.say(said);
        match &done.pushed {
            Some(remote) => out.say(format!("pushed {} to {remote}", done.tag)),
            None => {
                if let Some(remote) = project.repo.push_remote() {
                    out.say(format!("next: git push {remote} '{}'", done.tag));
                }
            }
        }
        if self.json {
            for (key, value) in
                [("event", json!(event)), ("name", json!(name)), ("tag", json!(done.tag)), ("commit", json!(commit))]
            {
                shape.set(&[key], value.into());
            }
            shape.set(&["pushed"], json!(done.pushed).into());
            out.values(&shape);
        }
        Ok(0)
    }

    pub fn json(&self) -> bool {
        self.json
    }
}

/// The machine-readable shape of conditions, as `check --json` has it.
pub fn checks(judged: &[Judged]) -> Value {
    let one = |j: &Judged| {
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
