//! The answer to a request for inference as bytes: JSON, and behind it the tensors that the client wants binary.

use serde::Serialize;

use super::refusal::Refusal;
use super::request::InferRequest;
use super::tensor::{NamedTensor, TensorData};
use super::{binary, request};

/// An answer as it is sent.
#[derive(Debug, PartialEq)]
pub struct EncodedAnswer {
    /// The body.
    pub bytes: Vec<u8>,
    /// The length of the JSON at its beginning, if tensors follow it.
    pub json_length: Option<usize>,
}

/// Encodes the outputs of a model for the request that they answer.
///
/// Errors: an output has no form in JSON.
pub fn encode(
    model: &str,
    version: &str,
    request: &InferRequest,
    outputs: &[NamedTensor],
) -> Result<EncodedAnswer, Refusal> {
    let mut json = Vec::with_capacity(256);
    let mut tail = Vec::new();
    json.extend_from_slice(b"{\"model_name\":");
    write_json(model, &mut json);
    json.extend_from_slice(b",\"model_version\":");
    write_json(version, &mut json);
    if let Some(id) = &request.id {
        json.extend_from_slice(b",\"id\":");
        write_json(id, &mut json);
    }
    json.extend_from_slice(b",\"outputs\":[");
    for (at, output) in outputs.iter().enumerate() {
        if at > 0 {
            json.push(b',');
        }
        let is_binary = wants_binary(request, &output.name);
        write_output(output, is_binary, &mut json, &mut tail)?;
    }
    json.extend_from_slice(b"]}");
    let is_binary = outputs.iter().any(|output| wants_binary(request, &output.name));
    let json_length = is_binary.then_some(json.len());
    json.append(&mut tail);
    Ok(EncodedAnswer { bytes: json, json_length })
}

fn wants_binary(request: &InferRequest, name: &str) -> bool {
    let wanted = request.outputs.iter().find(|output: &&request::WantedOutput| output.name == name);
    wanted.map_or(request.is_binary, |output| output.is_binary)
}

fn write_output(output: &NamedTensor, is_binary: bool, json: &mut Vec<u8>, tail: &mut Vec<u8>) -> Result<(), Refusal> {
    json.extend_from_slice(b"{\"name\":");
    write_json(&output.name, json);
    json.extend_from_slice(b",\"shape\":");
    write_json(&output.shape, json);
    json.extend_from_slice(b",\"datatype\":");
    write_json(output.data.datatype().name(), json);
    if is_binary {
        let before = tail.len();
        binary::write(&output.data, tail);
        json.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
        write_json(&(tail.len() - before), json);
        json.push(b'}');
    } else {
        json.extend_from_slice(b",\"data\":");
        write_data(output, json)?;
    }
    json.push(b'}');
    Ok(())
}

/// Numbers that JSON lacks (NaN, infinities) are null.
fn write_data(output: &NamedTensor, json: &mut Vec<u8>) -> Result<(), Refusal> {
    match &output.data {
        TensorData::Bool(values) => write_json(values, json),
        TensorData::Uint8(values) => write_json(values, json),
        TensorData::Uint16(values) => write_json(values, json),
        TensorData::Uint32(values) => write_json(values, json),
        TensorData::Uint64(values) => write_json(values, json),
        TensorData::Int8(values) => write_json(values, json),
        TensorData::Int16(values) => write_json(values, json),
        TensorData::Int32(values) => write_json(values, json),
        TensorData::Int64(values) => write_json(values, json),
        TensorData::Fp16(values) => write_json(&values.iter().map(|v| v.to_f32()).collect::<Vec<f32>>(), json),
        TensorData::Fp32(values) => write_json(values, json),
        TensorData::Fp64(values) => write_json(values, json),
        TensorData::Bytes(values) => write_json(values, json),
        TensorData::Bf16(_) => {
            return Err(Refusal::request(format!(
                "output {}: BF16 has no form in JSON: ask for binary_data",
                output.name
            )));
        }
    }
    Ok(())
}

fn write_json<T: Serialize + ?Sized>(value: &T, json: &mut Vec<u8>) {
    // Writing to memory does not fail, and no value here is a map.
    let _ = serde_json::to_writer(json, value);
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::super::request::WantedOutput;
    use super::*;

    fn request(outputs: Vec<WantedOutput>, is_binary: bool) -> InferRequest {
        InferRequest { id: Some("q\"1".into()), inputs: vec![], outputs, is_binary }
    }

    fn tensor(name: &str, data: TensorData) -> NamedTensor {
        NamedTensor { name: name.into(), shape: vec![data.len()], data }
    }

    #[test]
    fn json_is_written() {
        let outputs = [
            tensor("f", TensorData::Fp32(vec![0.1, f32::NAN, f32::INFINITY, 3.0])),
            tensor("u", TensorData::Uint64(vec![u64::MAX])),
            tensor("h", TensorData::Fp16(vec![f16::from_f32(0.5)])),
            tensor("s", TensorData::Bytes(vec!["\u{1}é".into()])),
        ];
        let answer = encode("m", "v1", &request(vec![], false), &outputs).unwrap();
        assert_eq!(
            String::from_utf8(answer.bytes).unwrap(),
            r#"{"model_name":"m","model_version":"v1","id":"q\"1","outputs":[{"name":"f","shape":[4],"datatype":"FP32","data":[0.1,null,null,3.0]},{"name":"u","shape":[1],"datatype":"UINT64","data":[18446744073709551615]},{"name":"h","shape":[1],"datatype":"FP16","data":[0.5]},{"name":"s","shape":[1],"datatype":"BYTES","data":["\u0001é"]}]}"#
        );
        assert_eq!(answer.json_length, None);
    }

    #[test]
    fn binary_outputs_follow_the_json_in_order() {
        let outputs = [
            tensor("a", TensorData::Bf16(vec![bf16::from_f32(1.0)])),
            tensor("b", TensorData::Int8(vec![7])),
            tensor("c", TensorData::Bytes(vec!["xy".into()])),
        ];
        let wanted = vec![WantedOutput { name: "b".into(), is_binary: false }];
        let answer = encode("m", "v1", &request(wanted, true), &outputs).unwrap();
        let at = answer.json_length.unwrap();
        assert_eq!(&answer.bytes[at..], [0x80, 0x3f, 2, 0, 0, 0, b'x', b'y']);
        let json: serde_json::Value = serde_json::from_slice(&answer.bytes[..at]).unwrap();
        assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 2);
        assert_eq!(json["outputs"][1]["data"][0], 7);
        assert!(encode("m", "v1", &request(vec![], false), &outputs).is_err(), "BF16 in JSON");
    }
}
