//! The remote does not let us in, or is not there: one clear error, and nothing of it is remembered.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use crate::sandbox::Output;
use crate::target::Target;
use crate::workplace::{assert_same, clone, contents, must, workplace};

/// Push and pull against `wrong` fail; then against `right` they work from the same repository.
fn fails(wrong: &Target, right: Option<&Target>, seed: u64, check: impl Fn(&Output)) {
    let work = workplace(wrong, seed);
    let other = clone(&work, wrong);
    for (sandbox, verb) in [(&work, "push"), (&other, "pull"), (&other, "fetch"), (&work, "push")] {
        let started = Instant::now();
        let out = sandbox.run(&[verb]);
        assert_eq!(out.code, 4, "{verb}: {out}");
        assert!(out.stderr.contains("store"), "it names the remote: {out}");
        assert_eq!(out.stderr.lines().filter(|line| line.starts_with("error:")).count(), 1, "{out}");
        assert!(started.elapsed() < Duration::from_secs(45), "{verb} took {:?}", started.elapsed());
        for secret in wrong.options.iter().filter(|(name, _)| name.contains("password") || name.contains("account_key"))
        {
            assert!(!out.to_string().contains(secret.1), "it tells a secret: {out}");
        }
        check(&out);
    }
    let Some(right) = right else { return };
    right.add_to(&work);
    let work = work.with(&right.env);
    must(&work, &["push"]);
    let other = clone(&work, right);
    must(&other, &["pull"]);
    assert_same(&work, &other);
}

pub fn wrong_credentials_are_one_clear_error(target: &Target) {
    let wrong = target.refusing();
    fails(&wrong, Some(target), 30, |_| ());
}

pub fn a_bucket_that_does_not_exist_is_one_clear_error(target: &Target) {
    let url = target.missing.as_ref().unwrap();
    let mut wrong = target.clone();
    wrong.url = format!("{url}/{}", target.url.rsplit('/').next().unwrap());
    let work = workplace(&wrong, 31);
    let other = clone(&work, &wrong);
    for verb in ["fetch", "pull"] {
        // 3: to some servers no bucket is an empty one, as long as one reads.
        let out = other.run(&[verb]);
        assert!([3, 4].contains(&out.code), "{verb}: {out}");
        assert!(contents(&other).is_empty());
    }
    if target.name == "s3" {
        return; // s3s-fs makes a bucket when something is put there
    }
    let out = work.run(&["push"]);
    assert_eq!(out.code, 4, "{out}");
    assert!(out.stderr.contains("no-such-bucket"), "{out}");
}

pub fn a_host_that_does_not_answer_is_one_clear_error(target: &Target) {
    // A port that was free a moment ago: nobody listens.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut wrong = target.clone();
    let bend = |text: &String| text.replacen(&format!(":{}", target.port), &format!(":{port}"), 1);
    wrong.url = bend(&wrong.url);
    wrong.options = wrong.options.iter().map(|(name, value)| (name.clone(), bend(value))).collect();
    wrong.options.insert("retries".into(), "2".into());
    fails(&wrong, None, 32, |out| assert!(out.stderr.contains(&port.to_string()), "{out}"));
}
