//! With a real registry, if `docker-registry` is installed.

use std::io::Cursor;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;
use crate::deploy::{Manifest, ReleasedFile};
use crate::error::Kind;
use crate::event::{Silent, StopSignal};
use crate::store::ObjectId;
use sha2::Digest;

struct Server(Child, u16);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path, auth: &str) -> Server {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let data = dir.join("data");
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
         http: {{addr: 127.0.0.1:{port}}}\n{auth}",
        data.display()
    );
    std::fs::write(dir.join("config.yml"), config).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(dir.join("config.yml")).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(command.spawn().unwrap(), port);
    for _ in 0..200 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return server;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("the registry does not start");
}

fn release(contents: &[&[u8]]) -> Manifest {
    let file = |(n, bytes): (usize, &&[u8])| ReleasedFile {
        path: format!("part-{n}.bin"),
        blake3: ObjectId::of(bytes),
        sha256: format!("{:x}", sha2::Sha256::digest(bytes)),
        size: bytes.len() as u64,
        mode: "0444".into(),
    };
    Manifest {
        lockstep: 1,
        name: "digits".into(),
        version: Some("v1.0.0+cpu".into()),
        commit: None,
        repository: None,
        path: "model".into(),
        blake3: ObjectId([7; 32]),
        size: 3,
        format: None,
        files: contents.iter().enumerate().map(file).collect(),
        metrics: Default::default(),
    }
}

fn open(port: u16, credentials: Option<Credentials>) -> Registry {
    let reference = OciReference::parse(&format!("oci://127.0.0.1:{port}/team/digits")).unwrap();
    Registry::open(reference, credentials, StopSignal::never()).unwrap()
}

#[test]
#[ignore = "needs docker-registry"]
fn a_release_is_pushed_once_and_found_by_digest_and_tags() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), "");
    let registry = open(server.1, None);
    let large: Vec<u8> = (0..40u32 << 20).map(|n| (n >> 3) as u8).collect();
    let contents: [&[u8]; 4] = [&large, b"abc", b"", b"abc"];
    let release = release(&contents);
    let source = |file: &ReleasedFile| -> crate::error::Result<Box<dyn super::upload::Source>> {
        let at = release.files.iter().position(|own| own.path == file.path).unwrap();
        Ok(Box::new(Cursor::new(contents[at].to_vec())))
    };
    let notes: [(&str, &[u8]); 1] = [("lockstep.json", b"{}")];
    let pushed = push(&registry, &release, &notes, &source, &Silent).unwrap();
    assert_eq!((pushed.uploaded, pushed.bytes > 40 << 20), (5, true));
    let again = push(&registry, &release, &notes, &source, &Silent).unwrap();
    assert_eq!((again.digest.as_str(), again.uploaded), (pushed.digest.as_str(), 0));
    let manifest = registry.manifest(&pushed.digest).unwrap().unwrap();
    let tag = super::reference::tag("v1.0.0+cpu").unwrap();
    assert_eq!(registry.resolve(&tag).unwrap(), None);
    registry.put_manifest(&tag, &manifest).unwrap();
    assert_eq!(registry.resolve(&tag).unwrap(), Some(pushed.digest));
    // A digest that the bytes do not have.
    let mut wrong = release.clone();
    wrong.files[1].sha256 = "0".repeat(64);
    let error = push(&registry, &wrong, &notes, &source, &Silent).unwrap_err();
    assert!(error.kind == Kind::Remote && error.to_string().contains("DIGEST_INVALID"), "{error}");
}

#[test]
#[ignore = "needs docker-registry and htpasswd"]
fn credentials_are_sent_when_the_registry_asks() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("htpasswd").args(["-Bbn", "me", "secret-word"]).output().unwrap();
    std::fs::write(dir.path().join("htpasswd"), made.stdout).unwrap();
    let auth = format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", dir.path().join("htpasswd").display());
    let server = start(dir.path(), &auth);
    let password = |word: &str| Some(Credentials::Password { user: "me".into(), password: word.into() });
    for (credentials, works) in [(password("secret-word"), true), (password("other-word"), false), (None, false)] {
        match open(server.1, credentials).resolve("v1") {
            Ok(found) => assert!(works && found.is_none()),
            Err(error) => {
                assert!(!works && error.kind == Kind::Remote, "{error}");
                assert!(!error.full_message().contains("-word") && error.hints[0].contains("docker login"), "{error}");
            }
        }
    }
}
