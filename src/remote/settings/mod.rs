//! Builds the settings of the library from a URL, options and environment. Pure, except for reading the cloud's own
//! settings file.

pub(super) mod address;
pub(super) mod endpoint;
pub mod grant;
pub(super) mod options;
pub(super) mod secrets;
pub mod setup;

use std::collections::BTreeMap;
use std::path::Path;

use crate::document;
use address::{Address, Scheme};
use options::Options;

/// Adds what the URL, the environment and the clouds' own settings give, where the options are silent.
pub fn complete(
    address: &Address,
    options: &Options,
    env: &BTreeMap<String, String>,
    settings: &mut BTreeMap<String, String>,
) {
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            settings.entry(key.to_string()).or_insert(value);
        }
    };
    let from_env = |names: &[&str]| names.iter().find_map(|name| env.get(*name).filter(|v| !v.is_empty()).cloned());
    set("root", Some(format!("/{}", address.path)));
    match address.scheme {
        Scheme::Folder => {}
        Scheme::S3 => {
            set("bucket", Some(address.host.clone()));
            let profile = options.get("profile").map(str::to_string).or_else(|| from_env(&["AWS_PROFILE"]));
            let file = from_env(&["AWS_CONFIG_FILE"]).or_else(|| Some(format!("{}/.aws/config", env.get("HOME")?)));
            let read = |file: String| document::read_text(Path::new(&file), document::MOST).ok()?;
            let file = file.and_then(read).unwrap_or_default();
            let of_profile = |key: &str| profile_value(&file, profile.as_deref().unwrap_or("default"), key);
            let endpoint =
                from_env(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]).or_else(|| of_profile("endpoint_url"));
            let own_endpoint = options.get("endpoint_url").is_some() || endpoint.is_some();
            set("endpoint", endpoint);
            set("region", from_env(&["AWS_REGION", "AWS_DEFAULT_REGION"]).or_else(|| of_profile("region")));
            // Servers other than Amazon's rarely care.
            set("region", own_endpoint.then(|| "us-east-1".to_string()));
            if options.get("addressing_style") == Some("virtual") {
                set("enable_virtual_host_style", Some("true".into()));
            }
            if !env.contains_key("AWS_EC2_METADATA_DISABLED") && own_endpoint {
                // Avoids waiting for Amazon's metadata service on other machines.
                set("disable_ec2_metadata", Some("true".into()));
            }
        }
        Scheme::Gcs => {
            set("bucket", Some(address.host.clone()));
            set("endpoint", from_env(&["STORAGE_EMULATOR_HOST"]));
        }
        Scheme::Azure => {
            set("container", Some(address.host.clone()));
            let string = options.get("connection_string").map(str::to_string);
            let string = string.or_else(|| from_env(&["AZURE_STORAGE_CONNECTION_STRING"])).unwrap_or_default();
            let part = |name: &str| {
                let parts = string.split(';').filter_map(|part| part.split_once('='));
                parts.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
            };
            set("account_name", part("AccountName").or_else(|| from_env(&["AZURE_STORAGE_ACCOUNT"])));
            set("account_key", part("AccountKey").or_else(|| from_env(&["AZURE_STORAGE_KEY"])));
            set("sas_token", part("SharedAccessSignature").or_else(|| from_env(&["AZURE_STORAGE_SAS_TOKEN"])));
            set("endpoint", part("BlobEndpoint"));
            let account = options.get("account_name").map(str::to_string).or_else(|| part("AccountName"));
            let account = account.or_else(|| from_env(&["AZURE_STORAGE_ACCOUNT"]));
            let protocol = part("DefaultEndpointsProtocol").unwrap_or_else(|| "https".into());
            let suffix = part("EndpointSuffix").unwrap_or_else(|| "core.windows.net".into());
            set("endpoint", account.map(|account| format!("{protocol}://{account}.blob.{suffix}")));
        }
        Scheme::Sftp => {
            let port = address.port.map(|p| p.to_string()).or_else(|| options.get("port").map(str::to_string));
            let user = address.user.clone().or_else(|| options.get("user").map(str::to_string));
            let user = user.map(|user| format!("{user}@")).unwrap_or_default();
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            set("endpoint", Some(format!("ssh://{user}{}{port}", address.host)));
        }
        Scheme::Webdav | Scheme::Http => {
            let http = if address.secure { "https" } else { "http" };
            set("endpoint", Some(format!("{http}://{}", address.authority())));
            set("username", address.user.clone());
            set("password", address.password.clone());
            if address.scheme == Scheme::Webdav {
                // Folders are made once, here, and not before every object.
                set("disable_create_dir", Some("true".into()));
            }
        }
    }
}

/// Returns true if the files of Amazon's tools say that the profile has temporary credentials, which come with a
/// session token.
pub fn has_temporary_profile(settings: &BTreeMap<String, String>, env: &BTreeMap<String, String>) -> bool {
    let profile = settings.get("profile").or_else(|| env.get("AWS_PROFILE")).map_or("default", String::as_str);
    let keys = ["aws_session_token", "credential_process", "role_arn", "sso_session", "sso_start_url"];
    [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")].into_iter().any(|(name, file)| {
        let file = env.get(name).cloned().or_else(|| Some(format!("{}/.aws/{file}", env.get("HOME")?)));
        let text = file.and_then(|file| document::read_text(Path::new(&file), document::MOST).ok()?);
        text.is_some_and(|text| keys.iter().any(|key| profile_value(&text, profile, key).is_some()))
    })
}

/// `key` of a profile in a text like `~/.aws/config`.
fn profile_value(text: &str, profile: &str, key: &str) -> Option<String> {
    let mut inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(section) = trimmed.strip_prefix('[').and_then(|s| s.strip_suffix(']')) {
            let section = section.trim();
            inside = section == profile || section.strip_prefix("profile ").is_some_and(|name| name.trim() == profile);
        } else if inside
            && !line.starts_with([' ', '\t'])
            && let Some((name, value)) = trimmed.split_once('=')
            && name.trim() == key
        {
            return Some(value.trim().to_string());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, given: &[(&str, &str)], env: &[(&str, &str)]) -> BTreeMap<String, String> {
        let address = Address::parse(&url.into()).unwrap();
        let given = crate::remote::settings::options::tests::said(given);
        let options = Options::read("lab", address.scheme, &given).unwrap();
        let env = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let mut settings = options.for_library(address.scheme);
        complete(&address, &options, &env, &mut settings);
        settings
    }

    #[test]
    fn urls_options_and_environment_make_the_librarys_settings() {
        for (url, given, env, want) in [
            (
                "s3://b/x",
                vec![("endpoint_url", "http://h:1")],
                vec![],
                vec![("bucket", "b"), ("root", "/x"), ("endpoint", "http://h:1"), ("region", "us-east-1")],
            ),
            ("s3://b/x", vec![("region", "eu")], vec![("AWS_REGION", "us")], vec![("region", "eu")]),
            ("s3://b/x", vec![], vec![("AWS_DEFAULT_REGION", "us")], vec![("region", "us")]),
            (
                "azure://c/x",
                vec![("account_name", "acc")],
                vec![],
                vec![("endpoint", "https://acc.blob.core.windows.net"), ("container", "c")],
            ),
            (
                "azure://c/x",
                vec![("connection_string", "AccountName=a;AccountKey=k==;BlobEndpoint=http://h/a;")],
                vec![],
                vec![("account_name", "a"), ("account_key", "k=="), ("endpoint", "http://h/a")],
            ),
            (
                "ssh://u@h:22/srv/x",
                vec![("keyfile", "/k")],
                vec![],
                vec![("endpoint", "ssh://u@h:22"), ("root", "/srv/x"), ("key", "/k")],
            ),
            ("webdavs://h:8/x", vec![("user", "u")], vec![], vec![("endpoint", "https://h:8"), ("username", "u")]),
        ] {
            let got = settings(url, &given, &env);
            for (key, value) in want {
                assert_eq!(got.get(key).map(String::as_str), Some(value), "{url}: {key}: {got:?}");
            }
        }
    }

    #[test]
    fn profiles_are_read_as_the_clouds_own_tool_does() {
        let text =
            "[default]\nregion = a\n[profile lab]\nregion=b\ns3 =\n  endpoint_url = no\nendpoint_url = http://x\n";
        assert_eq!(profile_value(text, "default", "region").as_deref(), Some("a"));
        assert_eq!(profile_value(text, "lab", "region").as_deref(), Some("b"));
        assert_eq!(profile_value(text, "lab", "endpoint_url").as_deref(), Some("http://x"));
        assert_eq!(profile_value(text, "none", "region"), None);
    }
}
