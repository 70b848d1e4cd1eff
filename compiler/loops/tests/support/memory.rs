//! Memory that notices wrong accesses.

use tdl_ir::{Dtype, Scalar, element};

use super::Run;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    pub block: usize,
    /// In bytes.
    pub offset: i64,
}

struct Block {
    bytes: Vec<u8>,
    written: Vec<bool>,
    live: bool,
    read_only: bool,
}

#[derive(Default)]
pub struct Memory {
    blocks: Vec<Block>,
}

impl Memory {
    pub fn alloc(&mut self, bytes: usize) -> Pointer {
        self.blocks.push(Block { bytes: vec![0xCD; bytes], written: vec![false; bytes], live: true, read_only: false });
        Pointer { block: self.blocks.len() - 1, offset: 0 }
    }

    pub fn alloc_with(&mut self, bytes: Vec<u8>, read_only: bool) -> Pointer {
        let written = vec![true; bytes.len()];
        self.blocks.push(Block { bytes, written, live: true, read_only });
        Pointer { block: self.blocks.len() - 1, offset: 0 }
    }

    pub fn mark(&self) -> usize {
        self.blocks.len()
    }

    /// Ends everything allocated since `mark`.
    pub fn release(&mut self, mark: usize) {
        self.blocks[mark..].iter_mut().for_each(|b| b.live = false);
    }

    pub fn free(&mut self, p: Pointer) -> Run<()> {
        let b = &mut self.blocks[p.block];
        if !b.live || b.read_only || p.offset != 0 {
            return Err(format!("free of {p:?}, which is dead or not ours"));
        }
        b.live = false;
        b.bytes = Vec::new();
        Ok(())
    }

    pub fn free_unchecked(&mut self, p: Pointer) {
        self.blocks[p.block].live = false;
    }

    pub fn all_free(&self) -> Run<()> {
        match self.blocks.iter().position(|b| b.live) {
            Some(i) => Err(format!("block {i} of {} bytes leaks", self.blocks[i].bytes.len())),
            None => Ok(()),
        }
    }

    pub fn len(&self, p: Pointer) -> usize {
        self.blocks[p.block].bytes.len()
    }

    fn range(&self, p: Pointer, start: i64, len: usize) -> Run<std::ops::Range<usize>> {
        let b = &self.blocks[p.block];
        if len == 0 {
            return Ok(0..0);
        }
        if !b.live {
            return Err(format!("block {} is used after its end", p.block));
        }
        if start < 0 || start as usize + len > b.bytes.len() {
            return Err(format!("bytes {start}..{} of a block of {}", start + len as i64, b.bytes.len()));
        }
        Ok(start as usize..start as usize + len)
    }

    pub fn load(&self, p: Pointer, i: i64, dtype: Dtype) -> Run<Scalar> {
        let r = self.range(p, p.offset + i * dtype.size() as i64, dtype.size())?;
        let b = &self.blocks[p.block];
        if !b.written[r.clone()].iter().all(|w| *w) {
            return Err(format!("element {i} of block {} is read before it is written", p.block));
        }
        Ok(element::read(&b.bytes[r], 0, dtype))
    }

    pub fn store(&mut self, p: Pointer, i: i64, dtype: Dtype, x: Scalar) -> Run<()> {
        let r = self.range(p, p.offset + i * dtype.size() as i64, dtype.size())?;
        let b = &mut self.blocks[p.block];
        if b.read_only {
            return Err(format!("block {} is read only", p.block));
        }
        let mut bytes = Vec::new();
        element::write(&mut bytes, x, dtype);
        b.bytes[r.clone()].copy_from_slice(&bytes);
        b.written[r].fill(true);
        Ok(())
    }

    pub fn bytes(&self, p: Pointer, len: usize) -> Run<&[u8]> {
        let r = self.range(p, p.offset, len)?;
        let b = &self.blocks[p.block];
        if !b.written[r.clone()].iter().all(|w| *w) {
            return Err(format!("block {} is copied before all of it is written", p.block));
        }
        Ok(&b.bytes[r])
    }

    pub fn bytes_mut(&mut self, p: Pointer, len: usize) -> Run<&mut [u8]> {
        let r = self.range(p, p.offset, len)?;
        let b = &mut self.blocks[p.block];
        if b.read_only && len > 0 {
            return Err(format!("block {} is read only", p.block));
        }
        b.written[r.clone()].fill(true);
        Ok(&mut b.bytes[r])
    }
}
