//! Files of named tensors: the safetensors format, through its crate.

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as Kind, TensorView};

use crate::abi::Dtype;
use crate::fmt::type_name;

/// An entry to be saved.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    pub name: &'a str,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: &'a [u8],
}

fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F16 => Kind::F16,
        Dtype::Bf16 => Kind::BF16,
        Dtype::F32 => Kind::F32,
        Dtype::F64 => Kind::F64,
        Dtype::I8 => Kind::I8,
        Dtype::I16 => Kind::I16,
        Dtype::I32 => Kind::I32,
        Dtype::I64 => Kind::I64,
        Dtype::U8 => Kind::U8,
        Dtype::U32 => Kind::U32,
        Dtype::U64 => Kind::U64,
        Dtype::Bool => Kind::BOOL,
    }
}

/// Writes a file of named tensors, atomically.
pub fn save(path: &str, entries: &[Named<'_>]) -> Result<(), String> {
    let mut views = Vec::new();
    for e in entries {
        let view = TensorView::new(kind(e.dtype), e.shape.clone(), e.bytes)
            .map_err(|e| format!("cannot write `{path}`: {e}"))?;
        views.push((e.name.to_owned(), view));
    }
    let bytes = safetensors::serialize(views, None).map_err(|e| format!("cannot write `{path}`: {e}"))?;
    super::write(path, &[&bytes])
}

/// The elements of the wanted entries, each checked against its dtype and extents.
pub fn load(path: &str, wanted: &[(&str, Dtype, Vec<usize>)]) -> Result<Vec<Vec<u8>>, String> {
    let file = super::read(path)?;
    let all = SafeTensors::deserialize(&file)
        .map_err(|e| format!("`{path}` is no safetensors file, or a damaged one: {e}"))?;
    wanted
        .iter()
        .map(|(name, dtype, shape)| {
            let Ok(view) = all.tensor(name) else {
                let mut names = all.names().into_iter().map(|n| n.to_string()).collect::<Vec<_>>();
                names.sort();
                names.truncate(12);
                return Err(format!("`{path}` has no entry `{name}`; it has {}", names.join(", ")));
            };
            if view.dtype() != kind(*dtype) || view.shape() != shape.as_slice() {
                let found = Dtype::ALL.into_iter().find(|d| kind(*d) == view.dtype());
                let found =
                    found.map_or(format!("{:?}{:?}", view.dtype(), view.shape()), |d| type_name(d, view.shape()));
                return Err(format!("`{name}` in `{path}` is {found}, not {}", type_name(*dtype, shape)));
            }
            Ok(view.data().to_vec())
        })
        .collect()
}
