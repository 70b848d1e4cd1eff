//! What names stand for while a body is elaborated.

use std::rc::Rc;

use rustc_hash::FxHashMap;
use tdl_ir::Dim;
use tdl_types::thir::{Body, GenericId, LocalId, OpenId};

use crate::rty::{RArg, RTy};
use crate::val::Val;

/// A variable of the elaborator: the user's, or a flag that stands for control flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    Local(LocalId),
    /// The function has returned.
    Returned,
    /// With this value.
    Result,
    /// The loop at this depth has been left.
    Broken(u32),
    /// The iteration of the loop at this depth is over.
    Continued(u32),
}

#[derive(Clone, Debug)]
pub struct Env<'p> {
    pub body: &'p Body,
    pub vars: FxHashMap<Slot, Val<'p>>,
    pub opens: FxHashMap<OpenId, Dim>,
    pub generics: FxHashMap<GenericId, RArg<'p>>,
    /// Number of loops around, in this body.
    pub depth: u32,
    /// Of the function, while flags are in use.
    pub result: Option<Rc<RTy<'p>>>,
    /// `return` sets flags; otherwise each `return` stands where the function ends.
    pub flags: bool,
}

impl<'p> Env<'p> {
    pub fn empty(body: &'p Body) -> Env<'p> {
        Env {
            body,
            vars: FxHashMap::default(),
            opens: FxHashMap::default(),
            generics: FxHashMap::default(),
            depth: 0,
            result: None,
            flags: false,
        }
    }

    pub fn local(&self, id: LocalId) -> Option<&Val<'p>> {
        self.vars.get(&Slot::Local(id))
    }

    pub fn set(&mut self, id: LocalId, val: Val<'p>) {
        self.vars.insert(Slot::Local(id), val);
    }
}
