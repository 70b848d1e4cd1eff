//! Kernels under construction: captured scalars and buffers become parameters; equal kernels are kept once.

use rustc_hash::FxHashMap;
use tdl_ir::Dtype;

use crate::buffers::BufId;
use crate::code::Code;
use crate::ir::*;
use crate::lower::Lower;
use crate::nest::{STREAM_BLOCK, WHOLE_BLOCK};
use crate::size::Size;

pub struct KernelCode {
    pub code: Code,
    params: Vec<KernelParam>,
    args: Vec<Operand>,
    captured: FxHashMap<Operand, Operand>,
    bufs: FxHashMap<BufId, (Reg, usize)>,
    /// Operations in order of appearance, for the name.
    pub words: Vec<String>,
}

impl KernelCode {
    pub fn new() -> KernelCode {
        let mut code = Code::new();
        code.begin_memo();
        KernelCode {
            code,
            params: Vec::new(),
            args: Vec::new(),
            captured: FxHashMap::default(),
            bufs: FxHashMap::default(),
            words: Vec::new(),
        }
    }

    /// What was captured of the host.
    pub fn into_parts(self) -> (Vec<KernelParam>, Vec<Operand>) {
        (self.params, self.args)
    }

    /// A host operand inside the kernel.
    pub fn capture(&mut self, o: Operand, host: &Code) -> Operand {
        let Operand::Reg(r) = o else { return o };
        if let Some(inner) = self.captured.get(&o) {
            return *inner;
        }
        let data = &host.regs[r.0 as usize];
        let reg = self.code.named(data.ty, data.name.clone());
        self.params.push(KernelParam { reg, access: Access::Read });
        self.args.push(o);
        self.captured.insert(o, reg.into());
        reg.into()
    }

    /// The pointer to a buffer, if the kernel has used it.
    pub fn known(&self, id: BufId) -> Option<Reg> {
        self.bufs.get(&id).map(|(reg, _)| *reg)
    }

    fn buffer(&mut self, id: BufId, ptr: Reg, access: Access, host: &Code) -> Reg {
        if let Some((reg, at)) = self.bufs.get(&id) {
            let p = &mut self.params[*at];
            if p.access != access {
                p.access = Access::ReadWrite;
            }
            return *reg;
        }
        let name = host.regs[ptr.0 as usize].name.clone();
        let reg = self.code.named(RegTy::Ptr, name);
        self.bufs.insert(id, (reg, self.params.len()));
        self.params.push(KernelParam { reg, access });
        self.args.push(ptr.into());
        reg
    }
}

/// What one step of a kernel's range costs.
#[derive(Clone, Debug)]
pub struct Work {
    /// Elements per step of the range.
    pub elements: Size,
    /// Vectorised operations per element; see [`MEMORY_COST`].
    pub cost: i64,
}

/// What reading or writing an element costs, in vectorised operations on it.
pub const MEMORY_COST: i64 = 4;

/// A chunk should run this long to be worth a thread (about 10 µs), in vectorised operations.
const CHUNK_WORK: i64 = 1 << 19;

/// Steps of `elements` each per chunk, constant. Chunks of many steps begin where a cache line and a block do.
fn per_chunk(cost: i64, elements: i64) -> i64 {
    let steps = (CHUNK_WORK / cost.max(1) / elements).max(1);
    let whole = STREAM_BLOCK / gcd(elements, STREAM_BLOCK);
    if steps > whole { steps - steps % whole } else { steps }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Lower<'_> {
    /// Pointer to a buffer where elements are computed now.
    pub fn pointer(&mut self, buf: BufId, access: Access) -> Reg {
        if let Some(local) = self.rows.iter().find(|r| r.buf == buf).and_then(|r| r.local) {
            return local;
        }
        let ptr = self.bufs[buf.0].ptr;
        match &mut self.kernel {
            Some(k) => k.buffer(buf, ptr, access, &self.host),
            None => ptr,
        }
    }

    pub fn word(&mut self, w: impl FnOnce() -> String) {
        if let Some(k) = &mut self.kernel
            && k.words.len() < 5
        {
            k.words.push(w());
        }
    }

    /// Writes a kernel over `0..range` and launches it; tiny work is done in host code on the spot. `body` gets the bounds of
    /// its part of the range.
    pub fn launch(&mut self, kind: &str, range: &Size, work: Work, body: impl FnOnce(&mut Self, Operand, Operand)) {
        assert!(self.kernel.is_none(), "kernels do not nest");
        let total = range.mul(&work.elements).as_const();
        let range_value = self.size(range);
        if total.is_some_and(|t| t <= 8) && !self.on_gpu() {
            self.host.begin_memo();
            body(self, Operand::i64(0), range_value);
            self.host.end_memo();
            self.tally = None;
            return;
        }
        let grain = self.grain(&work);
        self.launch_over(kind, range_value, grain, body);
    }

    /// Like [`Lower::launch`], with a range and a grain in host registers.
    pub fn launch_over(
        &mut self,
        kind: &str,
        range: Operand,
        grain: Operand,
        body: impl FnOnce(&mut Self, Operand, Operand),
    ) {
        self.launch_with(kind, range, grain, |l| {
            let [lo, hi] = ["lo", "hi"].map(|name| l.code().named(RegTy::Scalar(Dtype::I64), Some(name.into())));
            body(l, lo.into(), hi.into());
            (lo, hi, None)
        });
    }

    /// `body` writes all of the kernel, and gives its bounds and how it is spread over a GPU.
    pub fn launch_with(
        &mut self,
        kind: &str,
        range: Operand,
        grain: Operand,
        body: impl FnOnce(&mut Self) -> (Reg, Reg, Option<Grid>),
    ) {
        self.kernel = Some(KernelCode::new());
        self.open_scratch();
        let (lo, hi, grid) = body(self);
        let mut k = self.kernel.take().expect("the kernel is open");
        k.code.end_memo();
        let body = k.code.blocks.pop().expect("the body is open");
        let words = if k.words.is_empty() { String::new() } else { format!(".{}", k.words.join("_")) };
        let name = format!("{kind}{words}");
        let kernel = Kernel { name, regs: k.code.regs, params: k.params, lo, hi, body, grid };
        let kernel = self.intern(kernel);
        self.perform(Stmt::Launch { kernel, args: k.args, range, grain });
    }

    /// The kernel's number; equal ones share one. Adds it to the name.
    pub fn intern(&mut self, kernel: Kernel) -> KernelId {
        let types: Vec<RegTy> = kernel.regs.iter().map(|r| r.ty).collect();
        let key = format!("{types:?} {:?} {:?} {:?}", kernel.params, kernel.body, kernel.grid);
        let kernels = &mut self.shared.program.kernels;
        *self.shared.kernels.entry(key).or_insert_with(|| {
            let name = format!("{}.k{}", kernel.name, kernels.len());
            kernels.push(Kernel { name, ..kernel });
            KernelId(kernels.len() as u32 - 1)
        })
    }

    /// Do all chunks of `0..range` begin and end with a whole block?
    pub fn whole_chunks(&self, range: &Size, cost: i64) -> bool {
        let grain = per_chunk(cost, 1);
        range.as_const().is_some_and(|n| n % WHOLE_BLOCK == 0 && (n <= grain || grain % WHOLE_BLOCK == 0))
    }

    /// Steps per parallel chunk.
    pub fn grain(&mut self, work: &Work) -> Operand {
        match work.elements.as_const() {
            Some(e) => Operand::i64(per_chunk(work.cost, e.max(1))),
            None => {
                let e = self.size(&work.elements);
                let e = self.host.max(e, Operand::i64(1));
                let g = self.host.div(Operand::i64(CHUNK_WORK / work.cost.max(1)), e);
                self.host.max(g, Operand::i64(1))
            }
        }
    }
}
