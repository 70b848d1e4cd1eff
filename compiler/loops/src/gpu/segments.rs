//! Marks where work for the GPU begins that may be done again, so that the runtime can hand it over as a whole (`runtime/src/repeat.rs`).
//!
//! An iteration of a loop that launches kernels is such work, and what follows the loop is the next. Loops in loops are all marked, with how deep
//! they are: the runtime takes the outermost iterations that are not too long.
//!
//! ```text
//! for i in 0..n               for i in 0..n
//!   launch k(x)                 segment 0 at depth 1
//!   for j in 0..m               launch k(x)
//!     launch l(x)          →    for j in 0..m
//!   launch k(x)                   segment 1 at depth 2
//!                                 launch l(x)
//!                               segment 2 at depth 2
//!                               launch k(x)
//!                             segment 3 at depth 1
//! ```

use crate::ir::*;

pub fn mark(program: &mut Program) {
    let mut places = 0;
    for f in &mut program.funcs {
        block(&mut f.body, 1, &mut places);
    }
}

fn block(body: &mut Vec<Stmt>, depth: u32, places: &mut u32) {
    for mut s in std::mem::take(body) {
        let inner = match &mut s {
            Stmt::For(f) => Some(&mut f.body),
            Stmt::While(w) => Some(&mut w.body),
            Stmt::If(i) => {
                block(&mut i.then, depth, places);
                block(&mut i.els, depth, places);
                None
            }
            _ => None,
        };
        match inner.filter(|b| works(b)) {
            Some(inner) => {
                let first = segment(depth, places);
                block(inner, depth + 1, places);
                inner.insert(0, first);
                body.extend([s, segment(depth, places)]);
            }
            None => body.push(s),
        }
    }
}

fn segment(depth: u32, places: &mut u32) -> Stmt {
    let place = *places;
    *places += 1;
    // it cannot fail, so that its site is never looked at
    Stmt::Runtime { call: RuntimeCall::Segment { place, depth }, site: SiteId(0) }
}

/// Does a part of the host's code give the GPU something to do?
fn works(body: &[Stmt]) -> bool {
    body.iter().any(|s| {
        matches!(s, Stmt::Launch { .. } | Stmt::CopyBytes { .. } | Stmt::ZeroBytes { .. })
            || s.blocks().into_iter().any(works)
    })
}
