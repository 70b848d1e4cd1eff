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

/// Names and extents of what an entry with `*` stands for: one for each index of its leading axes, in order.
fn spread(name: &str, shape: &[usize]) -> Vec<String> {
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

/// Writes a file of named tensors, atomically. A `*` in a name is an index over a leading axis: `blocks.0.w`, `blocks.1.w`….
pub fn save(path: &str, entries: &[Named<'_>]) -> Result<(), String> {
    let cannot = |e: safetensors::SafeTensorError| format!("cannot write `{path}`: {e}");
    let mut views = Vec::new();
    for e in entries {
        let stars = e.name.matches('*').count();
        let inner = e.shape[stars..].to_vec();
        let bytes = inner.iter().product::<usize>() * e.dtype.size();
        for (i, name) in spread(e.name, &e.shape).into_iter().enumerate() {
            let view = TensorView::new(kind(e.dtype), inner.clone(), &e.bytes[i * bytes..(i + 1) * bytes]);
            views.push((name, view.map_err(cannot)?));
        }
    }
    let bytes = safetensors::serialize(views, None).map_err(cannot)?;
    super::write(path, &[&bytes])
}

fn parse<'f>(path: &str, file: &'f [u8]) -> Result<SafeTensors<'f>, String> {
    SafeTensors::deserialize(file).map_err(|e| format!("`{path}` is no safetensors file, or a damaged one: {e}"))
}

/// The entries of a file and their extents, by name.
pub fn entries(path: &str) -> Result<Vec<(String, Vec<usize>)>, String> {
    let file = super::read(path)?;
    let all = parse(path, &file)?;
    let mut out: Vec<(String, Vec<usize>)> =
        all.iter().map(|(name, v)| (name.to_owned(), v.shape().to_vec())).collect();
    out.sort();
    Ok(out)
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
    let all = entries(path)?;
    let names = own_names(path, all.iter().map(|(n, _)| n.clone()).collect(), renamed)?;
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
    let Some(at) = names.iter().position(|(own, _)| *own == name) else { return Err(missing(path, &name, &names)) };
    let shape = &all[at].1;
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

fn missing(path: &str, name: &str, names: &[(String, String)]) -> String {
    let shown: Vec<&str> = names.iter().take(12).map(|(own, _)| own.as_str()).collect();
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
) -> Result<Vec<Vec<u8>>, String> {
    let file = super::read(path)?;
    let all = parse(path, &file)?;
    let mut names: Vec<String> = all.names().into_iter().map(|n| n.to_string()).collect();
    names.sort();
    let names = own_names(path, names, renamed)?;
    let mut read = vec![false; names.len()];
    let mut out = Vec::new();
    for (pattern, dtype, shape) in wanted {
        let stars = pattern.matches('*').count();
        let inner = &shape[stars.min(shape.len())..];
        let mut bytes = Vec::new();
        for name in spread(pattern, shape) {
            let Some(at) = names.iter().position(|(own, _)| *own == name) else {
                return Err(missing(path, &name, &names));
            };
            read[at] = true;
            let view = all.tensor(&names[at].1).map_err(|e| format!("cannot read `{name}` from `{path}`: {e}"))?;
            if view.dtype() != kind(*dtype) || view.shape() != inner {
                let found = Dtype::ALL.into_iter().find(|d| kind(*d) == view.dtype());
                let found =
                    found.map_or(format!("{:?}{:?}", view.dtype(), view.shape()), |d| type_name(d, view.shape()));
                return Err(format!("`{name}` in `{path}` is {found}, not {}", type_name(*dtype, inner)));
            }
            bytes.extend_from_slice(view.data());
        }
        out.push(bytes);
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
