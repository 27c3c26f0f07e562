//! Asks whether a remote of `lockstep.toml` may use the user's credentials.

use crate::cli::ask;
use crate::cli::output::{Output, Style};
use crate::error::Result;
use crate::project::Project;
use crate::remote::settings::grant::{GrantRequest, TRUST_REMOTES};
use crate::shell::word;

/// `remote trust`: shows what the remote would get, and asks unless `yes`.
pub fn trust(project: &Project, name: &str, yes: bool, out: &Output) -> Result<()> {
    let Some(request) = GrantRequest::for_remote(project, name)? else {
        out.status(format!("{name} needs no grant: lockstep.toml does not decide where your credentials go"));
        return Ok(());
    };
    show(&request, out);
    if request.is_granted(project) {
        out.status(format!("{name} is trusted already"));
        return Ok(());
    }
    if !yes {
        let agreed = format!("lockstep remote trust --yes {}", word(name));
        ask::confirm(&format!("trust the remote {name}?"), &agreed, &format!("{name} is not trusted"), out)?;
    }
    request.grant(project)?;
    out.status(format!("{name} is trusted in this clone"));
    Ok(())
}

/// The same for a command that needs the remote: asks at a terminal. Returns whether the command can go on.
pub fn ask(project: &Project, name: &str, out: &Output) -> bool {
    let Ok(Some(request)) = GrantRequest::for_remote(project, name) else { return false };
    if !ask::can_ask() {
        return false;
    }
    show(&request, out);
    ask::confirm(&format!("trust the remote {name}?"), "", "", out).is_ok() && request.grant(project).is_ok()
}

fn show(request: &GrantRequest, out: &Output) {
    let name = out.paint(Style::Bold, &request.remote);
    out.notice(format!("{name} is {}", request.url));
    for (option, value) in &request.options {
        out.notice(format!("  {option} = {value}  (lockstep.toml)"));
    }
    out.notice(format!("It would get {}.", request.identity));
    out.notice(format!("In CI: {TRUST_REMOTES}={}@{}", word(&request.remote), request.fingerprint()));
}
