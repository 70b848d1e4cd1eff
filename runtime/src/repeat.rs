//! Work that a device does again and again, handed over as a whole: a graph, which starts at once what would be hundreds of launches.
//!
//! Host code says where an iteration of a loop begins (`segment`). What it has the device do until it reads something back, or until the
//! iteration ends, is a piece. A piece that was the same twice, but for addresses and scalars, becomes a graph. From then on its kernels and copies are
//! compared with those of the graph as they come, and start with the last of them; what has another address or scalar is changed in the graph
//! before. Where a piece differs (another size, another branch), what was held back starts one by one, and the new piece becomes a graph
//! when it comes again.
//!
//! So the order of all work is that of the program, and what the host reads has been computed. Only addresses that the device gave out are in graphs,
//! and what the allocator keeps for later stays valid: nothing is given back to the system while work is held back.

use std::collections::HashMap;

use crate::abi::Kernel;
use crate::device::{Device, Error, Result};
use crate::memory::Counters;

/// A graph has as many kernels and copies, at least: below, it starts no sooner than they do.
const SHORTEST: usize = 4;
/// … and at most: more keep the device waiting for the first one. Loops within are taken then.
const LONGEST: usize = 4096;
/// Graphs of a piece, for different sizes or branches.
const VARIANTS: usize = 4;
/// Kernels and copies in all graphs of a program.
const MOST: usize = 32768;
/// A piece that was never the same in so many iterations is no more looked at.
const PATIENCE: u32 = 16;

/// What a device is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Launch { kernel: *const Kernel, args: Box<[u64]>, range: i64 },
    Copy { to: *mut u8, from: *const u8, bytes: usize },
    Zero { to: *mut u8, bytes: usize },
}

impl Op {
    /// Equal but for addresses and scalars.
    fn is_like(&self, other: &Op) -> bool {
        match (self, other) {
            (Op::Launch { kernel, range, .. }, Op::Launch { kernel: k, range: r, .. }) => kernel == k && range == r,
            (Op::Copy { bytes, .. }, Op::Copy { bytes: b, .. })
            | (Op::Zero { bytes, .. }, Op::Zero { bytes: b, .. }) => bytes == b,
            _ => false,
        }
    }
}

/// A device that has graphs.
pub trait Machine: Device {
    type Graph;
    /// A graph that does these one after the other. An error only means that there is none.
    ///
    /// # Safety
    /// The arguments are the kernels', whose tables live as long as the device.
    unsafe fn build(&mut self, ops: &[Op]) -> Result<Self::Graph>;
    /// Puts another like it in the place of one, for later starts.
    ///
    /// # Safety
    /// As of [`Machine::build`].
    unsafe fn change(&mut self, graph: &mut Self::Graph, at: usize, op: &Op) -> Result<()>;
    /// Starts all of it, after what was started before.
    fn start(&mut self, graph: &Self::Graph) -> Result<()>;
    fn drop_graph(&mut self, graph: Self::Graph);
    /// Gives memory that nobody uses back to the system.
    fn trim(&mut self) -> Result<()>;
    /// Whether freed memory is still used by work that was held back.
    fn hold(&mut self, on: bool);
}

/// A machine whose repeated work is in graphs.
pub struct Repeating<M: Machine> {
    machine: M,
    on: bool,
    places: HashMap<u32, Place<M::Graph>>,
    here: Option<Here>,
    /// Kernels and copies in graphs.
    size: usize,
}

/// A place in the host's code where an iteration begins.
struct Place<G> {
    /// An iteration is too long for a graph.
    long: bool,
    pieces: Vec<Piece<G>>,
}

/// What is done from there, or from one reading to the next.
struct Piece<G> {
    graphs: Vec<Known<G>>,
    /// What was done the last times, where it was none of the graphs.
    recent: Vec<Vec<Op>>,
    /// How often it was something new.
    new: u32,
}

struct Known<G> {
    ops: Vec<Op>,
    graph: G,
}

/// Where the host's code is.
struct Here {
    place: u32,
    depth: u32,
    piece: usize,
    /// Of the iteration, so far.
    length: usize,
    state: State,
}

enum State {
    /// What comes is started, and remembered.
    Remembers(Vec<Op>),
    /// What has come is the beginning of this graph, and held back.
    Follows { graph: usize, held: Vec<Op> },
    /// All of this graph has come, and was started.
    Done { graph: usize },
    /// What comes is started.
    Passes,
}

impl<G> Default for Place<G> {
    fn default() -> Place<G> {
        Place { long: false, pieces: Vec::new() }
    }
}

impl<G> Default for Piece<G> {
    fn default() -> Piece<G> {
        Piece { graphs: Vec::new(), recent: Vec::new(), new: 0 }
    }
}

impl<G> Piece<G> {
    /// The graph that begins with these, the one used last before others.
    fn like(&self, held: &[Op], next: &Op) -> Option<usize> {
        let begins = |k: &Known<G>| {
            k.ops.get(held.len()).is_some_and(|o| o.is_like(next)) && k.ops.iter().zip(held).all(|(a, b)| a.is_like(b))
        };
        self.graphs.iter().rposition(begins)
    }
}

impl<M: Machine> Repeating<M> {
    /// `on`: otherwise all work starts as it comes.
    pub fn new(machine: M, on: bool) -> Repeating<M> {
        Repeating { machine, on, places: HashMap::new(), here: None, size: 0 }
    }

    fn begin(&mut self, op: &Op) -> Result<()> {
        match op {
            // SAFETY: whoever asked for the launch vouches for its arguments, which were copied; kernels live as long as the device
            Op::Launch { kernel, args, range } => unsafe { self.machine.launch(&**kernel, args.as_ptr(), *range) },
            Op::Copy { to, from, bytes } => self.machine.copy(*to, *from, *bytes),
            Op::Zero { to, bytes } => self.machine.zero(*to, *bytes),
        }
    }

    fn piece(&mut self, place: u32, piece: usize) -> &mut Piece<M::Graph> {
        let pieces = &mut self.places.entry(place).or_default().pieces;
        while pieces.len() <= piece {
            pieces.push(Piece::default());
        }
        &mut pieces[piece]
    }

    /// One more piece of work.
    fn perform(&mut self, op: Op) -> Result<()> {
        let Some(mut here) = self.here.take() else { return self.begin(&op) };
        here.length += 1;
        if here.length > LONGEST {
            self.settle(&mut here)?;
            self.forget(here.place);
            self.places.entry(here.place).or_default().long = true;
            return self.begin(&op);
        }
        let result = self.step(&mut here, op);
        self.here = Some(here);
        result
    }

    fn step(&mut self, here: &mut Here, op: Op) -> Result<()> {
        let piece = self.piece(here.place, here.piece);
        match &mut here.state {
            State::Remembers(list) if list.is_empty() && !piece.graphs.is_empty() => {
                if let Some(graph) = piece.like(&[], &op) {
                    here.state = State::Follows { graph, held: Vec::new() };
                    self.machine.hold(true);
                    return self.step(here, op);
                }
                list.push(op.clone());
                self.begin(&op)
            }
            State::Remembers(list) => {
                list.push(op.clone());
                self.begin(&op)
            }
            State::Passes => self.begin(&op),
            State::Done { graph } => {
                // it goes on: the longer piece is another
                let mut list = piece.graphs[*graph].ops.clone();
                list.push(op.clone());
                here.state = State::Remembers(list);
                self.begin(&op)
            }
            State::Follows { graph, held } => {
                let fits = piece.graphs[*graph].ops.get(held.len()).is_some_and(|o| o.is_like(&op));
                if !fits {
                    let Some(other) = piece.like(held, &op) else {
                        self.settle(here)?;
                        return self.step(here, op);
                    };
                    *graph = other;
                }
                held.push(op);
                if held.len() < piece.graphs[*graph].ops.len() {
                    return Ok(());
                }
                let (graph, held) = (*graph, std::mem::take(held));
                self.start(here, graph, held)
            }
        }
    }

    /// Starts a graph that does what was held back. If it can't, that starts one by one.
    fn start(&mut self, here: &mut Here, graph: usize, held: Vec<Op>) -> Result<()> {
        let known = &mut self.piece(here.place, here.piece).graphs;
        // the one used last is the last
        let mut k = known.remove(graph);
        let result = self.start_known(&mut k, &held);
        self.machine.hold(false);
        match result {
            Ok(()) => {
                let known = &mut self.piece(here.place, here.piece).graphs;
                known.push(k);
                here.state = State::Done { graph: known.len() - 1 };
                Ok(())
            }
            Err(e @ Error::Lost(_)) => {
                self.drop_known(k);
                Err(e)
            }
            Err(_) => {
                self.drop_known(k);
                self.piece(here.place, here.piece).new = PATIENCE;
                here.state = State::Passes;
                held.iter().try_for_each(|op| self.begin(op))
            }
        }
    }

    fn start_known(&mut self, k: &mut Known<M::Graph>, held: &[Op]) -> Result<()> {
        for (at, (old, new)) in k.ops.iter_mut().zip(held).enumerate() {
            if old != new {
                // SAFETY: whoever asked for the launch vouches for its arguments
                unsafe { self.machine.change(&mut k.graph, at, new) }?;
                old.clone_from(new);
            }
        }
        self.machine.start(&k.graph)
    }

    /// Starts what is held back.
    fn settle(&mut self, here: &mut Here) -> Result<()> {
        if let State::Follows { held, .. } = &mut here.state {
            let held = std::mem::take(held);
            let result = held.iter().try_for_each(|op| self.begin(op));
            here.state = State::Remembers(held);
            self.machine.hold(false);
            result?;
        }
        Ok(())
    }

    /// A piece ends: what it was is remembered, or made a graph.
    fn end_piece(&mut self, here: &mut Here) -> Result<()> {
        self.settle(here)?;
        let State::Remembers(list) = std::mem::replace(&mut here.state, State::Passes) else { return Ok(()) };
        if list.len() < SHORTEST {
            return Ok(());
        }
        let full = self.size + list.len() > MOST;
        let piece = self.piece(here.place, here.piece);
        let same = |old: &Vec<Op>| old.len() == list.len() && old.iter().zip(&list).all(|(a, b)| a.is_like(b));
        let Some(known) = piece.recent.iter().position(same) else {
            piece.new += 1;
            if piece.recent.len() == VARIANTS {
                piece.recent.remove(0);
            }
            piece.recent.push(list);
            return Ok(());
        };
        piece.recent.remove(known);
        if full {
            piece.new = PATIENCE;
            return Ok(());
        }
        let old = (piece.graphs.len() == VARIANTS).then(|| piece.graphs.remove(0));
        if let Some(old) = old {
            self.drop_known(old);
        }
        // SAFETY: whoever asked for the launches vouches for their arguments
        let built = unsafe { self.machine.build(&list) };
        let size = list.len();
        let piece = self.piece(here.place, here.piece);
        match built {
            Ok(graph) => {
                piece.graphs.push(Known { ops: list, graph });
                piece.new = 0;
                self.size += size;
            }
            Err(e @ Error::Lost(_)) => return Err(e),
            // it goes on without one
            Err(_) => piece.new = PATIENCE,
        }
        Ok(())
    }

    /// The state in which a piece begins.
    fn fresh(&mut self, place: u32, piece: usize) -> State {
        let p = self.piece(place, piece);
        if p.graphs.is_empty() && p.new >= PATIENCE { State::Passes } else { State::Remembers(Vec::new()) }
    }

    /// The host waits for the device, or writes to it: what comes is another piece.
    fn cut(&mut self) -> Result<()> {
        let Some(mut here) = self.here.take() else { return Ok(()) };
        let result = self.end_piece(&mut here);
        here.piece += 1;
        here.state = self.fresh(here.place, here.piece);
        self.here = Some(here);
        result
    }

    fn drop_known(&mut self, k: Known<M::Graph>) {
        self.size -= k.ops.len().min(self.size);
        self.machine.drop_graph(k.graph);
    }

    /// Drops all that is known of a place.
    fn forget(&mut self, place: u32) {
        let pieces = self.places.get_mut(&place).map(|p| std::mem::take(&mut p.pieces)).unwrap_or_default();
        for k in pieces.into_iter().flat_map(|p| p.graphs) {
            self.drop_known(k);
        }
    }

    fn forget_all(&mut self) {
        let mut places: Vec<u32> = self.places.keys().copied().collect();
        places.sort_unstable();
        places.into_iter().for_each(|p| self.forget(p));
    }

    /// Starts what is held back, and leaves the place.
    fn leave(&mut self) -> Result<()> {
        match self.here.take() {
            Some(mut here) => self.settle(&mut here),
            None => Ok(()),
        }
    }
}

impl<M: Machine> Device for Repeating<M> {
    fn alloc(&mut self, bytes: usize) -> Result<*mut u8> {
        match self.machine.alloc(bytes) {
            Err(Error::Memory(_)) => {
                // what is held back uses memory that was freed
                self.leave()?;
                self.forget_all();
                self.machine.trim()?;
                self.machine.alloc(bytes)
            }
            given => given,
        }
    }

    fn free(&mut self, ptr: *mut u8) {
        self.machine.free(ptr);
    }

    fn free_all(&mut self) {
        // an error of a program that has ended is no more of interest
        let _ = self.leave();
        self.machine.free_all();
    }

    fn counters(&self) -> Counters {
        self.machine.counters()
    }

    fn read(&mut self, to: &mut [u8], from: *const u8) -> Result<()> {
        self.cut()?;
        self.machine.read(to, from)
    }

    fn write(&mut self, to: *mut u8, from: &[u8]) -> Result<()> {
        self.cut()?;
        self.machine.write(to, from)
    }

    fn copy(&mut self, to: *mut u8, from: *const u8, bytes: usize) -> Result<()> {
        if bytes == 0 { Ok(()) } else { self.perform(Op::Copy { to, from, bytes }) }
    }

    fn zero(&mut self, to: *mut u8, bytes: usize) -> Result<()> {
        if bytes == 0 { Ok(()) } else { self.perform(Op::Zero { to, bytes }) }
    }

    unsafe fn launch(&mut self, kernel: &Kernel, args: *const u64, range: i64) -> Result<()> {
        if self.here.is_none() {
            // SAFETY: by contract
            return unsafe { self.machine.launch(kernel, args, range) };
        }
        // SAFETY: by contract there are as many
        let args = unsafe { crate::start::slice(args, kernel.n_params.into()) };
        self.perform(Op::Launch { kernel, args: args.into(), range })
    }

    fn segment(&mut self, place: u32, depth: u32) -> Result<()> {
        if !self.on {
            return Ok(());
        }
        // a loop in an iteration that is handed over as a whole
        if self.here.as_ref().is_some_and(|h| h.depth < depth) {
            return Ok(());
        }
        let ended = match self.here.take() {
            Some(mut here) => self.end_piece(&mut here),
            None => Ok(()),
        };
        if !self.places.entry(place).or_default().long {
            let state = self.fresh(place, 0);
            self.here = Some(Here { place, depth, piece: 0, length: 0, state });
        }
        ended
    }

    fn measure(&mut self) {
        self.on = false;
        self.machine.measure();
    }

    fn took(&mut self) -> Option<u64> {
        self.machine.took()
    }

    fn finish(&mut self) -> Result<()> {
        self.cut()?;
        self.machine.finish()
    }
}

impl<M: Machine> Drop for Repeating<M> {
    fn drop(&mut self) {
        let _ = self.leave();
        self.forget_all();
    }
}

#[cfg(test)]
mod tests;
