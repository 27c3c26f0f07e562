//! Templates of the project: Vega-Lite with DVC's anchors, `<DVC_METRIC_X>` and the like, in `.dvc/plots/` or at the
//! path of `template:`.
//!
//! Such a template may use anything in Vega-Lite, so Vega-Lite itself draws it. `runtime.js.gz` contains it (`make.sh`
//! documents the build); it is included only in pages that need it. The page still works without a network, and its
//! content security policy allows only scripts whose hashes it names, and no `eval`: Vega's expressions are
//! interpreted.
//!
//! The values of the anchors are DVC's, as in its package `dvc-render`. A row of the data has every column of its file,
//! and `rev`, `filename` and `field` in addition; if the lines of a plot are from different columns, these have one
//! name, `dvc_inferred_y_value`.

mod fill;

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value as Json;

use super::source::{PathContent, PlotSource};
use crate::error::{Error, Kind, Result};
use crate::path::RepoPath;

pub use fill::{Names, TemplateValues, fill, rows};

/// Runs the specifications of a page.
pub const SCRIPT: &str = include_str!("page.js");
/// Templates are written by people; a larger file is something else.
const LARGEST: usize = 4 << 20;

/// The name of a project's template, and the folder it is relative to.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateRef {
    /// As it was written.
    pub name: String,
    /// The folder of the pipeline file, or the current one.
    pub folder: RepoPath,
}

/// A specification that is ready to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct VegaSpec {
    /// The template as it was called.
    pub name: String,
    /// Vega-Lite as JSON, without anchors.
    pub spec: Json,
    /// Whether all of several revisions have the same files; it has the rows of the first one then.
    pub is_same: bool,
}

/// Vega, Vega-Lite and the interpreter, as one script.
pub fn runtime() -> String {
    let mut text = String::new();
    let packed: &[u8] = include_bytes!("runtime.js.gz");
    // It is part of the program, and covered by a test.
    let _ = GzDecoder::new(packed).read_to_string(&mut text);
    text
}

impl TemplateRef {
    /// The possible paths: relative to the pipeline file or to the root, or by name in DVC's folder of templates.
    pub fn candidates(&self) -> Vec<RepoPath> {
        let root = RepoPath::root();
        let kept =
            |name: &str| root.join(".dvc/plots").and_then(|kept| kept.join(name).filter(|path| path.is_in(&kept)));
        let with_ending = format!("{}.json", self.name);
        let is_file = self.name.ends_with(".json");
        let as_path = [self.folder.join(&self.name), root.join(&self.name)];
        let mut all: Vec<RepoPath> = as_path.into_iter().filter(|_| is_file).flatten().collect();
        all.extend(kept(&self.name).filter(|_| is_file));
        all.extend(kept(&with_ending).filter(|_| !is_file));
        all.dedup();
        all
    }

    /// The template, from the last of the sources that has it: it defines the style, and is not versioned by itself.
    ///
    /// Errors: [`Kind::Missing`] if none has it.
    pub fn read(&self, sources: &[&dyn PlotSource]) -> Result<Json> {
        for path in self.candidates() {
            for source in sources.iter().rev() {
                let PathContent::File(bytes) = source.read(&path)? else { continue };
                if bytes.len() > LARGEST {
                    return Err(Error::usage(format!("{path} is too large for a template of a plot")));
                }
                let json: Json = serde_json::from_slice(&bytes).map_err(|e| {
                    Error::usage(format!("{path}:{}:{}: this is not JSON", e.line(), e.column())).because(e)
                })?;
                return match json {
                    Json::Object(_) => Ok(json),
                    _ => Err(Error::usage(format!("{path} is not Vega-Lite: it is not a map"))),
                };
            }
        }
        let error = Error::new(Kind::Missing, format!("there is no template `{}`", self.name));
        let error = error.hint("those that are built in: lockstep plots templates");
        Err(match self.candidates().last() {
            Some(path) => error.hint(format!("one of your own, in Vega-Lite: {path}")),
            None => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_is_whole_and_can_stand_in_a_page() {
        let text = runtime();
        assert!(text.len() > 700_000, "{}", text.len());
        assert!(text.starts_with("/*\n") && text.contains("University of Washington Interactive Data Lab"));
        assert!(text.ends_with("vega.expressionInterpreter = expression; })();\n"));
        for script in [text.as_str(), SCRIPT] {
            assert!(!script.to_lowercase().contains("</script") && !script.contains("<!--"));
        }
    }

    #[test]
    fn where_a_template_may_lie() {
        let called = |name: &str| {
            let folder = RepoPath::root().join("sub").unwrap();
            let all = TemplateRef { name: name.into(), folder }.candidates();
            all.iter().map(RepoPath::to_string).collect::<Vec<_>>()
        };
        assert_eq!(called("mine"), [".dvc/plots/mine.json"]);
        assert_eq!(called("t/mine.json"), ["sub/t/mine.json", "t/mine.json", ".dvc/plots/t/mine.json"]);
        assert_eq!(called("../../x.json"), Vec::<String>::new());
    }
}
