//! Files of named tensors: the safetensors format, through its crate, and npz files.

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as Kind, TensorView};

use super::{Bytes, Want, check, npz, open};
use crate::abi::Dtype;

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

/// One entry of the file.
pub(super) struct Part<'a> {
    pub name: String,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

/// What an entry with `*` stands for: one for each index of its leading axes, in order.
pub(super) fn spread<'a>(e: &'a Named<'_>) -> Vec<Part<'a>> {
    let inner = &e.shape[e.name.matches('*').count().min(e.shape.len())..];
    let size = inner.iter().product::<usize>() * e.dtype.size();
    let part = |(i, name)| Part { name, shape: inner, bytes: &e.bytes[i * size..(i + 1) * size] };
    spread_names(e.name, &e.shape).into_iter().enumerate().map(part).collect()
}

fn spread_names(name: &str, shape: &[usize]) -> Vec<String> {
    let stars = name.matches('*').count().min(shape.len());
    let total: usize = shape[..stars].iter().product();
    (0..total)
        .map(|mut k| {
            let mut index = vec![0; stars];
            for (i, n) in shape[..stars].iter().enumerate().rev() {
                index[i] = k % n;
                k /= n;
            }
            index.iter().fold(name.to_owned(), |name, i| name.replacen('*', &i.to_string(), 1))
        })
        .collect()
}

/// Writes a file of named tensors, atomically: an npz file if its name ends so, else safetensors. A `*` in a name is an index over a leading
/// axis: `blocks.0.w`, `blocks.1.w`….
pub fn save(path: &str, entries: &[Named<'_>]) -> Result<(), String> {
    if path.ends_with(".npz") {
        return npz::write_npz(path, entries);
    }
    let cannot = |e: safetensors::SafeTensorError| format!("cannot write `{path}`: {e}");
    let mut views = Vec::new();
    for e in entries {
        for part in spread(e) {
            let view = TensorView::new(kind(e.dtype), part.shape.to_vec(), part.bytes).map_err(cannot)?;
            views.push((part.name, view));
        }
    }
    super::replace(path, |_, temporary| safetensors::serialize_to_file(views, None, temporary).map_err(cannot))
}

/// A file of named tensors, open for reading.
enum Archive<'f> {
    Safetensors { path: &'f str, all: SafeTensors<'f>, file: &'f Bytes },
    Npz(npz::Archive<'f>),
}

impl<'f> Archive<'f> {
    fn new(path: &'f str, file: &'f Bytes) -> Result<Archive<'f>, String> {
        if npz::is_npz(file) {
            return npz::Archive::new(path, file).map(Archive::Npz);
        }
        let all = SafeTensors::deserialize(file).map_err(|e| {
            let why = if file.is_empty() { "it is empty".to_owned() } else { e.to_string() };
            format!("`{path}` is no safetensors file, or a damaged one: {why}")
        })?;
        Ok(Archive::Safetensors { path, all, file })
    }

    /// In order.
    fn names(&self) -> Vec<String> {
        match self {
            Archive::Safetensors { all, .. } => {
                let mut names: Vec<String> = all.names().into_iter().map(|n| n.to_string()).collect();
                names.sort();
                names
            }
            Archive::Npz(a) => a.names(),
        }
    }

    fn shape(&mut self, name: &str) -> Result<Vec<usize>, String> {
        match self {
            Archive::Safetensors { path, all, .. } => Ok(view(path, all, name)?.shape().to_vec()),
            Archive::Npz(a) => Ok(a.head(name)?.shape),
        }
    }

    /// An entry that has this dtype and these extents; `own` is its name in the program.
    fn read(&mut self, name: &str, own: &str, want: &Want) -> Result<Bytes, String> {
        match self {
            Archive::Safetensors { path, all, file } => {
                let view = view(path, all, name)?;
                match Dtype::ALL.into_iter().find(|d| kind(*d) == view.dtype()) {
                    Some(dtype) => check(path, own, dtype, view.shape(), want)?,
                    None => {
                        return Err(format!("`{own}` in `{path}` is {:?}{:?}, not {want}", view.dtype(), view.shape()));
                    }
                }
                // the same bytes as a part of the file, which stays as it is
                let data = view.data();
                let start = data.as_ptr() as usize - file.as_ptr() as usize;
                Ok(file.part(start..start + data.len()))
            }
            Archive::Npz(a) => {
                let head = a.head(name)?;
                check(a.path(), own, head.dtype, &head.shape, want)?;
                Ok(a.array(name)?.bytes)
            }
        }
    }
}

fn view<'f>(path: &str, all: &SafeTensors<'f>, name: &str) -> Result<TensorView<'f>, String> {
    all.tensor(name).map_err(|e| format!("cannot read `{name}` from `{path}`: {e}"))
}

/// The names of a file's entries, in order.
pub fn entries(path: &str) -> Result<Vec<String>, String> {
    let file = open(path)?;
    Ok(Archive::new(path, &file)?.names())
}
/// The own names of a file's entries, in the order of [`entries`].
fn own_names(path: &str, names: Vec<String>, renamed: Option<&[u8]>) -> Result<Vec<(String, String)>, String> {
    let Some(renamed) = renamed else {
        return Ok(names.into_iter().map(|n| (n.clone(), n)).collect());
    };
    let own = renamed.chunks_exact(8).filter_map(|b| b.try_into().ok()).map(i64::from_le_bytes);
    let mut out: Vec<(String, String)> = Vec::new();
    for (own, foreign) in own.map(|n| crate::host::text_of(n).to_string()).zip(names) {
        if let Some((_, other)) = out.iter().find(|(o, _)| *o == own) {
            return Err(format!("`rename` gives `{other}` and `{foreign}` of `{path}` one name, `{own}`"));
        }
        out.push((own, foreign));
    }
    Ok(out)
}

/// Extents of an entry of `rank` axes, counted where the name has a `*`.
pub fn sizes(path: &str, name: &str, renamed: Option<&[u8]>, rank: usize) -> Result<Vec<usize>, String> {
    let file = open(path)?;
    let mut archive = Archive::new(path, &file)?;
    let names = own_names(path, archive.names(), renamed)?;
    let stars = name.matches('*').count();
    let mut name = name.to_owned();
    let mut out = Vec::new();
    for _ in 0..stars {
        let (before, _) = name.split_once('*').unwrap_or((&name, ""));
        let exists = |i: usize| {
            names.iter().any(|(own, _)| own.starts_with(&format!("{before}{i}.")) || *own == format!("{before}{i}"))
        };
        let n = (0..).take_while(|i| exists(*i)).count();
        out.push(n);
        name = name.replacen('*', "0", 1);
    }
    if out.contains(&0) {
        out.resize(rank, 0);
        return Ok(out);
    }
    let Some(at) = names.iter().position(|(own, _)| *own == name) else {
        return Err(missing(path, &name, &own(&names)));
    };
    let shape = archive.shape(&names[at].1)?;
    if stars + shape.len() != rank {
        let axes = |n: usize| format!("{n} {}", if n == 1 { "axis" } else { "axes" });
        return Err(format!(
            "`{name}` in `{path}` has {}, not {}",
            axes(shape.len()),
            axes(rank.saturating_sub(stars))
        ));
    }
    out.extend(shape);
    Ok(out)
}

fn own(names: &[(String, String)]) -> Vec<String> {
    names.iter().map(|(own, _)| own.clone()).collect()
}

pub(super) fn missing(path: &str, name: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("`{path}` has no entry `{name}`; it has none at all");
    }
    let shown: Vec<&str> = names.iter().take(12).map(String::as_str).collect();
    let more = if names.len() > shown.len() { ", …" } else { "" };
    format!("`{path}` has no entry `{name}`; it has {}{more}", shown.join(", "))
}

/// The elements of the wanted entries, each checked against its dtype and extents. `renamed` has the own names of the file's
/// entries as numbers of texts, in order. Entries that are not read are an error unless `extra`.
pub fn load(
    path: &str,
    wanted: &[(&str, Dtype, Vec<usize>)],
    renamed: Option<&[u8]>,
    extra: bool,
) -> Result<Vec<Bytes>, String> {
    let file = open(path)?;
    let mut archive = Archive::new(path, &file)?;
    let names = own_names(path, archive.names(), renamed)?;
    let mut read = vec![false; names.len()];
    let mut out = Vec::new();
    for (pattern, dtype, shape) in wanted {
        let stars = pattern.matches('*').count();
        let dims = shape[stars.min(shape.len())..].iter().map(|d| Some(*d)).collect();
        let want = Want { dtype: *dtype, dims };
        let mut parts = Vec::new();
        for name in spread_names(pattern, shape) {
            let Some(at) = names.iter().position(|(own, _)| *own == name) else {
                return Err(missing(path, &name, &own(&names)));
            };
            read[at] = true;
            parts.push(archive.read(&names[at].1, &name, &want)?);
        }
        out.push(match parts.as_slice() {
            [one] => one.clone(),
            all => all.iter().flat_map(|b| b.iter().copied()).collect::<Vec<u8>>().into(),
        });
    }
    let unread: Vec<&str> = names.iter().zip(&read).filter(|(_, r)| !**r).map(|((own, _), _)| own.as_str()).collect();
    if !extra && !unread.is_empty() {
        let shown: Vec<String> = unread.iter().take(12).map(|n| format!("`{n}`")).collect();
        let more = if unread.len() > shown.len() { ", …" } else { "" };
        return Err(format!(
            "`{path}` has entries that the type has not: {}{more} (`extra: true` allows them)",
            shown.join(", ")
        ));
    }
    Ok(out)
}
