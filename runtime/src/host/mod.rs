//! Functions on text and files that take and give plain values: one Rust function each, called by generated code through
//! [`crate::abi::calls`] and by the reference interpreter directly.
//!
//! A new one is a function here, its name in [`host_functions`], and a row of the compiler's `HostFn`.

mod arrays;
mod text;
mod trees;

use crate::abi::Dtype;
use crate::files::Bytes;
pub use text::{intern, text_of};

/// An argument.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Text(&'a str),
    Tensor { dtype: Dtype, shape: Vec<usize>, bytes: &'a [u8] },
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Text(String),
    Int(i64),
    Bool(bool),
    /// The elements of a tensor; its extents are other results, or those of an argument.
    Tensor {
        dtype: Dtype,
        shape: Vec<usize>,
        bytes: Bytes,
    },
}

/// What every function here gives. An error is the message of the run-time error.
pub type Outs = Result<Vec<Out>, String>;

/// Calls `$then!` with the name of every function.
macro_rules! host_functions {
    ($then:ident) => {
        $then! {
            intern text::intern_text;
            text_of text::text_of_number;
            show_texts text::show_texts;
            text_order text::order;
            text_ranks text::ranks;
            text_len text::len;
            utf8 text::utf8;
            text_from_utf8 text::from_utf8;
            lines text::lines;
            split_text text::split;
            list_dir text::list_dir;
            env text::env;
            read_text text::read_text;
            write_text text::write_text;
            read_csv arrays::read_csv;
            read_npy arrays::read_npy;
            read_npz arrays::read_npz;
            read_idx arrays::read_idx;
            read_image arrays::read_image;
            check_array arrays::check_array;
            write_csv arrays::write_csv;
            write_npy arrays::write_npy;
            write_npz arrays::write_npz;
            write_idx arrays::write_idx;
            write_image arrays::write_image;
            entry_names trees::names;
            entry_sizes trees::sizes;
        }
    };
}
pub(crate) use host_functions;

macro_rules! table {
    ($($name:ident $path:path;)*) => {
        /// The function of this name.
        pub fn find(name: &str) -> Option<fn(&[Value<'_>]) -> Outs> {
            match name {
                $(stringify!($name) => Some($path),)*
                _ => None,
            }
        }

        /// The functions by their names.
        pub(crate) mod all {
            use super::{Outs, Value, arrays, text, trees};

            $(pub fn $name(args: &[Value<'_>]) -> Outs { $path(args) })*
        }
    };
}
host_functions!(table);

/// What a wrong number or kind of arguments is: the compiler's mistake, told as such.
fn wrong(name: &str) -> String {
    format!("`{name}` was called with other arguments than it takes; this is a mistake of the compiler")
}
