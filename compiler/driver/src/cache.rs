//! Compiled objects on disk, keyed by content: a program that was compiled before starts without parsing anything.
//!
//! An entry is found by the hash of the compiler's build, the options and the main file's path and text. It lists the
//! other files that went into it, with their hashes, and holds the objects. Entries are written to a temporary file and
//! renamed, so a reader never sees half of one; anything unreadable counts as absent.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Entries beyond this many are removed, oldest first.
const MAX_ENTRIES: usize = 256;

pub type Hash = [u8; 32];

/// The cache folder, or a cache that never hits.
#[derive(Debug)]
pub struct Cache {
    dir: Option<PathBuf>,
}

impl Cache {
    /// `$TDL_CACHE_DIR`, or `tdl` in the user's cache folder.
    pub fn open() -> Cache {
        let dir = std::env::var_os("TDL_CACHE_DIR")
            .map(PathBuf::from)
            .or_else(|| directories::ProjectDirs::from("", "", "tdl").map(|d| d.cache_dir().to_owned()));
        Cache { dir }
    }

    pub fn disabled() -> Cache {
        Cache { dir: None }
    }

    /// The folder, if there is one.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// Key of a program.
    pub fn key(options: &str, path: &Path, text: &str) -> Hash {
        let mut h = blake3::Hasher::new();
        h.update(&build_id());
        for part in [options.as_bytes(), path.as_os_str().as_encoded_bytes(), text.as_bytes()] {
            h.update(&(part.len() as u64).to_le_bytes());
            h.update(part);
        }
        *h.finalize().as_bytes()
    }

    fn path(&self, key: &Hash) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(format!("{}.tdlo", blake3::Hash::from(*key).to_hex())))
    }

    /// The objects, if every file that they were made from is unchanged.
    pub fn get(&self, key: &Hash) -> Option<Vec<Vec<u8>>> {
        let bytes = std::fs::read(self.path(key)?).ok()?;
        let (files, objects) = decode(&bytes)?;
        files.iter().all(|(path, hash)| std::fs::read(path).is_ok_and(|t| blake3::hash(&t) == *hash)).then_some(objects)
    }

    /// Stores objects made from the main file (in the key) and `imports`. Failing to write is no error.
    pub fn put(&self, key: &Hash, imports: &[(PathBuf, &str)], objects: &[Vec<u8>]) {
        let Some(path) = self.path(key) else { return };
        let Some(dir) = path.parent() else { return };
        if std::fs::create_dir_all(dir).is_err() {
            return;
        }
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        if std::fs::write(&temporary, encode(imports, objects)).is_ok() && std::fs::rename(&temporary, &path).is_ok() {
            prune(dir);
        } else {
            let _ = std::fs::remove_file(&temporary);
        }
    }
}

/// Identifies this build of the compiler: version, and size and time of the executable.
fn build_id() -> Vec<u8> {
    let mut id = env!("CARGO_PKG_VERSION").as_bytes().to_vec();
    if let Ok(meta) = std::env::current_exe().and_then(std::fs::metadata) {
        id.extend(meta.len().to_le_bytes());
        if let Ok(time) = meta.modified().map(|t| t.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()) {
            id.extend(time.as_nanos().to_le_bytes());
        }
    }
    id
}

const MAGIC: &[u8; 8] = b"tdlobj2\n";

fn encode(imports: &[(PathBuf, &str)], objects: &[Vec<u8>]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend((imports.len() as u64).to_le_bytes());
    for (path, text) in imports {
        let path = path.as_os_str().as_encoded_bytes();
        out.extend((path.len() as u64).to_le_bytes());
        out.extend(path);
        out.extend(blake3::hash(text.as_bytes()).as_bytes());
    }
    let mut all = Vec::new();
    for object in objects {
        all.extend((object.len() as u64).to_le_bytes());
        all.extend(object);
    }
    out.extend(blake3::hash(&all).as_bytes());
    out.extend(all);
    out
}

/// Files with the hashes of their texts, and objects.
type Entry = (Vec<(PathBuf, blake3::Hash)>, Vec<Vec<u8>>);

fn decode(bytes: &[u8]) -> Option<Entry> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut take = |n: usize| -> Option<&[u8]> {
        let (head, tail) = rest.split_at_checked(n)?;
        rest = tail;
        Some(head)
    };
    let count = u64::from_le_bytes(take(8)?.try_into().ok()?);
    let mut files = Vec::new();
    for _ in 0..count {
        let len = u64::from_le_bytes(take(8)?.try_into().ok()?);
        let path = String::from_utf8(take(usize::try_from(len).ok()?)?.to_vec()).ok()?;
        let hash = blake3::Hash::from_bytes(take(32)?.try_into().ok()?);
        files.push((PathBuf::from(path), hash));
    }
    let hash = blake3::Hash::from_bytes(take(32)?.try_into().ok()?);
    if blake3::hash(rest) != hash {
        return None;
    }
    let mut objects = Vec::new();
    while !rest.is_empty() {
        let (len, after) = rest.split_at_checked(8)?;
        let len = u64::from_le_bytes(len.try_into().ok()?);
        let (object, after) = after.split_at_checked(usize::try_from(len).ok()?)?;
        objects.push(object.to_vec());
        rest = after;
    }
    Some((files, objects))
}

/// A file that is being written is younger than this; an older one was left by a process that was killed.
const WRITING: Duration = Duration::from_secs(3600);

fn prune(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut files: Vec<_> = Vec::new();
    for entry in entries.filter_map(|e| e.ok()) {
        let path = entry.path();
        let Some(time) = entry.metadata().ok().and_then(|m| m.modified().ok()) else { continue };
        match path.extension().and_then(|x| x.to_str()) {
            Some("tdlo") => files.push((time, path)),
            Some("tmp") if time.elapsed().is_ok_and(|age| age > WRITING) => {
                let _ = std::fs::remove_file(&path);
            }
            Some(_) | None => {}
        }
    }
    if files.len() > MAX_ENTRIES {
        files.sort();
        for (_, path) in &files[..files.len() - MAX_ENTRIES] {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_and_damage_is_noticed() {
        let bytes = encode(&[(PathBuf::from("a.tdl"), "x")], &[b"host".to_vec(), b"kernels".to_vec()]);
        let (files, objects) = decode(&bytes).expect("decodes");
        assert_eq!(objects, [b"host".to_vec(), b"kernels".to_vec()]);
        assert_eq!(files, vec![(PathBuf::from("a.tdl"), blake3::hash(b"x"))]);
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_none(), "cut at {cut}");
        }
    }
}
