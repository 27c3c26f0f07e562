//! Variables for templates: `params.yaml` beside the pipeline file, then the entries of `vars` in order. Maps are
//! merged, any other value must be defined only once. Every file read here is noted with its hash: together the hashes
//! are the key of the compiled form.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::context::{Context, Var, VarTree};
use super::files::Files;
use super::problem::Problem;
use super::stage::InputLocation;
use crate::path::{RepoPath, normalise};
use crate::store::ObjectId;
use crate::value::node::Node;
use crate::value::{decode, parse};

/// The default params file of a pipeline file.
pub const PARAMS: &str = "params.yaml";

type ParsedVars = Result<Option<Rc<Var>>, Problem>;

/// Reads each file once.
pub struct VarsReader<'f> {
    files: &'f dyn Files,
    /// Each file that was read or looked for, with BLAKE3 of its content (`None`: it does not exist).
    pub inputs: HashMap<InputLocation, Option<[u8; 32]>>,
    parsed: HashMap<InputLocation, ParsedVars>,
    /// The files of variables of the current pipeline file by name, with the keys that are loaded (`None`: all).
    pub loaded: BTreeMap<String, (InputLocation, Option<Vec<String>>)>,
}

/// A path of a pipeline file, relative to the folder `base`.
pub fn place(top: &std::path::Path, base: &RepoPath, spelling: &str) -> InputLocation {
    if spelling.contains("://") {
        return InputLocation::Url(spelling.into());
    }
    if spelling.starts_with('/') {
        let absolute = normalise(spelling);
        return match RepoPath::from_absolute(top, std::path::Path::new(&absolute)) {
            Some(path) => InputLocation::Repo(path),
            None => InputLocation::Outside(absolute),
        };
    }
    match base.join(spelling) {
        Some(path) => InputLocation::Repo(path),
        None if base.is_root() => InputLocation::Outside(normalise(spelling)),
        None => InputLocation::Outside(normalise(&format!("{base}/{spelling}"))),
    }
}

impl<'f> VarsReader<'f> {
    /// A reader that has read nothing.
    pub fn new(files: &'f dyn Files) -> VarsReader<'f> {
        VarsReader { files, inputs: HashMap::new(), parsed: HashMap::new(), loaded: BTreeMap::new() }
    }

    /// The root of the repository, absolute.
    pub fn top(&self) -> &'f std::path::Path {
        self.files.top()
    }

    /// The bytes of a file, which is noted as an input; `None` if it does not exist.
    pub fn read(&mut self, place: &InputLocation) -> crate::error::Result<Option<Vec<u8>>> {
        let bytes = self.files.read(place)?;
        self.inputs.insert(place.clone(), bytes.as_deref().map(|b| ObjectId::of(b).0));
        Ok(bytes)
    }

    /// Notes that some keys, or all, of a file are loaded as variables.
    fn note(&mut self, place: &InputLocation, keys: Option<&[String]>) {
        let entry = self.loaded.entry(place.to_string());
        let (_, known) = entry.or_insert_with(|| (place.clone(), keys.map(|_| Vec::new())));
        match (known, keys) {
            (Some(known), Some(keys)) => {
                let new: Vec<String> = keys.iter().filter(|key| !known.contains(key)).cloned().collect();
                known.extend(new);
            }
            (known, None) => *known = None,
            (None, Some(_)) => {}
        }
    }

    /// A vars file as a map; `None` if it does not exist.
    fn map(&mut self, place: &InputLocation) -> ParsedVars {
        if let Some(done) = self.parsed.get(place) {
            return done.clone();
        }
        let parsed = self.parse(place);
        self.parsed.insert(place.clone(), parsed.clone());
        parsed
    }

    fn parse(&mut self, place: &InputLocation) -> ParsedVars {
        let name = place.to_string();
        let bytes = match self.read(place) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(e) => {
                let message = if e.message.contains(&name) { e.message } else { format!("{name}: {}", e.message) };
                return Err(Problem::new(name, None, message));
            }
        };
        let text = decode(&bytes).map_err(|f| Problem::of(&name, f, ""))?;
        let value = parse(&name, text).map_err(|f| Problem::of(&name, f, text))?;
        let var = Var::new(&value, &name.as_str().into());
        match &var.tree {
            VarTree::Map(_) => Ok(Some(var)),
            _ => Err(Problem::new(&name, None, format!("a file of variables holds a map, not {}", var.kind()))),
        }
    }
}

/// The variables of a pipeline file, `params.yaml` first.
pub fn defaults(reader: &mut VarsReader<'_>, folder: &RepoPath, context: &mut Context<'_>) -> Result<(), Problem> {
    let place = place(reader.top(), folder, PARAMS);
    if let Some(var) = reader.map(&place)?
        && let VarTree::Map(map) = &var.tree
    {
        // nothing is defined yet, so nothing can be redefined
        let _ = context.merge(map);
        Rc::make_mut(&mut context.files).insert(place.to_string(), None);
        reader.note(&place, None);
    }
    Ok(())
}

/// Adds the definitions of one entry of `vars`. `label` names a map in messages: `vars[0]`.
pub fn add(
    reader: &mut VarsReader<'_>,
    folder: &RepoPath,
    context: &mut Context<'_>,
    item: &Node,
    label: &str,
) -> Result<(), AddError> {
    let (var, name) = match item.as_str() {
        None => (Some(Var::new(&item.to_value(), &label.into())), label.to_string()),
        Some(spelling) => (file(reader, folder, context, spelling)?, spelling.to_string()),
    };
    let Some(var) = var else { return Ok(()) };
    let VarTree::Map(map) = &var.tree else { return Ok(()) };
    if let Some((key, _)) = map.iter().find(|(key, _)| context.is_reserved(key)) {
        return Err(AddError::Here(format!(
            "{name} defines `{key}`, which is reserved for what the stage is generated from"
        )));
    }
    context.merge(map).map_err(|redefined| {
        let super::context::RedefinedVariable { path, before } = redefined;
        AddError::Here(format!("{name} cannot redefine `{path}`, which is defined in {before}"))
    })
}

/// Why an entry could not be added: an error in the entry, or a problem of the file that it names.
pub enum AddError {
    /// A message about the entry.
    Here(String),
    /// A problem in the file that the entry names.
    Elsewhere(Problem),
}

/// `conf.yaml` or `conf.yaml:key,key`; `None` if it is already loaded.
fn file(
    reader: &mut VarsReader<'_>,
    folder: &RepoPath,
    context: &mut Context<'_>,
    spelling: &str,
) -> Result<Option<Rc<Var>>, AddError> {
    let here = |message: String| Err(AddError::Here(message));
    let (path, keys) = spelling.split_once(':').unwrap_or((spelling, ""));
    let keys: Vec<String> = keys.split(',').filter(|k| !k.is_empty()).map(str::to_string).collect();
    let place = place(reader.top(), folder, path);
    let id = place.to_string();
    match (context.files.get(&id), keys.is_empty()) {
        (Some(None), true) => return Ok(None),
        (Some(None), false) => return here(format!("{spelling}: the file is loaded as a whole already")),
        (Some(Some(_)), true) => return here(format!("{spelling}: a part of the file is loaded already")),
        (Some(Some(before)), false) => {
            if let Some(key) = keys.iter().find(|k| before.contains(k)) {
                return here(format!("{spelling}: `{key}` is loaded already"));
            }
        }
        (None, _) => {}
    }
    let Some(var) = reader.map(&place).map_err(AddError::Elsewhere)? else {
        return here(format!("the file `{path}` does not exist"));
    };
    let VarTree::Map(map) = &var.tree else { return Ok(None) };
    reader.note(&place, (!keys.is_empty()).then_some(&keys));
    if keys.is_empty() {
        Rc::make_mut(&mut context.files).insert(id, None);
        return Ok(Some(var));
    }
    let mut chosen = super::context::VarMap::default();
    for key in &keys {
        match map.get(key) {
            Some(var) => chosen.set(key, var.clone()),
            None => return here(format!("{path} has no key `{key}`")),
        }
    }
    Rc::make_mut(&mut context.files)
        .entry(id)
        .or_insert_with(|| Some(Vec::new()))
        .get_or_insert_with(Vec::new)
        .extend(keys);
    Ok(Some(Rc::new(Var { tree: VarTree::Map(chosen), source: var.source.clone() })))
}
