//! Graphs of the driver: a chain of kernels, copies and memory to be cleared.

use std::ffi::c_void;

use cudarc::driver::{result, sys};

use super::{Cuda, Start, error, parameters};
use crate::device::Result;
use crate::repeat::{Machine, Op};

/// A graph that can be started, and that which it was made of.
pub struct Graph {
    graph: sys::CUgraph,
    /// Null until it is made.
    exec: sys::CUgraphExec,
    nodes: Vec<sys::CUgraphNode>,
}

/// What a node does, as the driver takes it.
enum Node {
    Kernel(sys::CUDA_KERNEL_NODE_PARAMS),
    Copy(sys::CUDA_MEMCPY3D),
    Zero(sys::CUDA_MEMSET_NODE_PARAMS),
}

impl Cuda {
    /// Calls `f` with what the driver takes of an op; it is valid for the call.
    fn node<T>(&mut self, op: &Op, f: impl FnOnce(&mut Cuda, Node) -> Result<T>) -> Result<T> {
        let params: Vec<*mut c_void>;
        let node = match op {
            Op::Launch { kernel, args, range } => {
                // SAFETY: by contract of `Machine` the kernel's table lives
                let kernel = unsafe { &**kernel };
                let Start { function, blocks } = self.prepare(kernel, *range)?;
                params = parameters(kernel, args.as_ptr(), range);
                // SAFETY: zeros are a valid value of it
                let mut p: sys::CUDA_KERNEL_NODE_PARAMS = unsafe { std::mem::zeroed() };
                (p.func, p.gridDimX, p.gridDimY, p.gridDimZ) = (function, blocks, 1, 1);
                (p.blockDimX, p.blockDimY, p.blockDimZ) = (kernel.threads, 1, 1);
                p.kernelParams = params.as_ptr().cast_mut();
                Node::Kernel(p)
            }
            Op::Copy { to, from, bytes } => {
                let mut p = std::mem::MaybeUninit::<sys::CUDA_MEMCPY3D>::zeroed();
                // SAFETY: zeros are valid but for these two
                let mut p = unsafe {
                    (&raw mut (*p.as_mut_ptr()).srcMemoryType).write(sys::CUmemorytype::CU_MEMORYTYPE_DEVICE);
                    (&raw mut (*p.as_mut_ptr()).dstMemoryType).write(sys::CUmemorytype::CU_MEMORYTYPE_DEVICE);
                    p.assume_init()
                };
                (p.srcDevice, p.dstDevice) = (*from as u64, *to as u64);
                (p.WidthInBytes, p.Height, p.Depth) = (*bytes, 1, 1);
                // one row
                (p.srcPitch, p.srcHeight, p.dstPitch, p.dstHeight) = (*bytes, 1, *bytes, 1);
                Node::Copy(p)
            }
            Op::Zero { to, bytes } => {
                // SAFETY: zeros are a valid value of it
                let mut p: sys::CUDA_MEMSET_NODE_PARAMS = unsafe { std::mem::zeroed() };
                let size = if bytes.is_multiple_of(4) { 4 } else { 1 };
                (p.dst, p.elementSize, p.width, p.height) = (*to as u64, size, *bytes / size as usize, 1);
                Node::Zero(p)
            }
        };
        f(self, node)
    }
}

impl Machine for Cuda {
    type Graph = Graph;

    unsafe fn build(&mut self, ops: &[Op]) -> Result<Graph> {
        let mut made = Graph { graph: std::ptr::null_mut(), exec: std::ptr::null_mut(), nodes: Vec::new() };
        let result = self.fill(&mut made, ops);
        match result {
            Ok(()) => Ok(made),
            Err(e) => {
                self.drop_graph(made);
                Err(e)
            }
        }
    }

    unsafe fn change(&mut self, graph: &mut Graph, at: usize, op: &Op) -> Result<()> {
        let (exec, node) = (graph.exec, graph.nodes[at]);
        self.node(op, |cuda, new| {
            // SAFETY: the node is the graph's, and of this kind; the driver copies what it is given
            let code = unsafe {
                match new {
                    Node::Kernel(p) => sys::cuGraphExecKernelNodeSetParams_v2(exec, node, &p),
                    Node::Copy(p) => sys::cuGraphExecMemcpyNodeSetParams(exec, node, &p, cuda.context.handle()),
                    Node::Zero(p) => sys::cuGraphExecMemsetNodeSetParams(exec, node, &p, cuda.context.handle()),
                }
            };
            code.result().map_err(error)
        })
    }

    fn start(&mut self, graph: &Graph) -> Result<()> {
        // SAFETY: both live
        unsafe { sys::cuGraphLaunch(graph.exec, self.stream.0) }.result().map_err(error)
    }

    fn drop_graph(&mut self, graph: Graph) {
        // whoever drops it may be another thread; one that runs goes on to its end
        let _ = self.context.make_current();
        // SAFETY: made by `build`, dropped once
        unsafe {
            if !graph.exec.is_null() {
                let _ = result::graph::exec_destroy(graph.exec);
            }
            if !graph.graph.is_null() {
                let _ = result::graph::destroy(graph.graph);
            }
        }
    }

    fn trim(&mut self) -> Result<()> {
        self.give_back().map_err(error)
    }

    /// What is freed goes to a list, and stays the program's.
    fn hold(&mut self, _on: bool) {}
}

impl Cuda {
    /// Makes the nodes, each after the one before it, and the graph that can be started.
    fn fill(&mut self, made: &mut Graph, ops: &[Op]) -> Result<()> {
        made.create()?;
        for op in ops {
            self.add(made, op)?;
        }
        made.instantiate()
    }

    fn add(&mut self, made: &mut Graph, op: &Op) -> Result<()> {
        let graph = made.graph;
        let before = made.nodes.last().copied();
        let (list, n) = (before.as_slice().as_ptr(), before.iter().len());
        let node = self.node(op, |cuda, new| {
            let mut node = std::ptr::null_mut();
            let context = cuda.context.handle();
            // SAFETY: the graph and the node before live; the driver copies what it is given
            let code = unsafe {
                match new {
                    Node::Kernel(p) => sys::cuGraphAddKernelNode_v2(&mut node, graph, list, n, &p),
                    Node::Copy(p) => sys::cuGraphAddMemcpyNode(&mut node, graph, list, n, &p, context),
                    Node::Zero(p) => sys::cuGraphAddMemsetNode(&mut node, graph, list, n, &p, context),
                }
            };
            code.result().map_err(error)?;
            Ok(node)
        })?;
        made.nodes.push(node);
        Ok(())
    }

    /// Does one thing, waits for it, and adds up how long it took on the device: a graph, so that the host is not between the two events.
    pub(super) fn timed(&mut self, op: &Op) -> Result<()> {
        let events = Events::new()?;
        let mut made = Graph { graph: std::ptr::null_mut(), exec: std::ptr::null_mut(), nodes: Vec::new() };
        let result = (|| {
            made.create()?;
            made.record(events.0)?;
            self.add(&mut made, op)?;
            made.record(events.1)?;
            made.instantiate()?;
            self.start(&made)?;
            self.stream.synchronize().map_err(error)?;
            events.nanos()
        })();
        self.drop_graph(made);
        *self.took.get_or_insert(0) += result?;
        Ok(())
    }
}

impl Graph {
    fn create(&mut self) -> Result<()> {
        // SAFETY: it makes a graph
        unsafe { sys::cuGraphCreate(&mut self.graph, 0) }.result().map_err(error)
    }

    fn record(&mut self, event: sys::CUevent) -> Result<()> {
        let before = self.nodes.last().copied();
        let (list, n) = (before.as_slice().as_ptr(), before.iter().len());
        let mut node = std::ptr::null_mut();
        // SAFETY: the graph, the node before and the event live
        unsafe { sys::cuGraphAddEventRecordNode(&mut node, self.graph, list, n, event) }.result().map_err(error)?;
        self.nodes.push(node);
        Ok(())
    }

    fn instantiate(&mut self) -> Result<()> {
        // SAFETY: the graph lives
        unsafe { sys::cuGraphInstantiateWithFlags(&mut self.exec, self.graph, 0) }.result().map_err(error)
    }
}

/// Two times on the device.
struct Events(sys::CUevent, sys::CUevent);

impl Events {
    fn new() -> Result<Events> {
        let one = || result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).map_err(error);
        let mut events = Events(one()?, std::ptr::null_mut());
        events.1 = one()?;
        Ok(events)
    }

    /// From the one to the other; both are past.
    fn nanos(&self) -> Result<u64> {
        // SAFETY: both live, and know the time
        let ms = unsafe { result::event::elapsed(self.0, self.1) }.map_err(error)?;
        Ok((f64::from(ms) * 1e6) as u64)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        for e in [self.0, self.1].into_iter().filter(|e| !e.is_null()) {
            // SAFETY: its own
            let _ = unsafe { result::event::destroy(e) };
        }
    }
}
