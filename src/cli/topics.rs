//! `lockstep help TOPIC`: the pages of `docs/`, which the binary holds.

use std::ffi::OsString;

/// The pages by name, sorted. A page has no name of a command.
const PAGES: &[(&str, &str)] = &[
    ("comparing", include_str!("../../docs/comparing.md")),
    ("decisions", include_str!("../../docs/decisions.md")),
    ("deploying", include_str!("../../docs/deploying.md")),
    ("dvc", include_str!("../../docs/dvc.md")),
    ("environments", include_str!("../../docs/environments.md")),
    ("files", include_str!("../../docs/files.md")),
    ("formats", include_str!("../../docs/formats.md")),
    ("git", include_str!("../../docs/git.md")),
    ("integration", include_str!("../../docs/integration.md")),
    ("lock", include_str!("../../docs/lock.md")),
    ("models", include_str!("../../docs/models.md")),
    ("options", include_str!("../../docs/options.md")),
    ("pipeline", include_str!("../../docs/pipeline.md")),
    ("plotting", include_str!("../../docs/plotting.md")),
    ("production", include_str!("../../docs/production.md")),
    ("remotes", include_str!("../../docs/remotes.md")),
    ("results", include_str!("../../docs/results.md")),
    ("run", include_str!("../../docs/run.md")),
    ("security", include_str!("../../docs/security.md")),
    ("serving", include_str!("../../docs/serving.md")),
    ("settings", include_str!("../../docs/settings.md")),
    ("speed", include_str!("../../docs/speed.md")),
    ("storage", include_str!("../../docs/storage.md")),
];

/// The page that this command line asks for; `topics` is the list of them.
pub fn asked_page(mut args: impl Iterator<Item = OsString>) -> Option<String> {
    let is_help = args.nth(1)?.to_str() == Some("help");
    let (topic, rest) = (args.next()?, args.next());
    let topic = topic.to_str().filter(|_| is_help && rest.is_none())?;
    if topic == "topics" {
        return Some(PAGES.iter().map(|(name, text)| format!("{name:12}{}\n", title(text))).collect());
    }
    PAGES.iter().find(|(name, _)| *name == topic).map(|(_, text)| text.to_string())
}

/// The heading of a page.
fn title(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::commands::Cli;

    #[test]
    fn each_page_of_the_docs_is_a_topic() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let files = std::fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut pages: Vec<String> = files.filter_map(|name| name.strip_suffix(".md").map(String::from)).collect();
        pages.sort();
        assert_eq!(pages, PAGES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        let program = Cli::command();
        for (name, text) in PAGES {
            assert!(program.find_subcommand(name).is_none(), "{name} is a command");
            assert!(!title(text).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_topic_is_asked_for_by_its_name_alone() {
        for (line, is_page) in [
            ("lockstep help lock", true),
            ("lockstep help topics", true),
            ("lockstep help repro", false),
            ("lockstep help", false),
            ("lockstep lock", false),
            ("lockstep help lock files", false),
        ] {
            let args = line.split(' ').map(OsString::from);
            assert_eq!(asked_page(args).is_some(), is_page, "{line}");
        }
    }
}
