//! Finds the library of ONNX Runtime.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What `pip` installs below `site-packages`, and the loader finds by its name.
const NAME: &str = "libonnxruntime.so";

/// Where the library may be.
#[derive(Debug, PartialEq, Eq)]
pub struct LibraryPlaces {
    /// The user named it: no other is tried.
    pub is_named: bool,
    /// In the order in which they are tried.
    pub paths: Vec<PathBuf>,
}

/// The places of the library: the option, `LOCKSTEP_ONNXRUNTIME`, `ORT_DYLIB_PATH`, the virtual environment, the loader.
pub fn places(option: Option<&Path>, cwd: &Path, env: &BTreeMap<String, String>) -> LibraryPlaces {
    let variable = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = option.map(Path::to_path_buf).or_else(|| variable("LOCKSTEP_ONNXRUNTIME"));
    if let Some(path) = named.or_else(|| variable("ORT_DYLIB_PATH")) {
        let path = cwd.join(path);
        let inside = in_folder(&path);
        return LibraryPlaces { is_named: true, paths: if inside.is_empty() { vec![path] } else { inside } };
    }
    let mut paths = variable("VIRTUAL_ENV").map(|env| in_virtual_env(&cwd.join(env))).unwrap_or_default();
    paths.extend([NAME.into(), format!("{NAME}.1").into()]);
    LibraryPlaces { is_named: false, paths }
}

fn in_virtual_env(env: &Path) -> Vec<PathBuf> {
    let versions = sorted(&env.join("lib"), "python");
    versions.iter().flat_map(|version| in_folder(&version.join("site-packages/onnxruntime/capi"))).collect()
}

/// `libonnxruntime.so.1.32.0` and the like; the highest name first.
fn in_folder(folder: &Path) -> Vec<PathBuf> {
    sorted(folder, NAME)
}

fn sorted(folder: &Path, start: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.filter(|e| e.file_name().to_string_lossy().starts_with(start)).map(|e| e.path()).collect();
    paths.sort();
    paths.reverse();
    paths
}

/// The error for a machine without the library.
pub fn absent(tried: &[String]) -> Error {
    Error::missing("ONNX models need the library ONNX Runtime, which is not found")
        .because(tried.join("; "))
        .hint("pip install onnxruntime — in a virtual environment that is active (VIRTUAL_ENV), then the same command")
        .hint("or name the library: --onnxruntime PATH, or LOCKSTEP_ONNXRUNTIME=PATH")
}

/// Errors: this build cannot load libraries.
pub fn check_build() -> Result<()> {
    match cfg!(target_env = "musl") {
        true => {
            Err(Error::missing("this build of lockstep cannot serve ONNX models: it is linked statically with musl")
                .hint("use a build for glibc (x86_64-unknown-linux-gnu), and pip install onnxruntime"))
        }
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_option_comes_first_and_the_loader_last() {
        let cwd = Path::new("/home/x");
        let all = env(&[("LOCKSTEP_ONNXRUNTIME", "/l.so"), ("ORT_DYLIB_PATH", "/o.so"), ("VIRTUAL_ENV", "/v")]);
        let named = |path: &str| LibraryPlaces { is_named: true, paths: vec![path.into()] };
        assert_eq!(places(Some(Path::new("a.so")), cwd, &all), named("/home/x/a.so"));
        assert_eq!(places(None, cwd, &all), named("/l.so"));
        assert_eq!(
            places(None, cwd, &env(&[("LOCKSTEP_ONNXRUNTIME", ""), ("ORT_DYLIB_PATH", "/o.so")])),
            named("/o.so")
        );
        let loader = LibraryPlaces { is_named: false, paths: vec![NAME.into(), "libonnxruntime.so.1".into()] };
        assert_eq!(places(None, cwd, &env(&[])), loader);
    }

    #[test]
    fn a_virtual_environment_is_searched() {
        let dir = tempfile::tempdir().unwrap();
        let capi = dir.path().join("lib/python3.11/site-packages/onnxruntime/capi");
        fs::create_dir_all(&capi).unwrap();
        fs::write(capi.join("libonnxruntime.so.1.32.0"), "").unwrap();
        fs::write(capi.join("libonnxruntime_providers_shared.so"), "").unwrap();
        let found = places(None, Path::new("/"), &env(&[("VIRTUAL_ENV", dir.path().to_str().unwrap())]));
        assert_eq!(found.paths[0], capi.join("libonnxruntime.so.1.32.0"));
        assert_eq!(places(Some(&capi), Path::new("/"), &env(&[])).paths, found.paths[..1]);
    }
}
