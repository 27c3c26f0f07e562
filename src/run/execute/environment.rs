//! Runs the commands of a stage in its environment, which is made first if need be.

use super::{Context, Task};
use crate::error::Result;
use crate::run::environment::{self, Environment};
use crate::run::environments::{BuildSurroundings, EnvironmentMaker};
use crate::run::local::{CommandLog, Exit};
use crate::workspace::backup::Backup;
use crate::workspace::logs::RunLog;

impl Context<'_> {
    /// Makes the environment if the stage names one, moves old outputs away and runs the commands.
    pub(super) fn in_environment(
        &self,
        task: &Task,
        environment: Environment,
        log: &RunLog,
        replaced: &mut Vec<Backup>,
    ) -> Result<Exit> {
        let output = CommandLog::open(log.output())?;
        let mask = environment::mask(&self.project.around.env, &task.stage.env_asked);
        let entered = match &task.facts.environment {
            None => None,
            Some(wanted) => {
                let (address, withheld) = (task.address.as_str(), environment.withheld.as_slice());
                let surroundings = BuildSurroundings { address, withheld, mask: &mask, log: &output };
                let entered = self.maker().enter(wanted, &surroundings)?;
                output.write_line(&format!("lockstep: {}", entered.title))?;
                Some(entered)
            }
        };
        self.set_aside(task, replaced)?;
        self.commands(task, environment, entered.as_ref(), mask, log, &output)
    }

    fn maker(&self) -> EnvironmentMaker<'_> {
        EnvironmentMaker {
            project: self.project,
            definitions: self.definitions,
            sink: self.sink,
            watchdog: self.watchdog.clone(),
            signal: self.signal,
            alone: self.alone,
            offline: self.offline,
        }
    }
}
