//! Sparse matrices of SciPy (`scipy.sparse.save_npz`): an archive of arrays with the stored values and their positions.

use super::npy;
use super::zip::Archive;
use super::{Contents, Format};
use crate::error::Result;
use crate::model::source::Source;
use crate::model::tensor::{Dtype, Shape, Tensor};

/// Arrays that describe the matrix, and are not part of its values.
pub const DESCRIPTIONS: &[&str] = &["format", "shape", "_is_array"];
/// The maximum size of such an array.
const SMALL: u64 = 4096;

/// How a matrix is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SparseLayout {
    /// Row by row: `indptr`, `indices`, `data`.
    Csr,
    /// Column by column.
    Csc,
    /// Like [`SparseLayout::Csr`], with small dense blocks.
    Bsr,
    /// `row` and `col`, or `coords`, and `data`.
    Coo,
    /// Diagonals: `offsets` and `data`.
    Dia,
}

/// What an archive says of its matrix. The arrays are tensors of the contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseMatrix {
    /// How it is stored.
    pub layout: SparseLayout,
    /// The length of each dimension: two, but for [`SparseLayout::Coo`].
    pub shape: Vec<u64>,
}

/// The matrix in an archive; `None` if these are arrays of another kind.
pub fn find(archive: &Archive) -> Result<Option<SparseMatrix>> {
    if archive.find("data.npy").is_none() {
        return Ok(None);
    }
    let (Some(layout), Some((Dtype::I64, shape))) = (small(archive, "format.npy")?, small(archive, "shape.npy")?)
    else {
        return Ok(None);
    };
    let word: Vec<u8> = layout.1.into_iter().filter(|b| *b != 0).collect();
    let layout = match &word[..] {
        b"csr" => SparseLayout::Csr,
        b"csc" => SparseLayout::Csc,
        b"bsr" => SparseLayout::Bsr,
        b"coo" => SparseLayout::Coo,
        b"dia" => SparseLayout::Dia,
        _ => return Ok(None),
    };
    let (shape, _) = shape.as_chunks::<8>();
    Ok(Some(SparseMatrix { layout, shape: shape.iter().map(|dim| u64::from_le_bytes(*dim)).collect() }))
}

/// The type and the bytes of a small little-endian array.
fn small(archive: &Archive, name: &str) -> Result<Option<(Dtype, Vec<u8>)>> {
    let Some(entry) = archive.find(name).filter(|entry| entry.size <= SMALL) else { return Ok(None) };
    let content = Source::of_bytes(archive.head(entry, SMALL)?, name);
    let Ok(header) = npy::header(&content) else { return Ok(None) };
    if header.big_endian || header.objects {
        return Ok(None);
    }
    let values = content.read(header.values, content.len().saturating_sub(header.values))?;
    Ok(Some((header.dtype, values)))
}

/// Checks that the arrays fit the description, and describes the matrix.
pub fn describe(source: &Source, matrix: SparseMatrix, contents: &mut Contents) -> Result<()> {
    let wrong = |why: String| source.refuse(format!("its arrays are not those of a sparse matrix: {why}"));
    let named = |name: &str| contents.tensors.iter().find(|tensor| tensor.name == name);
    let get = |name: &str| named(name).ok_or_else(|| wrong(format!("it has no `{name}`")));
    let data = get("data")?;
    let stored = data.shape.first().copied().unwrap_or(0);
    let has = |tensor: &Tensor, want: &[u64]| -> Result<()> {
        if tensor.shape == want {
            return Ok(());
        }
        Err(wrong(format!("`{}` has the shape {} and not {}", tensor.name, Shape(&tensor.shape), Shape(want))))
    };
    let rank = matrix.shape.len() as u64;
    if rank != 2 && matrix.layout != SparseLayout::Coo {
        return Err(wrong(format!("it has {rank} dimensions")));
    }
    let compressed = |lines: u64| -> Result<()> {
        has(get("indices")?, &[stored])?;
        has(get("indptr")?, &[lines.checked_add(1).unwrap_or(0)])
    };
    match matrix.layout {
        SparseLayout::Csr => compressed(matrix.shape[0])?,
        SparseLayout::Csc => compressed(matrix.shape[1])?,
        SparseLayout::Bsr => match data.shape[..] {
            [_, rows, columns] if rows > 0 && columns > 0 && matrix.shape[0].is_multiple_of(rows) => {
                compressed(matrix.shape[0] / rows)?;
            }
            _ => return Err(wrong(format!("its blocks have the shape {}", Shape(&data.shape)))),
        },
        SparseLayout::Coo if named("coords").is_some() => has(get("coords")?, &[rank, stored])?,
        SparseLayout::Coo if rank == 2 => {
            has(get("row")?, &[stored])?;
            has(get("col")?, &[stored])?;
        }
        SparseLayout::Coo => return Err(wrong("it has no `coords`".into())),
        SparseLayout::Dia if data.shape.len() == 2 => has(get("offsets")?, &[stored])?,
        SparseLayout::Dia => return Err(wrong(format!("its diagonals have the shape {}", Shape(&data.shape)))),
    }
    let word = format!("{:?}", matrix.layout).to_lowercase();
    let (dtype, values) = (data.dtype.name().to_string(), data.elements());
    contents.format = Format::Sparse;
    contents.add_metadata("layout", word);
    contents.add_metadata("shape", Shape(&matrix.shape));
    contents.add_metadata("type", dtype);
    contents.add_metadata("stored values", values);
    contents.sparse = Some(matrix);
    Ok(())
}
