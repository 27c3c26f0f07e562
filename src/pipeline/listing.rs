//! A stage in the format of `stage list --json`.

use std::collections::BTreeMap;

use serde_json::json;

use super::params::FileParams;
use super::stage::{Out, Pipelines, Plot, StageId};
use crate::path::RepoPath;
use crate::value::Value;

/// Defaults are left out of the outs; all other fields are present. Addresses are relative to the folder `from`.
pub fn describe(p: &Pipelines, id: StageId, from: &RepoPath, params: &BTreeMap<String, FileParams>) -> Value {
    let stage = p.stage(id);
    let values = |file: &FileParams| Value::Map(file.iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect());
    let mut shape = Value::from(json!({
        "address": p.address(id, from),
        "cmd": stage.cmd,
        "wdir": stage.wdir.to_string(),
        "deps": stage.deps.iter().map(|d| d.spelled.as_str()).collect::<Vec<_>>(),
        "outs": [],
        "params": {},
        "frozen": stage.frozen,
        "always_changed": stage.always_changed,
        "desc": stage.desc,
        "meta": null,
        "env": stage.env,
        "scratch": stage.scratch.iter().map(|s| s.spelled.as_str()).collect::<Vec<_>>(),
    }));
    shape.set(&["outs"], Value::List(stage.outs.iter().map(out).collect()));
    shape.set(&["params"], Value::Map(params.iter().map(|(file, found)| (file.clone(), values(found))).collect()));
    if let Some(desc) = &stage.desc_value {
        shape.set(&["desc"], desc.clone());
    }
    if let Some(meta) = &stage.meta {
        shape.set(&["meta"], meta.clone());
    }
    if !stage.env_asked.is_empty() {
        shape.set(&["env_asked"], json!(stage.env_asked).into());
    }
    if let Some(environment) = &stage.environment {
        shape.set(&["environment"], json!(environment.name).into());
    }
    shape
}

fn out(out: &Out) -> Value {
    let mut map = Vec::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.push((key.to_string(), value));
        }
    };
    let text = |text: &String| Value::Str(text.clone());
    put("path", Some(text(&out.spelled)));
    put("cache", (!out.cache).then_some(Value::Bool(false)));
    put("persist", out.persist.then_some(Value::Bool(true)));
    put("remote", out.remote.as_ref().map(text));
    put("push", (!out.push).then_some(Value::Bool(false)));
    put("metric", out.metric.then_some(Value::Bool(true)));
    let plot = |plot: &Plot| if plot.0.is_empty() { Value::Bool(true) } else { Value::Map(plot.0.clone()) };
    put("plot", out.plot.as_ref().map(plot));
    put("desc", out.desc.as_ref().map(text));
    put("type", out.kind.as_ref().map(text));
    put("labels", (!out.labels.is_empty()).then(|| Value::List(out.labels.iter().map(text).collect())));
    put("meta", out.meta.clone());
    Value::Map(map)
}

#[cfg(test)]
mod tests {
    use super::super::load::memory::Memory;
    use super::super::params::read_params;
    use super::super::stage::InputLocation;
    use super::*;

    #[test]
    fn a_stage_with_everything() {
        let yaml = "
stages:
  train:
    cmd: [a, 'b ${o}']
    wdir: src/./
    deps: [/repo/in/x.csv, ../../up, ../../up, https://x.org/y, ./code/, /etc/hosts]
    params: [lr, {../conf.json: [k]}]
    env: [B, A, B]
    scratch: [ckpt/]
    outs: [m.bin, {/repo/o/x: {cache: false, persist: true, push: false, remote: r, type: t, labels: [l], meta: {k: 1}}}]
    metrics: [{s.json: {cache: false}}]
    plots: [{c.csv: {x: step, cache: false}}, d.csv]
    desc: ${n}
    meta: {v: '${n}'}
";
        let files = Memory::new(&[
            ("pipeline.yaml", yaml),
            ("params.yaml", "{n: 5, o: {lr: 0.1}}"),
            ("src/params.yaml", "lr: 1e-5"),
            ("conf.json", "{}"),
        ]);
        let loaded = files.load();
        let p = &loaded.pipelines;
        let stage = &p.stages[0];
        let params = read_params(&files, stage, &mut Default::default()).unwrap();
        let shown = describe(p, StageId(0), &RepoPath::root().join("sub").unwrap(), &params);
        assert_eq!(
            serde_json::to_string(&shown).unwrap(),
            concat!(
                r#"{"address":"../pipeline.yaml:train","cmd":["a","b --lr 0.1"],"wdir":"src","#,
                r#""deps":["../in/x.csv","../../up","https://x.org/y","code","/etc/hosts"],"#,
                r#""outs":[{"path":"m.bin"},{"path":"../o/x","cache":false,"persist":true,"remote":"r","push":false,"#,
                r#""type":"t","labels":["l"],"meta":{"k":1}},{"path":"s.json","cache":false,"metric":true},"#,
                r#"{"path":"c.csv","cache":false,"plot":{"x":"step"}},{"path":"d.csv","plot":true}],"#,
                r#""params":{"../conf.json":{},"params.yaml":{"lr":0.00001}},"#,
                r#""frozen":false,"always_changed":false,"desc":5,"meta":{"v":5},"env":["A","B"],"scratch":["ckpt"]}"#
            )
        );
        let places: Vec<&InputLocation> = stage.deps.iter().map(|d| &d.place).collect();
        assert_eq!(places[1], &InputLocation::Outside("../up".into()));
        assert_eq!(places[4], &InputLocation::Outside("/etc/hosts".into()));
    }
}
