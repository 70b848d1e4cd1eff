//! Error codes. `E01xx` syntax, `E02xx` names, `E03xx` types, `E04xx` shapes, `E05xx` differentiation, `E06xx` target
//! and linking, `E07xx` run time. Each has a page `codes/E0401.md` that `tdl explain` prints.

/// An error code such as `E0401`. Stages name their codes as constants in the table below, nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u16);

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "E{:04}", self.0)
    }
}

/// One row of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct CodeDef {
    pub code: Code,
    /// What went wrong, in a few words, lower case.
    pub title: &'static str,
    /// Markdown: what it means, a wrong and a right program (fenced as `tdl wrong` and `tdl`).
    pub page: &'static str,
}

/// Declares the codes of a stage: a constant each, and the rows of the catalogue.
macro_rules! codes {
    ($($name:ident = $number:literal, $title:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code($number);)*
        /// Every code there is, in order.
        pub const CODES: &[CodeDef] = &[$(CodeDef {
            code: $name,
            title: $title,
            page: include_str!(concat!("../codes/", stringify!($name), ".md")),
        }),*];
    };
}

codes! {
    E0101 = 101, "a character that is no part of the language";
    E0102 = 102, "spelling of another language";
    E0103 = 103, "something else was expected here";
    E0104 = 104, "brackets that do not fit";
    E0105 = 105, "brackets nested too deep";
    E0106 = 106, "a text that does not end, or an unknown escape";
    E0107 = 107, "an integer that is too large";
    E0201 = 201, "an unknown name";
    E0202 = 202, "a name that is defined twice";
    E0203 = 203, "no such field or method";
    E0204 = 204, "an unknown module";
    E0301 = 301, "types that do not fit";
    E0302 = 302, "element types that do not fit";
    E0303 = 303, "arguments that do not fit";
    E0304 = 304, "a call of something that is no function";
    E0305 = 305, "a value that nobody uses";
    E0306 = 306, "an assignment to what cannot change";
    E0307 = 307, "a cycle";
    E0308 = 308, "an operation that the type does not have";
    E0309 = 309, "a type that cannot be found out";
    E0310 = 310, "an item where it may not stand";
    E0311 = 311, "a generator that is used after it moved";
    E0312 = 312, "a struct without what an interface asks for";
    E0313 = 313, "an effect in a pure function";
    E0315 = 315, "one place that is changed twice by a call";
    E0316 = 316, "a spelling that only looks like a format or code";
    E0390 = 390, "part of the language that is not implemented yet";
    E0401 = 401, "shapes that do not fit";
    E0402 = 402, "shapes that do not broadcast";
    E0403 = 403, "a condition on sizes that does not hold";
    E0404 = 404, "a size that may be negative or does not divide";
    E0405 = 405, "an index out of range";
    E0406 = 406, "subscripts or axes that do not fit";
    E0407 = 407, "an index of a comprehension whose range is not known";
    E0408 = 408, "a pattern that does not fit";
    E0501 = 501, "a gradient of something that is no scalar";
    E0502 = 502, "nothing to differentiate";
    E0503 = 503, "a derivative of an effect";
    E0504 = 504, "a value on the way to the result has no derivative";
    E0505 = 505, "a derivative rule that does not fit its function";
    E0506 = 506, "a `wrt` that names no parameter";
    E0507 = 507, "results of mapped lanes that do not fit together";
    E0601 = 601, "no C compiler to link with";
    E0602 = 602, "the linker failed";
    E0603 = 603, "a program that is too large";
    E0604 = 604, "no GPU to run on";
    E0605 = 605, "no binary for this device";
    E0606 = 606, "a GPU driver that is too old";
    E0701 = 701, "an assertion failed";
    E0702 = 702, "an index out of range";
    E0703 = 703, "a size that does not fit";
    E0704 = 704, "an integer division by zero, or a negative power";
    E0705 = 705, "out of memory";
    E0706 = 706, "a file that cannot be read or written";
    E0707 = 707, "the program was interrupted";
    E0708 = 708, "a NaN, under `--trap-nan`";
    E0709 = 709, "the GPU failed";
    E0710 = 710, "the GPU was lost";
}
