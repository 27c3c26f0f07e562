//! A registry as a target: a real one, read back by another program.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

use super::hosts::Hosts;
use crate::sandbox::process::until;

struct Registry {
    child: Child,
    port: u16,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn start(hosts: &Hosts) -> Registry {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = hosts.sandbox.path("../registry");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: 127.0.0.1:{port}}}\n",
            data.display()
        );
        hosts.sandbox.write("../registry.yml", config);
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(hosts.sandbox.path("../registry.yml"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let registry = Registry { child, port };
        until("the registry answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        registry
    }

    fn address(&self) -> String {
        format!("oci://127.0.0.1:{}/team/digits", self.port)
    }

    /// The digest and the layers that a tag names, as skopeo reads them.
    fn inspect(&self, tag: &str) -> Option<Json> {
        let name = format!("docker://127.0.0.1:{}/team/digits:{tag}", self.port);
        let out = Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &name]).output().unwrap();
        out.status.success().then(|| serde_json::from_slice(&out.stdout).unwrap())
    }

    fn content(&self, hosts: &Hosts, tag: &str) -> String {
        let name = format!("docker://127.0.0.1:{}/team/digits:{tag}", self.port);
        let to = hosts.sandbox.path("../copy");
        let _ = std::fs::remove_dir_all(&to);
        let to = format!("dir:{}", to.display());
        let out = Command::new("skopeo").args(["copy", "-q", "--src-tls-verify=false", &name, &to]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let manifest = self.inspect(tag).unwrap();
        let digest = manifest["layers"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_string();
        hosts.sandbox.read(&format!("../copy/{digest}")).trim().to_string()
    }
}

fn hosts_with_registry() -> (Hosts, Registry) {
    let hosts = Hosts::new();
    let registry = Registry::start(&hosts);
    hosts.host(&["config", "--local", "deploy.prod.to", &registry.address()]);
    (hosts, registry)
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn versions_reach_a_registry_and_the_label_follows() {
    let (hosts, registry) = hosts_with_registry();
    let out = hosts.host(&["deploy", "prod"]);
    assert!(out.stderr.contains(&registry.address()), "{out}");
    assert_eq!(registry.content(&hosts, "prod"), "model 1");
    let manifest = registry.inspect("v1.0.0").unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.cncf.model.manifest.v1+json");
    assert_eq!(manifest["layers"][0]["annotations"]["org.cncf.model.filepath"], "model.txt");
    assert_eq!(manifest, registry.inspect("prod").unwrap());
    let out = hosts.host(&["deploy", "prod"]);
    assert!(out.stderr.contains("already"), "{out}");

    // A version that fails its health check leaves the label where it was.
    hosts.promote("v2.0.0", "bad");
    let out = hosts.follow();
    assert_eq!(out.code, 6, "{out}");
    assert_eq!(registry.content(&hosts, "prod"), "model 1");
    hosts.promote("v3.0.0", "3");
    hosts.follow();
    assert_eq!(registry.content(&hosts, "prod"), "model 3");
    hosts.host(&["deploy", "prod", "--rollback"]);
    assert_eq!(registry.content(&hosts, "prod"), "model 1");
    assert_eq!(registry.content(&hosts, "v3.0.0"), "model 3");
    let log = hosts.json("../host", &["deploy", "log", "prod", "--json"]);
    assert!(log[0]["events"][0]["event"]["digest"].as_str().unwrap().starts_with("sha256:"), "{log}");
    let status = hosts.json("../host", &["deploy", "status", "--remote", "--json"]);
    assert_eq!(status["targets"][0]["state"], "held", "{status}");

    // Someone else moves the tag.
    let name = |tag: &str| format!("docker://127.0.0.1:{}/team/digits:{tag}", registry.port);
    let flags = ["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"];
    let moved = Command::new("skopeo").args(flags).args([name("v3.0.0"), name("prod")]).status().unwrap();
    assert!(moved.success());
    let status = hosts.json("../host", &["deploy", "status", "--remote", "--json"]);
    assert_eq!(status["targets"][0]["state"], "moved", "{status}");
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn commands_get_the_name_in_the_registry() {
    let (hosts, registry) = hosts_with_registry();
    let seen = hosts.sandbox.beside("seen");
    let after = format!("printf %s \"$LOCKSTEP_OCI\" > {}", seen.display());
    hosts.host(&["deploy", "prod", "--after", &after]);
    let name = std::fs::read_to_string(seen).unwrap();
    assert!(name.starts_with(&format!("127.0.0.1:{}/team/digits@sha256:", registry.port)), "{name}");
}

/// A file of the repository does not choose where bytes and credentials go.
#[test]
fn a_registry_of_a_file_needs_a_confirmation() {
    let hosts = Hosts::new();
    let pipeline =
        hosts.sandbox.read("../host/pipeline.yaml").replace("label: prod,", "label: prod, to: 'oci://127.0.0.1:1/x',");
    hosts.sandbox.write("../host/pipeline.yaml", pipeline);
    hosts.sandbox.write("../host/.git/lockstep/config.toml", "");
    let out = hosts.at("../host", &["deploy", "prod"]);
    assert!(
        out.code == 2 && out.stderr.contains("lockstep config --local deploy.prod.to oci://127.0.0.1:1/x"),
        "{out}"
    );
    let out = hosts.at("../host", &["deploy", "prod", "--to", "oci://127.0.0.1:1/x"]);
    assert!(out.code == 4 && out.stderr.contains("cannot connect"), "{out}");
    let out = hosts.at("../host", &["deploy", "prod", "--to", "oci://127.0.0.1:1/x:v1"]);
    assert!(out.code == 2 && out.stderr.contains("it names a tag"), "{out}");
}
