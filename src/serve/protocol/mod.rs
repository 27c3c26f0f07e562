//! Open Inference Protocol v2 over HTTP: tensors, requests and answers as bytes. Pure code without models or sockets.
//!
//! The protocol is described at <https://github.com/kserve/open-inference-protocol>; the binary form of tensors is
//! Triton's extension `binary_tensor_data`, the default of its clients.

pub mod answer;
pub mod binary;
pub mod datatype;
pub mod json_data;
pub mod refusal;
pub mod request;
pub mod tensor;
