use clap::Subcommand;
use serde_json::{Map, json};

use crate::cli::ask;
use crate::cli::output::{Output, Style};
use crate::cli::{text, trust};
use crate::config;
use crate::error::{Error, Result};
use crate::git::program::clone::folder;
use crate::project::Project;
use crate::remote::catalog::lost;
use crate::remote::settings::grant;
use crate::remote::settings::grant::SettingEdit;
use crate::remote::settings::setup::{self, Level};
use crate::remote::{Remote, check};
use crate::shell::word;
use crate::url::{Url, redact_text};

/// Manage remotes, which share outputs and data
///
/// A remote holds outputs and results of runs in a folder, a bucket or on a server. URLs: a folder, s3://bucket/prefix,
/// gs://bucket/prefix, azure://container/prefix, ssh://user@host/path, webdavs://host/path, and, to read only,
/// https://host/path.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep remote add -d lab s3://our-bucket/digits
  lockstep remote modify lab endpoint_url https://minio.example.org
  lockstep remote modify --local lab secret_access_key      asks for it
  lockstep remote check lab
  lockstep push")]
pub struct Args {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand, Debug)]
enum Sub {
    /// Add a remote
    #[command(after_help = "\
Examples:
  lockstep remote add -d nas /mnt/nas/store     a folder, as the default remote
  lockstep remote add --local test ../store     for this clone alone")]
    Add {
        name: String,
        url: String,
        /// Make it the default remote
        #[arg(short, long)]
        default: bool,
        /// Write the settings of this clone, not lockstep.toml
        #[arg(long)]
        local: bool,
        /// Replace the URL of an existing remote
        #[arg(short, long)]
        force: bool,
    },
    /// Set an option of a remote, with the name that the cloud's own tools use
    #[command(after_help = "\
Options of every remote: url, read_only, jobs, timeout (seconds), retries
  s3        endpoint_url region profile access_key_id secret_access_key session_token role_arn external_id
            allow_anonymous_login addressing_style storage_class server_side_encryption sse_kms_key_id
  gs        credential_path token endpoint_url allow_anonymous_login storage_class
  azure     account_name account_key connection_string sas_token endpoint_url allow_anonymous_login
  ssh       user port keyfile known_hosts_strategy
  webdav, https   user password token

Secrets go into the settings of this clone (--local), or stay in the cloud's own environment variables and profiles.
They are sent to the scheme, host and port that the remote has when they are set, and to no other.

Examples:
  lockstep remote modify lab region eu-west-1
  lockstep remote modify --local lab password               asks for it
  pass show lab | lockstep remote modify --local lab password --stdin
  lockstep remote modify lab read_only true
  lockstep remote modify lab region --unset")]
    Modify {
        name: String,
        option: String,
        /// The value; of a secret `-` for standard input, or nothing to be asked for it
        value: Option<String>,
        /// Read a secret from standard input
        #[arg(long, conflicts_with = "value")]
        stdin: bool,
        /// Write the settings of this clone, not lockstep.toml
        #[arg(long)]
        local: bool,
        /// Remove the option
        #[arg(long, conflicts_with_all = ["value", "stdin"])]
        unset: bool,
    },
    /// List remotes
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a remote from the settings; its content stays
    Remove { name: String },
    /// Rename a remote
    Rename { name: String, new: String },
    /// Print or set the default remote
    Default {
        name: Option<String>,
        /// Write the settings of this clone, not lockstep.toml
        #[arg(long)]
        local: bool,
        /// Unset the default
        #[arg(long, conflicts_with = "name")]
        unset: bool,
    },
    /// Allow a remote of lockstep.toml to use your credentials
    ///
    /// Options of lockstep.toml that name a host, a profile, a role or a file are ignored before this: the repository may
    /// not be yours. Shows which credentials would go where, and asks. The grant is for exactly these values, in this
    /// clone.
    #[command(after_help = "\
Without a terminal a variable grants: LOCKSTEP_TRUST_REMOTES=lab,other, or, for these values
alone, LOCKSTEP_TRUST_REMOTES=lab@FINGERPRINT.

Examples:
  lockstep remote trust lab
  lockstep remote trust lab --yes           without a question
  lockstep remote trust lab --revoke
  lockstep remote trust ../data.git         imports of pipeline files from that folder")]
    Trust {
        /// A remote, or the path of a folder that pipeline files import from
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// Revoke the grant
        #[arg(long, conflicts_with = "yes")]
        revoke: bool,
    },
    /// Check a remote: write, read and delete an object
    Check {
        /// The remote [default: core.remote]
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: &Args, project: &Project, out: &Output) -> Result<u8> {
    let level = |local: bool| if local { Level::Local } else { Level::Project };
    match &args.command {
        Sub::Add { name, url, default, local, force } => {
            let url = Url::from(url.as_str());
            let mut written = String::new();
            grant::change_trusted(project, name, SettingEdit::Set, || {
                written = setup::add(project, name, &url, level(*local), *force, *default)?.to_string();
                Ok("url".to_string())
            })?;
            // The user names it in this command, so it may be empty.
            lost::forget(project, name)?;
            if url.has_secret() {
                ask::warn_of_argument(out, &format!("lockstep remote modify --local {name} password"));
            }
            let file = setup::file(project, level(*local));
            out.status(format!("{name} = {written} in {}", file.display()));
        }
        Sub::Modify { name, option, value, local, stdin, unset: false } => {
            let level = level(*local);
            let value = match setup::secret_to_ask_for(project, name, option, level)? {
                Some(secret) => {
                    let command = format!("lockstep remote modify --local {} {secret}", word(name));
                    ask::secret_argument(value.as_deref(), *stdin, &secret, &command, out)?
                }
                None => value.clone().filter(|_| !stdin).ok_or_else(|| {
                    Error::usage(format!("`{option}` takes a value")).hint(format!(
                        "lockstep remote modify {} {} VALUE",
                        word(name),
                        word(option)
                    ))
                })?,
            };
            let option = grant::change_trusted(project, name, SettingEdit::Set, || {
                setup::modify(project, name, option, &value, level)
            })?;
            let shown = match option.as_str() {
                "url" => Url::from(value).to_string(),
                option if !config::is_shown_option(option) => "***".into(),
                _ => redact_text(&value),
            };
            out.status(format!("{option} of {name} = {shown} in {}", setup::file(project, level).display()));
        }
        Sub::Modify { name, option, local, .. } => {
            let option = grant::change_trusted(project, name, SettingEdit::Unset, || {
                setup::unset(project, name, option, level(*local))
            })?;
            out.status(format!("removed {option} of {name} from {}", setup::file(project, level(*local)).display()));
        }
        Sub::List { json } => list(project, *json, out)?,
        Sub::Remove { name } => {
            let files = setup::remove(project, name)?;
            grant::revoke(project, name)?;
            for file in files {
                out.status(format!("removed {name} from {}", file.display()));
            }
        }
        Sub::Rename { name, new } => {
            grant::rename(project, name, new, || setup::rename(project, name, new))?;
            out.status(format!("renamed {name} to {new}"));
        }
        Sub::Default { name: Some(name), local, .. } => {
            setup::set_default(project, name, level(*local))?;
            out.status(format!("{name} is the default remote"));
        }
        Sub::Default { local, unset: true, .. } => {
            let file = setup::file(project, level(*local));
            if !config::unset(&file, "core.remote")? {
                return Err(Error::missing(format!("{} names no default remote", file.display())));
            }
            out.status("there is no default remote");
        }
        Sub::Default { .. } => match project.config.default_remote() {
            Some(name) => out.line(name),
            None => {
                return Err(
                    Error::missing("there is no default remote").hint("choose one: lockstep remote default NAME")
                );
            }
        },
        Sub::Trust { name, yes, revoke } if name.contains('/') => trust_folder(project, name, *yes, *revoke, out)?,
        Sub::Trust { name, revoke: true, .. } => {
            if !grant::revoke(project, name)? {
                return Err(Error::missing(format!("there is no grant for the remote {name} in this clone")));
            }
            out.status(format!("{name} is no longer trusted"));
        }
        Sub::Trust { name, yes, .. } => trust::trust(project, name, *yes, out)?,
        Sub::Check { name, json } => check_one(project, name.as_deref(), *json, out)?,
    }
    Ok(0)
}

fn list(project: &Project, json: bool, out: &Output) -> Result<()> {
    let all = setup::list(project)?;
    if json {
        let one = |remote: &setup::RemoteSummary| {
            let options: Map<_, _> = remote.options.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            json!({"name": remote.name, "url": remote.url, "default": remote.is_default, "options": options})
        };
        out.json(&all.iter().map(one).collect::<Vec<_>>().into());
        return Ok(());
    }
    let width = all.iter().map(|remote| remote.name.len()).max().unwrap_or(0);
    for remote in &all {
        let name = out.paint_out(Style::Bold, &format!("{:width$}", remote.name));
        let default = if remote.is_default { "  (default)" } else { "" };
        out.line(format!("{name}  {}{default}", remote.url));
        if grant::check(project, &remote.name).is_err_and(|error| error.untrusted.is_some()) {
            let hint = format!("lockstep remote trust {}", word(&remote.name));
            out.line(format!("{:width$}    not used before you trust it: {hint}", ""));
        }
        for (option, value) in &remote.options {
            out.line(format!("{:width$}    {option} = {value}", ""));
        }
    }
    if all.is_empty() {
        out.status("no remotes; name one: lockstep remote add -d NAME URL");
    }
    Ok(())
}

fn check_one(project: &Project, name: Option<&str>, json: bool, out: &Output) -> Result<()> {
    let remote = Remote::open(project, name, None)?;
    let checked = check::check(&remote)?;
    if json {
        out.json(&json!({
            "name": remote.name, "url": remote.url().to_string(), "writes": checked.writes, "segments": checked.segments,
            "as": checked.who, "requests": checked.requests,
        }));
        return Ok(());
    }
    let did = if checked.writes { "put, got and deleted an object" } else { "may only be read, and can be" };
    let who = checked.who.map(|who| format!(" as {who}")).unwrap_or_default();
    out.line(format!("{} ({}): {did}{who}", remote.name, remote.url()));
    out.line(
        match checked.segments {
            Some(n) => format!("{} there", text::count(n, "push")),
            None => "nothing was pushed to it yet".to_string(),
        }
        .replace("pushs", "pushes"),
    );
    Ok(())
}

/// A folder outside of the repository that pipeline files import from.
fn trust_folder(project: &Project, name: &str, yes: bool, revoke: bool, out: &Output) -> Result<()> {
    let url = Url::from(name);
    let Some(folder) = folder(&url, &project.around.cwd, project.around.home.as_deref())? else {
        return Err(Error::usage(format!("`{url}` is not a folder"))
            .hint("a remote is trusted by its name: lockstep remote list"));
    };
    let real = std::fs::canonicalize(&folder).map_err(|e| Error::io("open", &folder, e))?;
    let shown = real.display();
    if revoke {
        if !grant::revoke(project, &grant::key_of_folder(&real))? {
            return Err(Error::missing(format!("there is no grant for {shown} in this clone")));
        }
        out.status(format!("{shown} is no longer trusted"));
        return Ok(());
    }
    if !yes {
        let agreed = format!("lockstep remote trust --yes {}", word(name));
        let question = format!("import files of {shown}, and push them with this repository's data?");
        ask::confirm(&question, &agreed, &format!("{shown} is not trusted"), out)?;
    }
    grant::grant_folder(project, &real)?;
    out.status(format!("{shown} is trusted in this clone"));
    Ok(())
}
