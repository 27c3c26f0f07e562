//! The environment of a stage's commands: the user's, without the credentials of the CI job and without the files
//! through which a CI step changes later ones. A stage asks for a variable with `env: [{GITHUB_TOKEN: {input:
//! false}}]`, and the user grants it (`--pass-env`, the setting `pass_env`). This module is pure.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::pipeline::stage::Stage;
use crate::run::mask::Mask;
use crate::secret::{SIGN_KEY, is_secret, is_withheld, may_be_secret, withheld_git_settings, withheld_in_ci};
use crate::shell::word;
use crate::url::secrets_of_text;

/// The variables of a stage's commands, by name.
#[derive(Debug, PartialEq)]
pub struct Environment {
    /// Names that the commands see, sorted.
    pub seen: Vec<String>,
    /// Names that are removed, sorted.
    pub withheld: Vec<String>,
}

impl Environment {
    /// Errors ([`Kind::Stage`]): the stage asks for a variable that is set and that the user does not grant.
    pub fn new(
        stage: &Stage,
        address: &str,
        variables: &BTreeMap<String, String>,
        granted: &[String],
    ) -> Result<Environment> {
        let mut of_job = withheld_git_settings(variables);
        of_job.extend(withheld_in_ci(variables));
        let is_withheld = |name: &str| is_withheld(name) || of_job.contains(&name);
        let (asked, missing): (Vec<&String>, Vec<&String>) = stage
            .env_asked
            .iter()
            .chain(&stage.env)
            .filter(|name| variables.contains_key(*name) && is_withheld(name))
            .partition(|name| granted.contains(name));
        if let Some(name) = missing.first() {
            let names = missing.iter().map(|name| name.as_str()).collect::<Vec<_>>();
            return Err(Error::new(Kind::Stage, format!("stage {address} asks for {name}, which is not granted"))
                .because("a pipeline only asks for such a variable; the user who runs it decides")
                .hint(format!(
                    "to grant it: lockstep repro --pass-env {}",
                    missing.iter().map(|name| word(name)).collect::<Vec<_>>().join(" --pass-env ")
                ))
                .hint(format!("in CI: LOCKSTEP_PASS_ENV={}", word(&names.join(",")))));
        }
        let is_passed = |name: &String| name != SIGN_KEY && (!is_withheld(name) || asked.contains(&name));
        let (seen, withheld) = variables.keys().cloned().partition(is_passed);
        Ok(Environment { seen, withheld })
    }

    /// That of commands that belong to no stage.
    pub fn without_stage(variables: &BTreeMap<String, String>) -> Environment {
        let is_passed = |name: &String| name != SIGN_KEY && !is_withheld(name);
        let (seen, withheld) = variables.keys().cloned().partition(is_passed);
        Environment { seen, withheld }
    }

    /// Also removes these variables.
    pub fn without(mut self, names: &[&str]) -> Environment {
        let is_named = |name: &String| names.contains(&name.as_str());
        let (removed, seen) = self.seen.into_iter().partition(is_named);
        self.seen = seen;
        self.withheld.extend::<Vec<String>>(removed);
        self.withheld.sort();
        self
    }
}

/// The mask for the values of all secrets, whether a stage sees them or not, for the variables with doubtful names that
/// a stage asks for, and for passwords in URLs.
pub fn mask(variables: &BTreeMap<String, String>, asked: &[String]) -> Mask {
    let of_git = withheld_git_settings(variables);
    let is_asked = |name: &String| may_be_secret(name) && asked.contains(name);
    let holds_secret = |name: &String| is_secret(name) || is_asked(name) || of_git.contains(&name.as_str());
    let whole = variables.iter().filter(|(name, _)| holds_secret(name)).map(|(_, value)| value.as_str());
    Mask::new(whole.chain(variables.values().flat_map(|value| secrets_of_text(value))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::load::memory::Memory;

    #[test]
    fn credentials_need_a_question_and_a_grant() {
        let set = ["GITHUB_OUTPUT", "GITHUB_TOKEN", "HF_TOKEN", "HOME", "LOCKSTEP_SIGN_KEY"];
        let variables = set.iter().map(|name| (name.to_string(), "x".to_string())).collect();
        for (asked, granted, want) in [
            (&[][..], &[][..], Ok("HF_TOKEN HOME")),
            (&[], &["GITHUB_TOKEN", "LOCKSTEP_SIGN_KEY"], Ok("HF_TOKEN HOME")),
            (&["GITHUB_TOKEN"], &["GITHUB_TOKEN"], Ok("GITHUB_TOKEN HF_TOKEN HOME")),
            (&["GITHUB_TOKEN"], &[], Err("stage s asks for GITHUB_TOKEN, which is not granted")),
            (&["GITLAB_TOKEN", "HF_TOKEN"], &[], Ok("HF_TOKEN HOME")),
            (&["GITHUB_OUTPUT"], &[], Err("stage s asks for GITHUB_OUTPUT, which is not granted")),
        ] {
            let pipeline = Memory::new(&[("pipeline.yaml", "stages: {s: {cmd: x}}")]).load().pipelines;
            let mut stage = pipeline.stages[0].clone();
            stage.env_asked = asked.iter().map(|name| name.to_string()).collect();
            let granted: Vec<String> = granted.iter().map(|name: &&str| name.to_string()).collect();
            let got = Environment::new(&stage, "s", &variables, &granted);
            let got = got.map(|found| found.seen.join(" ")).map_err(|e| e.message);
            assert_eq!(got, want.map(str::to_string).map_err(str::to_string), "{asked:?} {granted:?}");
        }
    }
}
