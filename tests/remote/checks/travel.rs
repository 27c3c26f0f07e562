//! What goes there comes back, and no more goes than has to.

use crate::target::Target;
use crate::weather::Weather;
use crate::workplace::{PULLED, assert_same, clone, must, noise, workplace};

pub fn what_is_pushed_is_pulled(target: &Target) {
    let work = workplace(target, 1);
    must(&work, &["push"]);
    let other = clone(&work, target);
    must(&other, &["pull"]);
    assert_same(&work, &other);
    let status = must(&other, &["status", "--json"]);
    assert!(status.stdout.contains("\"stages\": {}") || status.stdout.contains("\"stages\":{}"), "{status}");
    // A part alone, into yet another clone.
    let part = clone(&work, target);
    must(&part, &["pull", "data"]);
    assert_eq!(PULLED.map(|path| part.exists(path)), [true, false, false]);
}

pub fn only_what_is_missing_travels(target: &Target) {
    let (proxy, target) = target.proxied(Weather::default());
    let work = workplace(&target, 2);
    must(&work, &["push"]);
    let (whole, _) = proxy.bytes();
    assert!(whole > 3 << 20, "{whole}");
    let other = clone(&work, &target);
    must(&other, &["pull"]);
    work.write("data/1/004.bin", noise(77, 3000));
    must(&work, &["add", "data"]);
    work.git(&["commit", "-q", "-a", "-m", "edit"]);
    let (before, _) = proxy.bytes();
    must(&work, &["push"]);
    let sent = proxy.bytes().0 - before;
    assert!(sent < 100_000, "{sent} bytes for one small file");
    other.git(&["pull", "-q"]);
    let (_, before) = proxy.bytes();
    must(&other, &["pull"]);
    let came = proxy.bytes().1 - before;
    assert!(came < 100_000, "{came} bytes for one small file");
    assert_eq!(std::fs::read(other.path("data/1/004.bin")).unwrap(), noise(77, 3000));
}

pub fn nothing_to_do_takes_under_five_requests(target: &Target) {
    let (proxy, target) = target.proxied(Weather::default());
    let work = workplace(&target, 3);
    must(&work, &["push"]);
    let other = clone(&work, &target);
    must(&other, &["pull"]);
    for sandbox in [&work, &other] {
        for verb in ["push", "pull"] {
            proxy.take_requests();
            must(sandbox, &[verb]);
            let requests = proxy.take_requests();
            assert!(requests.len() < 5, "{verb}: {requests:#?}");
        }
    }
}

pub fn two_thousand_small_files_take_a_handful_of_requests(target: &Target) {
    let (proxy, target) = target.proxied(Weather::default());
    let work = workplace(&target, 4);
    must(&work, &["push"]);
    for n in 0..2000 {
        work.write(&format!("many/{}/{n}", n / 100), noise(n, 1000));
    }
    must(&work, &["add", "many"]);
    work.git(&["add", "-A"]);
    work.git(&["commit", "-q", "-m", "many"]);
    proxy.take_requests();
    must(&work, &["push"]);
    let pushed = proxy.take_requests();
    // Folders have to be made on WebDAV, and what is written there is renamed into place.
    let handful = if target.name == "webdav" { 30 } else { 10 };
    assert!(pushed.len() <= handful, "push: {pushed:#?}");
    let other = clone(&work, &target);
    must(&other, &["pull", "many"]);
    let pulled = proxy.take_requests();
    assert!(pulled.len() <= handful, "pull: {pulled:#?}");
    assert_eq!(std::fs::read(other.path("many/19/1999")).unwrap(), noise(1999, 1000));
}

pub fn the_run_cache_goes_along(target: &Target) {
    let work = workplace(target, 5);
    assert_eq!(work.ran(), ["train"]);
    must(&work, &["push"]);
    let other = clone(&work, target);
    must(&other, &["pull", "data"]);
    must(&other, &["fetch", "--run-cache"]);
    must(&other, &["fetch"]);
    other.remove("pipeline.lock");
    must(&other, &["add", "data"]);
    must(&other, &["repro"]);
    assert!(other.ran().is_empty(), "train ran again");
    assert_same(&work, &other);
}

pub fn what_was_pushed_is_read_over_http() {
    let readable = Target::named("http");
    let writable = Target::named(readable.written_by.as_deref().unwrap());
    let work = workplace(&writable, 6);
    must(&work, &["push"]);
    let mut readable = readable;
    let place = writable.url.rsplit('/').next().unwrap();
    readable.url = format!("{}/{place}", readable.url.rsplit_once('/').unwrap().0);
    let other = clone(&work, &readable);
    must(&other, &["pull"]);
    assert_same(&work, &other);
    other.write("data/1/004.bin", "edited");
    must(&other, &["add", "data"]);
    let out = other.run(&["push"]);
    assert_eq!(out.code, 4, "{out}");
    assert!(out.stderr.contains("read"), "{out}");
    // A web server cannot be asked what it has: each thing is asked for by itself.
    must(&other, &["verify", "--remote", "--read-data"]);
    let files = writable.files();
    let pack = files.iter().find(|file| file.extension().is_some_and(|e| e == "pack")).unwrap();
    std::fs::remove_file(pack).unwrap();
    let out = other.run(&["verify", "--remote", "--repair"]);
    assert!(out.code == 1 && out.stdout.contains("it is gone") && out.stderr.contains("may only be read"), "{out}");
}
