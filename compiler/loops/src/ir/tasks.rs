//! What a profile records.

use super::{Operand, Reg, SiteId};

/// Index into [`super::Program::tasks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId(pub u32);

/// A launch or call at one place in the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// The kernel's name, or what the runtime does.
    pub name: String,
    pub kind: TaskKind,
    pub site: SiteId,
    /// It computes in f64, for which a processor has a limit of its own.
    pub double: bool,
}

/// What a task's time was spent on. The order is the runtime's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// Arithmetic on tensors, and copies of them.
    Kernel,
    Allocation,
    Printing,
    /// Files, texts, the environment.
    Files,
}

/// What was done since a clock was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tock {
    pub task: TaskId,
    pub since: Reg,
    /// Operations, and bytes that were read or written at least.
    pub flops: Operand,
    pub bytes: Operand,
    /// Extents of what was computed.
    pub dims: Vec<Operand>,
}
