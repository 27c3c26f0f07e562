//! Whose run it was, where no variable says so.

use crate::sandbox::{Sandbox, output};

#[test]
fn a_run_record_has_the_name_that_the_system_knows() {
    let sandbox = Sandbox::new();
    sandbox.write("pipeline.yaml", "stages:\n  s:\n    cmd: echo 1 > o\n    outs: [o]\n");
    let ran = output(sandbox.lockstep("").arg("repro").env_remove("USER"));
    assert_eq!(ran.code, 0, "{ran}");
    let runs =
        output(sandbox.command("sh".as_ref(), "").args(["-c", "find .git/lockstep/store/runs -type f | xargs cat"]));
    let name = output(sandbox.command("id".as_ref(), "").arg("-un")).stdout;
    let wanted = format!("\"user\": \"{}\"", name.trim());
    assert!(runs.stdout.contains(&wanted), "{wanted} is not in {runs}");
}
