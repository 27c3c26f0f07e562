//! What the verbs that make tags have in common.

use serde_json::{Value as Json, json};

use crate::cli::format::json_number;
use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::model::act::{Act, Manner};
use crate::model::checks::Judged;
use crate::project::Project;

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
    pub fn perform(&self, act: Act, said: &str, mut shape: Json, project: &Project, out: &Output) -> Result<u8> {
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
                shape[key] = value;
            }
            shape["pushed"] = json!(done.pushed);
            out.json(&shape);
        }
        Ok(0)
    }

    pub fn json(&self) -> bool {
        self.json
    }
}

/// The machine-readable shape of conditions, as `check --json` has it.
pub fn checks(judged: &[Judged]) -> Json {
    let one = |j: &Judged| {
        json!({
            "check": j.check.text,
            "artifact": j.check.artifact,
            "pipeline": j.pipeline.to_string(),
            "file": j.file.as_ref().map(|file| file.to_string()),
            "key": j.check.metric.key,
            "value": j.value.map(json_number),
            "limit": j.limit.map(json_number),
            "ok": j.ok,
            "error": j.error.as_ref().map(Error::full_message),
            "remark": j.remark,
        })
    };
    judged.iter().map(one).collect::<Vec<_>>().into()
}
