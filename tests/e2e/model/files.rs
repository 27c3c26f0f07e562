//! Model files, written byte by byte: small, sound, and as the real libraries write them.

#![allow(dead_code)] // each test program uses its own part

use std::io::Write;

/// A tensor of a safetensors file: name, type, shape, bytes.
pub type Named<'a> = (&'a str, &'a str, &'a [u64], Vec<u8>);

pub fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub fn f64s(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A header of any text before values.
pub fn with_header(header: &str, values: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), values].concat()
}

pub fn safetensors(tensors: &[Named], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        let pairs = metadata.iter().map(|(k, v)| (k.to_string(), serde_json::json!(v)));
        header.insert("__metadata__".into(), serde_json::Value::Object(pairs.collect()));
    }
    let mut values = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [values.len(), values.len() + bytes.len()];
        values.extend(bytes);
        header.insert(name.to_string(), serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}));
    }
    with_header(&serde_json::Value::Object(header).to_string(), &values)
}

pub fn npy(descr: &str, fortran: bool, shape: &str, values: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), values].concat()
}

/// A zip archive of entries, deflated where asked.
pub fn zip(entries: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content, deflate) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let packed = if *deflate { deflated(content) } else { content.to_vec() };
        let method = if *deflate { 8u16 } else { 0 };
        let mut common = Vec::new();
        common.extend(20u16.to_le_bytes());
        common.extend(0u16.to_le_bytes());
        common.extend(method.to_le_bytes());
        common.extend([0; 4]);
        common.extend(crc.sum().to_le_bytes());
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        let offset = archive.len() as u32;
        archive.extend(b"PK\x03\x04");
        archive.extend(&common);
        archive.extend(name.as_bytes());
        archive.extend(packed);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let at = archive.len() as u32;
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend((entries.len() as u16).to_le_bytes());
    archive.extend((entries.len() as u16).to_le_bytes());
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend(at.to_le_bytes());
    archive.extend([0; 2]);
    archive
}

pub fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A tensor as PyTorch's pickle describes it.
pub struct View<'a> {
    pub name: &'a str,
    pub class: &'a str,
    pub key: &'a str,
    /// Elements of the storage.
    pub held: i64,
    pub offset: i64,
    pub shape: &'a [i64],
    pub strides: &'a [i64],
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(n: i64) -> Vec<u8> {
    match i32::try_from(n) {
        Ok(n) => [b"J", &n.to_le_bytes()[..]].concat(),
        Err(_) => [b"\x8a\x08", &n.to_le_bytes()[..]].concat(),
    }
}

fn tuple(items: &[i64]) -> Vec<u8> {
    [b"(".to_vec(), items.iter().flat_map(|n| int(*n)).collect(), b"t".to_vec()].concat()
}

/// `pickle.dumps` of an OrderedDict of tensors, as `torch.save` calls it.
pub fn state_dict(views: &[View]) -> Vec<u8> {
    let mut p = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(".to_vec();
    for view in views {
        p.extend(text(view.name));
        p.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        p.extend(text("storage"));
        p.extend(format!("ctorch\n{}\n", view.class).bytes());
        p.extend(text(view.key));
        p.extend(text("cpu"));
        p.extend(int(view.held));
        p.extend(b"tQ");
        p.extend(int(view.offset));
        p.extend(tuple(view.shape));
        p.extend(tuple(view.strides));
        p.extend(b"\x89h\x00)RtR");
    }
    p.extend(b"u.");
    p
}

/// `torch.save` of a state dict: a weight, a bias that is part of a larger storage, and the weight transposed.
pub fn torch(weight: &[f32; 6], bias: &[f32; 3]) -> Vec<u8> {
    let view = |name, key, held, offset, shape, strides| View {
        name,
        class: "FloatStorage",
        key,
        held,
        offset,
        shape,
        strides,
    };
    let pickle = state_dict(&[
        view("fc.weight", "0", 6, 0, &[2, 3], &[3, 1]),
        view("fc.bias", "1", 4, 1, &[3], &[1]),
        view("fc.turned", "0", 6, 0, &[3, 2], &[1, 3]),
    ]);
    let bias = [&[9.0], &bias[..]].concat();
    zip(&[
        ("m/data.pkl", &pickle, false),
        ("m/byteorder", b"little", false),
        ("m/data/0", &f32s(weight), false),
        ("m/data/1", &f32s(&bias), false),
        ("m/version", b"3\n", false),
    ])
}

/// `torch.save` before PyTorch 1.6 of one tensor.
pub fn torch_old(values: &[f32]) -> Vec<u8> {
    let held = values.len() as i64;
    let view = View { name: "w", class: "FloatStorage", key: "7", held, offset: 0, shape: &[held], strides: &[1] };
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    let described = state_dict(&[view]);
    // The old form names a sixth thing in a storage: the view of it.
    let at = described.windows(2).position(|w| w == b"tQ").unwrap();
    file.extend([&described[..at], b"N", &described[at..]].concat());
    file.extend([b"\x80\x02]".to_vec(), text("7"), b"a.".to_vec()].concat());
    file.extend((values.len() as u64).to_le_bytes());
    file.extend(f32s(values));
    file
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(content.len() as u64), content].concat()
}

fn number(number: u8, value: u64) -> Vec<u8> {
    [&[number << 3][..], &varint(value)].concat()
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

/// A node with attributes and no inputs.
pub fn onnx_node(operator: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let attributes: Vec<u8> = attributes.iter().flat_map(|a| field(5, a)).collect();
    [field(2, b"y"), field(4, operator.as_bytes()), attributes].concat()
}

/// An attribute whose value is a message: a tensor (5) or a graph (6).
pub fn onnx_attribute(name: &str, kind: u8, value: &[u8]) -> Vec<u8> {
    [field(1, name.as_bytes()), field(kind, value)].concat()
}

pub fn onnx_graph(nodes: &[Vec<u8>], initializers: &[Vec<u8>]) -> Vec<u8> {
    let nodes = nodes.iter().flat_map(|node| field(1, node));
    nodes.chain(initializers.iter().flat_map(|tensor| field(5, tensor))).collect()
}

pub fn onnx_model(graph: &[u8]) -> Vec<u8> {
    [number(1, 9), field(7, graph), field(8, &number(2, 17))].concat()
}

/// An initializer of 32-bit floats in `raw_data`.
pub fn onnx_tensor(name: &str, dims: &[u64], values: &[f32]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|d| number(1, *d)).collect();
    [dims, number(2, 1), field(8, name.as_bytes()), field(9, &f32s(values))].concat()
}

/// A model with an input of a named first dimension, and these initializers.
pub fn onnx(initializers: &[Vec<u8>]) -> Vec<u8> {
    let shape = [field(1, &field(2, b"batch")), field(1, &number(1, 3))].concat();
    let kind = field(1, &[number(1, 1), field(2, &shape)].concat());
    let put = |name: &str| [field(1, name.as_bytes()), field(2, &kind)].concat();
    let mut graph = [field(1, &field(4, b"Gemm")), field(2, b"net")].concat();
    initializers.iter().for_each(|tensor| graph.extend(field(5, tensor)));
    graph.extend([field(11, &put("x")), field(11, &put("w")), field(12, &put("y"))].concat());
    let opset = number(2, 17);
    let property = [field(1, b"license"), field(2, b"MIT")].concat();
    [number(1, 9), field(2, b"pytorch"), field(3, b"2.1"), field(7, &graph), field(8, &opset), field(14, &property)]
        .concat()
}

pub fn gguf() -> Vec<u8> {
    let text = |t: &str| [&(t.len() as u64).to_le_bytes()[..], t.as_bytes()].concat();
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend(2u64.to_le_bytes());
    file.extend(2u64.to_le_bytes());
    file.extend([text("general.architecture"), 8u32.to_le_bytes().to_vec(), text("llama")].concat());
    file.extend([text("tokens"), 9u32.to_le_bytes().to_vec(), 8u32.to_le_bytes().to_vec()].concat());
    file.extend([2u64.to_le_bytes().to_vec(), text("a"), text("b")].concat());
    for (name, dims, kind, offset) in [("t", &[3u64, 2][..], 0u32, 0u64), ("q", &[32, 1], 2, 32)] {
        file.extend(text(name));
        file.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|d| file.extend(d.to_le_bytes()));
        file.extend(kind.to_le_bytes());
        file.extend(offset.to_le_bytes());
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(f32s(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    file.extend([0; 8]);
    file.extend([7; 18]);
    file
}

/// A message of an object's header in HDF5.
pub fn hdf5_message(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &(content.len() as u16).to_le_bytes(), &[0], content].concat()
}

/// An object's header in HDF5, without a valid checksum.
pub fn hdf5_object(messages: &[Vec<u8>]) -> Vec<u8> {
    let all = messages.concat();
    [b"OHDR\x02\x02", &(all.len() as u32).to_le_bytes()[..], &all, &[0; 4]].concat()
}

/// A text as an attribute in HDF5.
pub fn hdf5_attribute(name: &str, value: &str) -> Vec<u8> {
    let kind = [&[0x13, 0, 0, 0][..], &(value.len() as u32).to_le_bytes()].concat();
    let sizes = [name.len() as u16 + 1, kind.len() as u16, 4].map(u16::to_le_bytes).concat();
    let content = [&[3, 0][..], &sizes, &[0], name.as_bytes(), &[0], &kind, &[2, 0, 0, 0], value.as_bytes()].concat();
    hdf5_message(0x0c, &content)
}

/// A link to an object in HDF5.
pub fn hdf5_link(name: &str, address: u64) -> Vec<u8> {
    hdf5_message(6, &[&[1, 0, name.len() as u8][..], name.as_bytes(), &address.to_le_bytes()].concat())
}

/// The header of a dataset of `f32` in HDF5, whose values are at an address.
pub fn hdf5_dataset(shape: &[u64], address: u64, bytes: u64) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|d| d.to_le_bytes()).collect();
    let float = [&[0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23][..], &127u32.to_le_bytes()].concat();
    hdf5_object(&[
        hdf5_message(1, &[&[2, shape.len() as u8, 0, 1][..], &dims].concat()),
        hdf5_message(3, &float),
        hdf5_message(8, &[&[3, 1][..], &address.to_le_bytes(), &bytes.to_le_bytes()].concat()),
    ])
}

/// A file of HDF5: the objects follow each other from byte 48, and the first is the root.
pub fn hdf5_file(objects: &[Vec<u8>]) -> Vec<u8> {
    let all = objects.concat();
    let end = 48 + all.len() as u64;
    let addresses = [0, u64::MAX, end, 48].map(u64::to_le_bytes).concat();
    [b"\x89HDF\r\n\x1a\n\x02\x08\x08\0", &addresses[..], &[0; 4], &all].concat()
}

/// A file of HDF5 with a text as an attribute of the root, and a dataset `w` of two numbers.
pub fn hdf5(attribute: &str, value: &str) -> Vec<u8> {
    let root = |address| hdf5_object(&[hdf5_attribute(attribute, value), hdf5_link("w", address)]);
    let dataset = 48 + root(0).len() as u64;
    let values = dataset + hdf5_dataset(&[2], 0, 8).len() as u64;
    hdf5_file(&[root(dataset), hdf5_dataset(&[2], values, 8), f32s(&[1.0, 2.0])])
}

/// `joblib.dump` of an object of scikit-learn with an array of two doubles.
pub fn joblib(values: &[f64; 2]) -> Vec<u8> {
    let mut p = b"\x80\x02csklearn.linear_model\nLogisticRegression\n)\x81}(".to_vec();
    p.extend(text("coef_"));
    p.extend(b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(");
    p.extend([text("shape"), b"K\x01K\x02\x86".to_vec(), text("order"), text("C"), text("dtype")].concat());
    p.extend([b"cnumpy\ndtype\n".to_vec(), text("f8"), b"\x89\x88\x87R(K\x03".to_vec(), text("<")].concat());
    p.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb");
    p.extend([text("numpy_array_alignment_bytes"), b"K\x10ub".to_vec()].concat());
    p.extend([&[3, 0xff, 0xff, 0xff][..], &f64s(values)].concat());
    p.extend([text("_sklearn_version"), text("1.5.0"), b"ub.".to_vec()].concat());
    p
}
