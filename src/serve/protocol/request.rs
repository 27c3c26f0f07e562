//! A request for inference: bytes to checked tensors, in JSON or with binary tensors behind the JSON.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::datatype::Datatype;
use super::refusal::Refusal;
use super::tensor::{ModelSignature, NamedTensor, Port, shape_text};
use super::{binary, json_data};

/// The product of the sizes that a client chooses for a tensor without elements. Such a tensor costs nothing to send,
/// and a product of two of them is a matrix of all these sizes.
const MOST_AROUND_ZERO: usize = 1 << 10;
/// More inputs or outputs than any model has; their names are compared with each other.
const MOST_TENSORS: usize = 4096;
/// The largest number of dimensions.
const MOST_DIMENSIONS: usize = 32;

/// A request whose tensors fit the model.
#[derive(Debug, PartialEq)]
pub struct InferRequest {
    /// The name that the client gave the request; repeated in the answer.
    pub id: Option<String>,
    /// In the order of the request.
    pub inputs: Vec<NamedTensor>,
    /// In the order of the request; empty for all outputs.
    pub outputs: Vec<WantedOutput>,
    /// Whether outputs are binary if the request does not say it of each.
    pub is_binary: bool,
}

/// An output that the client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedOutput {
    /// Its name.
    pub name: String,
    /// Binary, not JSON.
    pub is_binary: bool,
}

#[derive(Deserialize)]
struct RawRequest<'a> {
    id: Option<String>,
    #[serde(default)]
    parameters: Option<RequestParameters>,
    #[serde(borrow)]
    inputs: Vec<RawInput<'a>>,
    #[serde(default)]
    outputs: Option<Vec<RawOutput>>,
}

#[derive(Deserialize)]
struct RawInput<'a> {
    name: String,
    #[serde(borrow)]
    shape: &'a RawValue,
    datatype: String,
    #[serde(default)]
    parameters: Option<TensorParameters>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawOutput {
    name: String,
    #[serde(default)]
    parameters: Option<TensorParameters>,
}

#[derive(Deserialize, Default)]
struct RequestParameters {
    binary_data_output: Option<bool>,
}

#[derive(Deserialize, Default)]
struct TensorParameters {
    binary_data_size: Option<u64>,
    binary_data: Option<bool>,
}

/// Reads a request. `json_length` is the header `Inference-Header-Content-Length`: what follows that many bytes of JSON
/// are binary tensors.
pub fn read(body: &[u8], json_length: Option<usize>, model: &ModelSignature) -> Result<InferRequest, Refusal> {
    let (json, mut rest) = match json_length {
        Some(length) => body.split_at_checked(length).ok_or_else(|| {
            let body = body.len();
            Refusal::request(format!("Inference-Header-Content-Length is {length}, and the body has {body} bytes"))
        })?,
        None => (body, &[][..]),
    };
    let raw: RawRequest = serde_json::from_slice(json).map_err(|e| Refusal::request(format!("the request: {e}")))?;
    if raw.inputs.len().max(raw.outputs.as_ref().map_or(0, Vec::len)) > MOST_TENSORS {
        return Err(Refusal::request(format!("the request names more than {MOST_TENSORS} inputs or outputs")));
    }
    let is_binary = raw.parameters.and_then(|parameters| parameters.binary_data_output).unwrap_or(false);
    let ports = model.inputs.as_deref();
    let mut inputs: Vec<NamedTensor> = Vec::with_capacity(raw.inputs.len().min(ports.map_or(64, <[_]>::len)));
    for input in &raw.inputs {
        if inputs.iter().any(|known| known.name == input.name) {
            return Err(Refusal::request(format!("input {} is given twice", input.name)));
        }
        inputs.push(read_input(input, ports, &mut rest)?);
    }
    if !rest.is_empty() {
        let more = rest.len();
        return Err(Refusal::request(format!("{more} bytes of binary data belong to no input")));
    }
    if let Some(missing) = ports.and_then(|ports| ports.iter().find(|port| !inputs.iter().any(|i| i.name == port.name)))
    {
        return Err(Refusal::request(format!("input {} is missing: {}", missing.name, port_text(missing))));
    }
    let outputs = read_outputs(raw.outputs.unwrap_or_default(), model.outputs.as_deref(), is_binary)?;
    Ok(InferRequest { id: raw.id, inputs, outputs, is_binary })
}

/// `FP32 [-1,64]`
fn port_text(port: &Port) -> String {
    match &port.shape {
        Some(shape) => format!("{} {}", port.datatype, shape_text(shape)),
        None => port.datatype.to_string(),
    }
}

fn names(ports: &[Port]) -> String {
    ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn read_input(input: &RawInput, ports: Option<&[Port]>, rest: &mut &[u8]) -> Result<NamedTensor, Refusal> {
    let name = &input.name;
    let refused = |why: String| Refusal::request(format!("input {name}: {why}"));
    let port =
        match ports {
            Some(ports) => Some(ports.iter().find(|port| port.name == *name).ok_or_else(|| {
                Refusal::request(format!("there is no input {name}: the model has {}", names(ports)))
            })?),
            None => None,
        };
    let datatype =
        Datatype::from_name(&input.datatype).ok_or_else(|| refused(format!("{} is not a datatype", input.datatype)))?;
    if let Some(port) = port.filter(|port| port.datatype != datatype) {
        return Err(refused(format!("datatype {datatype}, wanted {}", port.datatype)));
    }
    let (shape, count) = read_shape(input.shape.get()).map_err(refused)?;
    if let Some(wanted) = port.and_then(|port| port.shape.as_ref())
        && !fits(&shape, wanted)
    {
        return Err(refused(format!("shape {}, wanted {}", shape_text(&shape), shape_text(wanted))));
    }
    if count == 0 && chosen_size(&shape, port.and_then(|port| port.shape.as_ref())) > MOST_AROUND_ZERO {
        return Err(refused(format!("the shape {} is too large for a tensor without elements", shape_text(&shape))));
    }
    let data = match (input.parameters.as_ref().and_then(|p| p.binary_data_size), input.data) {
        (Some(_), Some(_)) => return Err(refused("it has both data and binary_data_size".into())),
        (None, None) => return Err(refused("it has no data".into())),
        (None, Some(data)) => json_data::read(datatype, &shape, count, data.get()),
        (Some(size), None) => {
            let taken = usize::try_from(size).ok().and_then(|size| rest.split_at_checked(size));
            let (bytes, after) = taken.ok_or_else(|| {
                refused(format!("binary_data_size is {size}, and {} bytes of binary data are left", rest.len()))
            })?;
            *rest = after;
            binary::read(datatype, count, bytes)
        }
    };
    let data = data.map_err(|why| refused(format!("{why} for shape {}", shape_text(&shape))))?;
    Ok(NamedTensor { name: name.clone(), shape, data })
}

/// The dimensions, and their product.
fn read_shape(json: &str) -> Result<(Vec<usize>, usize), String> {
    let shown = || json.chars().take(80).collect::<String>();
    let dimensions: Vec<i64> =
        serde_json::from_str(json).map_err(|_| format!("the shape {} is not a list of sizes", shown()))?;
    if dimensions.len() > MOST_DIMENSIONS {
        return Err(format!("{} dimensions, and at most {MOST_DIMENSIONS} are possible", dimensions.len()));
    }
    let mut shape = Vec::with_capacity(dimensions.len());
    for size in &dimensions {
        shape.push(usize::try_from(*size).map_err(|_| format!("the shape {} has a negative size", shown()))?);
    }
    let around = shape.iter().filter(|size| **size != 0).try_fold(1usize, |all, size| all.checked_mul(*size));
    match around {
        Some(_) if shape.contains(&0) => Ok((shape, 0)),
        Some(around) => Ok((shape, around)),
        None => Err(format!("the shape {} is too large", shown())),
    }
}

/// The product of the sizes that the model does not fix.
fn chosen_size(shape: &[usize], wanted: Option<&Vec<i64>>) -> usize {
    let is_chosen = |at: usize| wanted.and_then(|wanted| wanted.get(at)).is_none_or(|wanted| *wanted < 0);
    let chosen = shape.iter().enumerate().filter(|(at, size)| **size != 0 && is_chosen(*at));
    chosen.fold(1, |all: usize, (_, size)| all.saturating_mul(*size))
}

fn fits(shape: &[usize], wanted: &[i64]) -> bool {
    let fits_one = |(size, wanted): (&usize, &i64)| *wanted < 0 || usize::try_from(*wanted) == Ok(*size);
    shape.len() == wanted.len() && shape.iter().zip(wanted).all(fits_one)
}

fn read_outputs(raw: Vec<RawOutput>, ports: Option<&[Port]>, is_binary: bool) -> Result<Vec<WantedOutput>, Refusal> {
    let mut outputs: Vec<WantedOutput> = Vec::new();
    for output in raw {
        if let Some(ports) = ports
            && !ports.iter().any(|port| port.name == output.name)
        {
            let known = names(ports);
            return Err(Refusal::request(format!("there is no output {}: the model has {known}", output.name)));
        }
        if outputs.iter().any(|known| known.name == output.name) {
            return Err(Refusal::request(format!("output {} is wanted twice", output.name)));
        }
        let own = output.parameters.and_then(|parameters| parameters.binary_data);
        outputs.push(WantedOutput { name: output.name, is_binary: own.unwrap_or(is_binary) });
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::super::tensor::TensorData;
    use super::*;

    fn model() -> ModelSignature {
        let port =
            |name: &str, datatype, shape: &[i64]| Port { name: name.into(), datatype, shape: Some(shape.to_vec()) };
        ModelSignature {
            inputs: Some(vec![port("X", Datatype::Fp32, &[-1, 2])]),
            outputs: Some(vec![port("Y", Datatype::Fp32, &[-1]), port("Z", Datatype::Int64, &[-1])]),
        }
    }

    fn input(text: &str) -> Result<InferRequest, Refusal> {
        read(format!("{{\"inputs\": [{text}]}}").as_bytes(), None, &model())
    }

    #[test]
    fn a_request_is_read() {
        let json = br#"{"id": "a", "more": 1, "inputs": [{"name": "X", "shape": [1,2], "datatype": "FP32", "more": {},
            "data": [[1, 2]]}], "outputs": [{"name": "Z", "parameters": {"binary_data": true}}, {"name": "Y"}]}"#;
        let request = read(json, None, &model()).unwrap();
        assert_eq!(request.id.as_deref(), Some("a"));
        assert_eq!(request.inputs[0].data, TensorData::Fp32(vec![1.0, 2.0]));
        let outputs: Vec<_> = request.outputs.iter().map(|o| (o.name.as_str(), o.is_binary)).collect();
        assert_eq!(outputs, [("Z", true), ("Y", false)]);
    }

    #[test]
    fn a_binary_request_is_read() {
        let json = br#"{"inputs": [{"name": "X", "shape": [1,2], "datatype": "FP32",
            "parameters": {"binary_data_size": 8}}], "parameters": {"binary_data_output": true}}"#;
        let mut body = json.to_vec();
        body.extend(1f32.to_le_bytes());
        body.extend(f32::NAN.to_le_bytes());
        let request = read(&body, Some(json.len()), &model()).unwrap();
        assert!(request.is_binary);
        let TensorData::Fp32(values) = &request.inputs[0].data else { panic!("{request:?}") };
        assert!(values[0] == 1.0 && values[1].is_nan());
        for (length, want) in
            [(json.len() + 9, "the body has"), (json.len() - 1, "the request: EOF"), (0, "the request: EOF")]
        {
            let refused = read(&body, Some(length), &model()).unwrap_err();
            assert!(refused.message.contains(want), "{}", refused.message);
        }
        assert!(read(&body, None, &model()).unwrap_err().message.contains("trailing characters"));
        body.push(0);
        let refused = read(&body, Some(json.len()), &model()).unwrap_err();
        assert_eq!(refused.message, "1 bytes of binary data belong to no input");
    }

    #[test]
    fn a_wrong_request_is_named() {
        let x = |rest: &str| format!("{{\"name\": \"X\", {rest}}}");
        for (text, want) in [
            (x(r#""shape": [1,3], "datatype": "FP32", "data": [1,2,3]"#), "input X: shape [1,3], wanted [-1,2]"),
            (x(r#""shape": [2], "datatype": "FP32", "data": [1,2]"#), "input X: shape [2], wanted [-1,2]"),
            (x(r#""shape": [1,2], "datatype": "FP64", "data": [1,2]"#), "input X: datatype FP64, wanted FP32"),
            (x(r#""shape": [1,2], "datatype": "float", "data": [1,2]"#), "input X: float is not a datatype"),
            (x(r#""shape": [2,2], "datatype": "FP32", "data": [1,2]"#), "input X: 2 values, wanted 4 for shape [2,2]"),
            (
                x(r#""shape": [-1,2], "datatype": "FP32", "data": [1,2]"#),
                "input X: the shape [-1,2] has a negative size",
            ),
            (
                x(r#""shape": [9223372036854775807,9223372036854775807], "datatype": "FP32", "data": []"#),
                "is too large",
            ),
            (x(r#""shape": [9223372036854775808,2], "datatype": "FP32", "data": []"#), "is not a list of sizes"),
            (x(r#""shape": [0,70000], "datatype": "FP32", "data": []"#), "shape [0,70000], wanted [-1,2]"),
            (x(r#""shape": "x", "datatype": "FP32", "data": []"#), "the shape \"x\" is not a list of sizes"),
            (x(r#""shape": [1,2], "datatype": "FP32""#), "input X: it has no data"),
            (
                x(r#""shape": [1,2], "datatype": "FP32", "parameters": {"binary_data_size": 8}"#),
                "input X: binary_data_size is 8, and 0 bytes of binary data are left",
            ),
            (x(r#""datatype": "FP32", "data": []"#), "missing field `shape`"),
            (
                r#"{"name": "W", "shape": [], "datatype": "FP32", "data": []}"#.into(),
                "there is no input W: the model has X",
            ),
            (String::new(), "input X is missing: FP32 [-1,2]"),
        ] {
            let refused = input(&text).unwrap_err();
            assert_eq!(refused.status, 400);
            assert!(refused.message.contains(want), "{text}: {}", refused.message);
        }
        let many = vec![x(r#""shape": [1,2], "datatype": "FP32", "data": [1,2]"#); 5000].join(",");
        assert!(input(&many).unwrap_err().message.contains("more than 4096 inputs"));
        let twice = x(r#""shape": [1,2], "datatype": "FP32", "data": [1,2]"#);
        assert_eq!(input(&format!("{twice},{twice}")).unwrap_err().message, "input X is given twice");
        for (outputs, want) in [
            (r#"[{"name": "Q"}]"#, "there is no output Q: the model has Y, Z"),
            (r#"[{"name": "Y"}, {"name": "Y"}]"#, "output Y is wanted twice"),
        ] {
            let json = format!("{{\"inputs\": [{twice}], \"outputs\": {outputs}}}");
            assert_eq!(read(json.as_bytes(), None, &model()).unwrap_err().message, want);
        }
    }

    #[test]
    fn a_tensor_without_elements_is_small_where_the_client_chooses() {
        for (shape, wanted, is_allowed) in [
            (&[0, 150_528][..], &[-1, 150_528][..], true),
            (&[0, 1024], &[-1, -1], true),
            (&[0, 1025], &[-1, -1], false),
            (&[0, usize::MAX, usize::MAX], &[-1, -1, -1], false),
        ] {
            assert_eq!(chosen_size(shape, Some(&wanted.to_vec())) <= MOST_AROUND_ZERO, is_allowed, "{shape:?}");
        }
        assert!(chosen_size(&[0, 2000], None) > MOST_AROUND_ZERO);
    }

    #[test]
    fn a_model_that_declares_nothing_takes_any_input() {
        let json = br#"{"inputs": [{"name": "a", "shape": [], "datatype": "INT8", "data": [1]}]}"#;
        let request = read(json, None, &ModelSignature::default()).unwrap();
        assert_eq!(request.inputs[0].shape, Vec::<usize>::new());
    }
}
