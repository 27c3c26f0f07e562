//! Where a model comes from, and which version it is there now.

use std::path::{Path, PathBuf};

use super::release::Release;
use super::{folder, registry};
use crate::error::{Error, Result};
use crate::model::registry::Registry;
use crate::project::{Project, Surroundings};

/// What the user named.
pub struct ModelSource {
    /// As typed, for messages.
    pub typed: String,
    /// The name under which it is served.
    pub name: String,
    place: Place,
}

enum Place {
    /// A release, or the link of a deployment folder to one.
    Folder(PathBuf),
    /// One file.
    File(PathBuf),
    /// A name of the registry.
    Registry(Box<Surroundings>),
}

impl ModelSource {
    /// Finds what the user named: a folder or a file of this name, else a model of the registry.
    ///
    /// Errors: it is none of them.
    pub fn open(typed: &str, around: &Surroundings) -> Result<ModelSource> {
        let path = around.cwd.join(typed);
        let (name, place) = match std::fs::metadata(&path) {
            Ok(about) if about.is_dir() => {
                let link = folder::link_of(&path, typed)?;
                (folder::manifest_of(&folder::resolve(&link)?)?.name, Place::Folder(link))
            }
            Ok(_) => (stem(&path), Place::File(path)),
            Err(_) if path.symlink_metadata().is_ok() => {
                return Err(Error::missing(format!("{typed} is a link that leads nowhere")));
            }
            Err(_) => (registered_name(typed, around)?, Place::Registry(Box::new(around.clone()))),
        };
        match name.is_empty() {
            true => Err(Error::usage(format!("{typed} has an empty name"))),
            false => Ok(ModelSource { typed: typed.to_string(), name, place }),
        }
    }

    /// A text that changes when another version is there: what a follower compares.
    pub fn identity(&self) -> Result<String> {
        match &self.place {
            Place::Folder(link) => folder::resolve(link).map(|release| release.to_string_lossy().into_owned()),
            Place::File(path) => Ok(path.to_string_lossy().into_owned()),
            Place::Registry(around) => registry::identity(around, &self.typed),
        }
    }

    /// The version that is there now.
    pub fn release(&self) -> Result<Release> {
        match &self.place {
            Place::Folder(link) => folder::release_in(folder::resolve(link)?),
            Place::File(path) => folder::release_of_file(path),
            Place::Registry(around) => registry::release(around, &self.typed),
        }
    }

    /// Can another version take its place?
    pub fn can_change(&self) -> bool {
        match &self.place {
            Place::Folder(link) => link.is_symlink(),
            Place::File(_) => false,
            Place::Registry(_) => !self.typed.contains('@'),
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn registered_name(typed: &str, around: &Surroundings) -> Result<String> {
    let absent = || {
        Error::missing(format!("{typed} does not exist"))
            .hint("serve a release folder, a model file, or a model of the registry: NAME, NAME@VERSION, NAME#LABEL")
    };
    let Ok(project) = Project::open(around.clone()) else { return Err(absent()) };
    let registry = Registry::read(&project.repo)?;
    let looks_like_path = typed.contains(['/', '.']) && !typed.contains(['@', '#']);
    let asked = match registry::request_of(&project, &registry, typed) {
        Err(_) if looks_like_path => return Err(absent()),
        asked => asked?,
    };
    registry.find(&asked)?;
    Ok(asked.name.to_string())
}
