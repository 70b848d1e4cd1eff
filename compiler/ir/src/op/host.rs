//! Functions of the runtime on text and files: each takes and gives values without more ado, so that one row here and one
//! function in `runtime/src/host` are all that a new one needs.
//!
//! Text inside the IR's tensors is a number: [`HostFn::Intern`] gives equal texts equal `i64`s, [`HostFn::TextOf`] goes
//! back. So an array of text is a tensor, and everything that moves elements works on it.

/// A function of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostFn {
    Intern,
    TextOf,
    ShowTexts,
    TextOrder,
    TextRanks,
    TextLen,
    Utf8,
    TextFromUtf8,
    Lines,
    SplitText,
    ListDir,
    Env,
    WriteText,
    EntryNames,
    EntrySizes,
    ReadText,
    ReadCsv,
    ReadNpy,
    ReadNpz,
    ReadIdx,
    ReadImage,
    CheckArray,
    WriteCsv,
    WriteNpy,
    WriteNpz,
    WriteIdx,
    WriteImage,
}

/// What the compiler needs to know about one.
#[derive(Debug)]
pub struct HostDef {
    /// Also that of its function in the runtime.
    pub name: &'static str,
    pub doc: &'static str,
    /// Touches the world, or may fail: neither dropped nor moved.
    pub effect: bool,
}

impl HostFn {
    pub const ALL: &[HostFn] = &[
        HostFn::Intern,
        HostFn::TextOf,
        HostFn::ShowTexts,
        HostFn::TextOrder,
        HostFn::TextRanks,
        HostFn::TextLen,
        HostFn::Utf8,
        HostFn::TextFromUtf8,
        HostFn::Lines,
        HostFn::SplitText,
        HostFn::ListDir,
        HostFn::Env,
        HostFn::WriteText,
        HostFn::EntryNames,
        HostFn::EntrySizes,
        HostFn::ReadText,
        HostFn::ReadCsv,
        HostFn::ReadNpy,
        HostFn::ReadNpz,
        HostFn::ReadIdx,
        HostFn::ReadImage,
        HostFn::CheckArray,
        HostFn::WriteCsv,
        HostFn::WriteNpy,
        HostFn::WriteNpz,
        HostFn::WriteIdx,
        HostFn::WriteImage,
    ];

    pub fn def(self) -> &'static HostDef {
        match self {
            HostFn::Intern => &HostDef {
                name: "intern",
                doc: "`(str) -> i64`: the number of a text; equal texts have equal numbers.",
                effect: false,
            },
            HostFn::TextOf => &HostDef { name: "text_of", doc: "`(i64) -> str`: the text of a number.", effect: false },
            HostFn::ShowTexts => &HostDef {
                name: "show_texts",
                doc: "`(i64[..], format: i64) -> str`: an array of text as `print` shows it, a single one in quotes.",
                effect: false,
            },
            HostFn::TextOrder => &HostDef {
                name: "text_order",
                doc: "`(i64[..s], i64[..s]) -> i64[..s]`: -1, 0 or 1 as the first text is before, equal to or after the second.",
                effect: false,
            },
            HostFn::TextRanks => &HostDef {
                name: "text_ranks",
                doc: "`(i64[..s]) -> (i64[..s], k: i64, i64[k])`: the place of each text among the distinct ones in order, and those.",
                effect: false,
            },
            HostFn::TextLen => {
                &HostDef { name: "text_len", doc: "`(i64[..s]) -> i64[..s]`: numbers of characters.", effect: false }
            }
            HostFn::Utf8 => {
                &HostDef { name: "utf8", doc: "`(i64) -> (n: i64, u8[n])`: the bytes of a text.", effect: false }
            }
            HostFn::TextFromUtf8 => &HostDef {
                name: "text_from_utf8",
                doc: "`(u8[n]) -> i64`: a text from its bytes; others than UTF-8 are an error.",
                effect: true,
            },
            HostFn::Lines => {
                &HostDef { name: "lines", doc: "`(i64) -> (n: i64, i64[n])`: the lines of a text.", effect: false }
            }
            HostFn::SplitText => &HostDef {
                name: "split_text",
                doc: "`(i64, i64) -> (n: i64, i64[n])`: the parts of a text between separators; an empty separator means white space.",
                effect: false,
            },
            HostFn::ListDir => &HostDef {
                name: "list_dir",
                doc: "`(i64) -> (n: i64, i64[n])`: the names in a folder, in order.",
                effect: true,
            },
            HostFn::Env => &HostDef {
                name: "env",
                doc: "`(i64, i64) -> i64`: a variable of the environment, or the second text.",
                effect: true,
            },
            HostFn::EntryNames => &HostDef {
                name: "entry_names",
                doc: "`(path: i64) -> (n: i64, i64[n])`: the entries of a safetensors file, in order.",
                effect: true,
            },
            HostFn::EntrySizes => &HostDef {
                name: "entry_sizes",
                doc: "`(path: i64, name: i64, renamed: i64[n], i64[r]) -> i64[r]`: extents of an entry of r axes; no names: those of the file.",
                effect: true,
            },
            HostFn::ReadText => {
                &HostDef { name: "read_text", doc: "`(path: i64) -> i64`: a file's text.", effect: true }
            }
            HostFn::ReadCsv => &HostDef {
                name: "read_csv",
                doc: "`(path: i64, header: i64, want: i64[2], T[0]) -> (i64, i64, T[n, m])`: a table of numbers behind some lines. `want` has an extent for each axis, negative where the file decides.",
                effect: true,
            },
            HostFn::ReadNpy => &HostDef {
                name: "read_npy",
                doc: "`(path: i64, want: i64[r], T[0]) -> (i64…, T[..])`: NumPy's format, its extents first; one that is not wanted is an error.",
                effect: true,
            },
            HostFn::ReadNpz => &HostDef {
                name: "read_npz",
                doc: "`(path: i64, entry: i64, want: i64[r], T[0]) -> (i64…, T[..])`: an entry of a zip archive of npy files.",
                effect: true,
            },
            HostFn::ReadIdx => &HostDef {
                name: "read_idx",
                doc: "`(path: i64, want: i64[r], T[0]) -> (i64…, T[..])`: the format of the MNIST data sets.",
                effect: true,
            },
            HostFn::ReadImage => &HostDef {
                name: "read_image",
                doc: "`(path: i64, want: i64[r], T[0]) -> (i64…, T[..])`: rows, columns and, of three axes, channels; T is u8 or, from 0 to 1, a float.",
                effect: true,
            },
            HostFn::CheckArray => &HostDef {
                name: "check_array",
                doc: "`(path: i64, entry: i64, found: i64[r], want: i64[r], T[0])`: fails unless an array that was read has the extents wanted.",
                effect: true,
            },
            HostFn::WriteCsv => &HostDef {
                name: "write_csv",
                doc: "`(path: i64, T[..], names: i64[n])`: a matrix, or a vector as a column, as text; names of columns in the first line.",
                effect: true,
            },
            HostFn::WriteNpy => {
                &HostDef { name: "write_npy", doc: "`(path: i64, T[..])`: a file in NumPy's format.", effect: true }
            }
            HostFn::WriteNpz => &HostDef {
                name: "write_npz",
                doc: "`(path: i64, names: i64[n], T[..]…)`: a zip archive of npy files.",
                effect: true,
            },
            HostFn::WriteIdx => {
                &HostDef { name: "write_idx", doc: "`(path: i64, T[..])`: a file like those of MNIST.", effect: true }
            }
            HostFn::WriteImage => &HostDef {
                name: "write_image",
                doc: "`(path: i64, T[h, w] or T[h, w, c])`: an image; its name's end says the format.",
                effect: true,
            },
            HostFn::WriteText => {
                &HostDef { name: "write_text", doc: "`(path: i64, i64)`: replaces a file's text.", effect: true }
            }
        }
    }

    pub fn from_name(name: &str) -> Option<HostFn> {
        HostFn::ALL.iter().copied().find(|f| f.def().name == name)
    }
}
