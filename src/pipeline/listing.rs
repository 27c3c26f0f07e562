//! A stage as `stage list --json` shows it.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json, json};

use super::params::FileParams;
use super::stage::{Out, Pipelines, StageId};
use crate::path::RepoPath;
use crate::value::Value;

/// What is at its default is left out of the outs; everything else is there. Addresses count from the folder `from`.
pub fn describe(p: &Pipelines, id: StageId, from: &RepoPath, params: &BTreeMap<String, FileParams>) -> Json {
    let stage = p.stage(id);
    let values = |file: &FileParams| -> Json {
        file.iter().flatten().map(|(key, value)| (key.clone(), json(value))).collect::<Map<_, _>>().into()
    };
    let mut shape = json!({
        "address": p.address(id, from),
        "cmd": stage.cmd,
        "wdir": stage.wdir.to_string(),
        "deps": stage.deps.iter().map(|d| d.spelled.as_str()).collect::<Vec<_>>(),
        "outs": stage.outs.iter().map(out).collect::<Vec<_>>(),
        "params": params.iter().map(|(file, found)| (file.clone(), values(found))).collect::<Map<_, _>>(),
        "frozen": stage.frozen,
        "always_changed": stage.always_changed,
        "desc": stage.desc_value.as_ref().map(json).or(stage.desc.clone().map(Json::from)),
        "meta": stage.meta.as_ref().map(json),
        "env": stage.env,
        "scratch": stage.scratch.iter().map(|s| s.spelled.as_str()).collect::<Vec<_>>(),
    });
    if !stage.env_asked.is_empty() {
        shape["env_asked"] = stage.env_asked.clone().into();
    }
    shape
}

fn out(out: &Out) -> Json {
    let mut map = Map::new();
    let mut put = |key: &str, value: Option<Json>| {
        if let Some(value) = value {
            map.insert(key.to_string(), value);
        }
    };
    put("path", Some(out.spelled.clone().into()));
    put("cache", (!out.cache).then_some(false.into()));
    put("persist", out.persist.then_some(true.into()));
    put("remote", out.remote.clone().map(Json::from));
    put("push", (!out.push).then_some(false.into()));
    put("metric", out.metric.then_some(true.into()));
    put("plot", out.plot.as_ref().map(|plot| if plot.0.is_empty() { true.into() } else { map_json(&plot.0) }));
    put("desc", out.desc.clone().map(Json::from));
    put("type", out.kind.clone().map(Json::from));
    put("labels", (!out.labels.is_empty()).then(|| out.labels.clone().into()));
    put("meta", out.meta.as_ref().map(json));
    Json::Object(map)
}

fn map_json(entries: &[(String, Value)]) -> Json {
    entries.iter().map(|(k, v)| (k.clone(), json(v))).collect::<Map<_, _>>().into()
}

/// A value as JSON; what JSON lacks (infinities, NaN) is null.
pub fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(i) => Number::from_i128(*i).map_or_else(|| (*i as f64).into(), Json::Number),
        Value::Float(f) => (*f).into(),
        Value::Str(s) => s.as_str().into(),
        Value::List(items) => items.iter().map(json).collect::<Vec<_>>().into(),
        Value::Map(entries) => map_json(entries),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::memory::Memory;
    use super::super::params::read_params;
    use super::super::stage::Place;
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
        let places: Vec<&Place> = stage.deps.iter().map(|d| &d.place).collect();
        assert_eq!(places[1], &Place::Outside("../up".into()));
        assert_eq!(places[4], &Place::Outside("/etc/hosts".into()));
    }
}
