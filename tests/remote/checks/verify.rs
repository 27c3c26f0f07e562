//! What `verify --remote` says of what lies there.

use std::fs;

use crate::target::Target;
use crate::workplace::{clone, must, workplace};

/// Nothing is found where nothing is wrong; each pack and object is missed when it is gone, told when it is damaged, and
/// put again as it was.
pub fn damage_is_found_and_put_again(target: &Target) {
    let work = workplace(target, 30);
    must(&work, &["push"]);
    for sandbox in [&work, &clone(&work, target)] {
        let out = must(sandbox, &["verify", "--remote", "--read-data", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
        let [packs, objects] = ["packs", "objects"].map(|what| json[what].as_u64().unwrap());
        // The model, and what it was made from.
        assert!(packs >= 1 && objects >= 1 && json["read_objects"] == packs + objects, "{out}");
        assert!(json["read"].as_u64().unwrap() > 3 << 20, "{out}");
    }
    let files = target.files();
    let content =
        |file: &std::path::Path| file.to_str().is_some_and(|f| f.contains("/packs/") || f.contains("/objects/"));
    for file in files.iter().filter(|file| content(file)) {
        let bytes = fs::read(file).unwrap();
        let name = &file.file_name().unwrap().to_str().unwrap()[..8];
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        for (harmed, args) in [
            (Some(&flipped[..]), &["verify", "--remote", "--read-data"][..]),
            (Some(&bytes[..bytes.len() / 3]), &["verify", "--remote"]),
            (None, &["verify", "--remote"]),
        ] {
            match harmed {
                Some(harmed) => fs::write(file, harmed).unwrap(),
                None => fs::remove_file(file).unwrap(),
            }
            let out = work.run(args);
            assert!(out.code == 1 && out.stdout.contains(name), "{}: {out}", file.display());
            must(&work, &[args, &["--repair"]].concat());
            assert_eq!(fs::read(file).unwrap(), bytes, "{}", file.display());
        }
    }
    must(&work, &["verify", "--remote", "--read-data"]);
}
