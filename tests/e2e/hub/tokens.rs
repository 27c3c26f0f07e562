//! The token of the hub goes to the hub alone, and stands nowhere.

use super::{Hub, TOKEN, bytes, files_below, ok, weights};

#[test]
fn a_private_repository_needs_the_token_which_no_other_host_gets() {
    let Some(hub) = Hub::start() else { return };
    let content = weights(1, 90_000);
    hub.commit("org/private", &[("config.json", "{}")], &[("model.bin", &content)]);
    let stranger = hub.user();
    let out = stranger.run(&["get", "hf://org/private", "model.bin"]);
    assert!(out.code == 4 && out.stderr.contains("hf auth login") && out.stderr.contains("/org/private"), "{out}");

    let user = hub.user_with(TOKEN);
    hub.requests();
    let out = user.run(&["import", "hf://org/private", ".", "-v"]);
    ok(&out);
    assert!(bytes(&user, "private/model.bin") == content);
    let requests = hub.requests();
    let of = |start: &str| requests.iter().filter(|line| line.starts_with(start)).cloned().collect::<Vec<_>>();
    assert!(of("hub ").iter().all(|line| line.contains(" Basic ") || line.contains(" Bearer ")), "{requests:?}");
    assert!(of("cdn ").iter().all(|line| line.ends_with(" - -")) && of("cdn ").len() == 1, "{requests:?}");
    // It is in no message and in no file.
    assert!(!format!("{out}").contains(TOKEN));
    let is_clean = |file: &std::path::Path| {
        let text = std::fs::read(file).unwrap_or_default();
        !text.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes())
    };
    assert!(files_below(user.root()).iter().all(|file| is_clean(file)));

    let late = hub.user_with("hf_Old4567old4567old");
    let out = late.run(&["get", "hf://org/private", "model.bin"]);
    assert!(out.code == 4 && out.stderr.contains("the token may be old"), "{out}");
    assert!(!out.stderr.contains("hf_Old"), "{out}");
}

#[test]
fn tokens_come_from_the_files_of_the_hub_too() {
    let Some(hub) = Hub::start() else { return };
    hub.commit("org/private", &[("f", "1")], &[]);
    let user = hub.user();
    user.write("../home/.cache/huggingface/token", format!("{TOKEN}\n"));
    ok(&user.run(&["get", "hf://org/private", "f"]));
    let other = hub.user();
    other.write("../hf/token", TOKEN);
    let mut command = other.lockstep("");
    command.args(["get", "hf://org/private", "f"]).env("HF_HOME", other.path("../hf"));
    ok(&crate::sandbox::output(&mut command));
}

#[test]
fn a_gated_repository_says_what_to_do() {
    let Some(hub) = Hub::start() else { return };
    hub.commit("org/gated", &[("f", "1")], &[]);
    let user = hub.user_with(TOKEN);
    let out = user.run(&["import", "hf://org/gated", "f"]);
    assert!(out.code == 4 && out.stderr.contains("has terms to accept") && !user.exists("pipeline.yaml"), "{out}");
}

#[test]
fn git_does_not_take_the_token_to_another_server() {
    let Some(hub) = Hub::start() else { return };
    hub.commit("org/private", &[("f", "1")], &[]);
    hub.set_fault("git-elsewhere");
    let out = hub.user_with(TOKEN).run(&["get", "hf://org/private", "f"]);
    assert!(out.code == 4 && out.stderr.contains("another name"), "{out}");
    let requests = hub.requests();
    assert!(requests.iter().all(|line| !line.starts_with("cdn ")), "{requests:?}");
}

#[test]
fn the_settings_that_the_user_gives_git_in_variables_are_kept() {
    let Some(hub) = Hub::start() else { return };
    hub.commit("org/private", &[("f", "1")], &[]);
    let user = hub.user_with(TOKEN);
    let mut command = user.lockstep("");
    command.args(["get", "hf://org/private", "f"]).env("GIT_CONFIG_COUNT", "1");
    command.env("GIT_CONFIG_KEY_0", "http.userAgent").env("GIT_CONFIG_VALUE_0", "mine");
    ok(&crate::sandbox::output(&mut command));
}
