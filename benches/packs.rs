//! Times a batch of small files into the store and out again, against what a user would compare it with: `cp -r` with
//! `sync -f`, and `cp -r`; and the look-up of an object among many packs.
//!
//! `cargo bench --bench packs -- [FILES] [BYTES]`; ratios count, since absolute times mean little on a shared machine.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lockstep::event::Silent;
use lockstep::path::RepoPath;
use lockstep::store::pack::format::PackWriter;
use lockstep::store::{LinkTypes, NoRules, ObjectId, ObjectKind, StatIndex, Store, TrackedPath, WritableArea, restore};

const ROUNDS: usize = 5;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let (files, bytes) = (numbers.first().copied().unwrap_or(50_000), numbers.get(1).copied().unwrap_or(1024));
    let scratch = tempfile::Builder::new().prefix("lockstep-bench-").tempdir_in(".").unwrap();
    let top = scratch.path().canonicalize().unwrap();
    in_and_out(&top, files, bytes);
    look_ups(&top, 500, 1000);
}

fn in_and_out(top: &Path, files: usize, bytes: usize) {
    for i in 0..files {
        let folder = top.join(format!("data/{:04}", i / 100));
        if i % 100 == 0 {
            fs::create_dir_all(&folder).unwrap();
        }
        let mut content = vec![7; bytes];
        content[..8.min(bytes)].copy_from_slice(&i.to_le_bytes()[..8.min(bytes)]);
        fs::write(folder.join(format!("{i:06}")), content).unwrap();
    }
    let index = StatIndex::open(&top.join("index"), top, true);
    let place = TrackedPath::from(RepoPath::root().join("data").unwrap());
    let pin = index.scan(std::slice::from_ref(&place), &NoRules, &Silent).remove(0).unwrap().unwrap();
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..ROUNDS {
        run("sync", top);
        times[0].push(time(|| run(&format!("cp -r data c{round} && sync -f c{round}"), top)));
        run("sync", top);
        let store = Store::open(&top.join(format!("store{round}")), LinkTypes::default());
        times[1].push(time(|| {
            let mut batch = store.batch();
            batch.add(&index, &place, &pin).unwrap();
            batch.commit(&Silent).unwrap();
        }));
        run("sync", top);
        times[2].push(time(|| run(&format!("cp -r data d{round}"), top)));
        run("sync", top);
        let store = Store::open(&top.join(format!("store{round}")), LinkTypes::default());
        let to = WritableArea::new(top, &[]).path(&RepoPath::root().join(&format!("e{round}")).unwrap()).unwrap();
        times[3].push(time(|| restore(&store, &index, &to, &pin, &NoRules, &Silent).map(drop).unwrap()));
    }
    let [durable, stored, copied, restored] = times.map(median);
    println!("{files} files of {bytes} bytes");
    println!("store:    {stored:.3} s, cp -r and sync -f {durable:.3} s, ratio {:.2}", stored / durable);
    println!("restore:  {restored:.3} s, cp -r {copied:.3} s, ratio {:.2}", restored / copied);
}

fn look_ups(top: &Path, packs: usize, each: usize) {
    let store = Store::open(&top.join("many"), LinkTypes::default());
    let mut ids = Vec::new();
    for pack in 0..packs {
        let mut bytes = Vec::new();
        let mut writer = PackWriter::new(&mut bytes).unwrap();
        for object in 0..each {
            let content = format!("{pack} {object}");
            let id = ObjectId::of(content.as_bytes());
            writer.add(id, ObjectKind::Content, content.as_bytes()).unwrap();
            ids.push(id);
        }
        writer.finish().unwrap();
        let temp = store.temp().unwrap();
        fs::create_dir_all(temp.parent().unwrap()).unwrap();
        fs::write(&temp, bytes).unwrap();
        store.adopt_pack(&temp, &lockstep::event::Silent).unwrap();
    }
    let store = Store::open(&top.join("many"), LinkTypes::default());
    let opened = time(|| assert!(store.size(&ids[0]).is_some()));
    let found = time(|| assert!(ids.iter().all(|id| store.size(id).is_some())));
    println!("{packs} packs of {each}: indexes read in {opened:.3} s, {} objects found in {found:.3} s", ids.len());
}

fn run(command: &str, folder: &Path) {
    let out = Command::new("sh").args(["-c", command]).current_dir(folder).output().unwrap();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
