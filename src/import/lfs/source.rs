//! Decides where the LFS files of a repository are.

use super::place::{endpoint_at, endpoint_of};
use super::server::{LfsServer, LfsUser};
use crate::error::Result;
use crate::git::program::clone;
use crate::git::program::remote_access::{effective_url, lfs_url};
use crate::project::Project;
use crate::project::hub::HubRepository;
use crate::url::Url;

/// Where the LFS files of a repository are.
pub enum LfsSource {
    /// In the LFS folder of a repository on this disk.
    Folder(std::path::PathBuf),
    /// At a server.
    Server(Box<LfsServer>),
}

impl LfsSource {
    /// For a repository that was opened by its address.
    ///
    /// Errors (usage): there is no rule for the address.
    pub fn of(project: &Project) -> Result<LfsSource> {
        let around = &project.around;
        let own = || project.repo.home().join("lfs/objects");
        let Some(address) = &project.address else { return Ok(LfsSource::Folder(own())) };
        if clone::folder(address, &around.cwd, around.home.as_deref())?.is_some() {
            return Ok(LfsSource::Folder(own()));
        }
        let hub = HubRepository::of(address, around)?;
        let folder = project.repo.top.clone();
        let named = hub.as_ref().map_or(address, |hub| &hub.git_url);
        // The user may have another name for the server, or a copy on this disk.
        let real = effective_url(&folder, named)?;
        if let Some(copy) = clone::folder(&real, &around.cwd, around.home.as_deref())? {
            let git_dir = Some(copy.join(".git")).filter(|git_dir| git_dir.is_dir()).unwrap_or(copy);
            return Ok(LfsSource::Folder(git_dir.join("lfs/objects")));
        }
        let endpoint = match lfs_url().filter(|_| hub.is_none()) {
            Some(url) => endpoint_at(&url)?,
            None => endpoint_of(&real)?,
        };
        let is_hub = hub.as_ref().filter(|hub| is_below(&hub.endpoint, &real));
        let token = is_hub.and_then(|hub| hub.token.clone());
        let access_hints = match &hub {
            Some(hub) => hub.access_hints(),
            None => vec!["the credentials are those that Git has: git config --global credential.helper".into()],
        };
        let user = LfsUser { token, folder, access_hints };
        LfsServer::new(endpoint, address.clone(), user, around.stop).map(|server| LfsSource::Server(Box::new(server)))
    }
}

/// Whether the hub's own address was not replaced by another one.
fn is_below(endpoint: &str, url: &Url) -> bool {
    url.raw().strip_prefix(endpoint).is_some_and(|rest| rest.starts_with('/'))
}
