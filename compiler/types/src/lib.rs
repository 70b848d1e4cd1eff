//! Names, types, symbolic sizes: from the syntax tree to the typed AST of [`thir`], or to errors.
//!
//! [`check`] is the whole interface. No IO happens here: the modules of a program come parsed.

mod builtin;
mod carry;
mod check;
mod derivatives;
mod dump;
mod ids;
pub mod show;
pub mod size;
pub mod subst;
pub mod thir;
pub mod ty;
mod visit;

pub use carry::carry;
pub use check::{
    Binding, BuiltinHelp, Checked, CheckedEntry, Kept, Module, builtin_help, builtin_names, check, check_again,
    check_entry, nearest,
};
pub use derivatives::{Derivatives, derivatives};
pub use dump::dump;
pub use show::type_to_string;
pub use size::{Fact, SizeExpr, SizeVar};
pub use subst::Subst;
pub use ty::{Dim, Elem, GenericArg, Ty};
pub use visit::{is_endless, visit_bodies, visit_body};
