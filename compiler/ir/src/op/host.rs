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
            HostFn::WriteText => {
                &HostDef { name: "write_text", doc: "`(path: i64, i64)`: replaces a file's text.", effect: true }
            }
        }
    }

    pub fn from_name(name: &str) -> Option<HostFn> {
        HostFn::ALL.iter().copied().find(|f| f.def().name == name)
    }
}
