//! What a thread of a GPU does beyond scalars: several elements at a time, with the threads of its warp, or while it goes on.
//!
//! A warp is [`WARP`] threads with neighbouring numbers. What a warp does together, all of its threads come by.

use tdl_ir::Dtype;

use super::{Index, Operand, Reg, Stmt};

/// Threads of a warp.
pub const WARP: usize = 32;

/// Bytes that one access touches at most, and that [`Device::Copy`] copies.
pub const WIDE: usize = 16;

#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    /// `dst[i] = ptr[index + i]`, at a multiple of its length.
    Load { dst: Vec<Reg>, ptr: Reg, dtype: Dtype, index: Index },
    /// `ptr[index + i] = values[i]`, at a multiple of its length.
    Store { ptr: Reg, dtype: Dtype, index: Index, values: Vec<Operand> },
    /// The `x` of the thread of the warp whose number differs in the bits of `xor`.
    Shuffle { dst: Reg, dtype: Dtype, x: Operand, xor: u32 },
    /// Four 8 × 8 matrices of 16-bit elements in shared memory, by the whole warp: thread `8 i + j` has the address of row `j` of
    /// matrix `i`, and gets, in `dst[i]`, elements `2 (t % 4)` and the next one of row `t / 4`; if `transposed`, of the column.
    Matrices { dst: [Reg; 4], ptr: Reg, dtype: Dtype, index: Index, transposed: bool },
    /// `dst = a @ b + c` of a 16 × 16 and a 16 × 8 matrix of 16-bit floats, summed in f32, by the whole warp. Who has which element: see
    /// [`Tile`].
    Product { dst: [Reg; 4], dtype: Dtype, a: [Reg; 4], b: [Reg; 2], c: [Operand; 4] },
    /// Starts to copy [`WIDE`] bytes into shared memory, or, unless `inside`, to fill them with zeros.
    Copy { to: Reg, at: Index, from: Reg, index: Index, dtype: Dtype, inside: Operand },
    /// The copies that this thread has started since the last one are a group.
    Group,
    /// Waits until of this thread's groups all but the last `left` are done.
    Wait { left: u32 },
}

/// Who in a warp has what of a [`Device::Product`], thread `t` being `g = t / 4` and `q = t % 4`. A register of `a` and `b` holds two
/// elements, the first in its low half: `a[0]` has `(g, 2q)` and the next column, `a[1]` eight rows below, `a[2]` eight
/// columns on, `a[3]` both; `b[0]` has `(2q, g)` and the next row, `b[1]` eight rows below; `c[0]` and `c[1]` are `(g, 2q)` and
/// the next column, `c[2]` and `c[3]` eight rows below.
pub struct Tile;

impl Tile {
    pub const M: i64 = 16;
    pub const N: i64 = 8;
    pub const K: i64 = 16;
}

impl Device {
    pub fn visit(&self, f: &mut impl FnMut(Operand)) {
        match self {
            Device::Load { dst: _, ptr, dtype: _, index } | Device::Matrices { ptr, index, .. } => {
                f((*ptr).into());
                index.visit(f);
            }
            Device::Store { ptr, dtype: _, index, values } => {
                f((*ptr).into());
                index.visit(f);
                values.iter().copied().for_each(f);
            }
            Device::Shuffle { x, .. } => f(*x),
            Device::Product { dst: _, dtype: _, a, b, c } => {
                a.iter().chain(b).for_each(|r| f((*r).into()));
                c.iter().copied().for_each(f);
            }
            Device::Copy { to, at, from, index, dtype: _, inside } => {
                f((*to).into());
                at.visit(f);
                f((*from).into());
                index.visit(f);
                f(*inside);
            }
            Device::Group | Device::Wait { .. } => {}
        }
    }

    pub fn defs(&self) -> Vec<Reg> {
        match self {
            Device::Load { dst, .. } => dst.clone(),
            Device::Shuffle { dst, .. } => vec![*dst],
            Device::Matrices { dst, .. } | Device::Product { dst, .. } => dst.to_vec(),
            Device::Store { .. } | Device::Copy { .. } | Device::Group | Device::Wait { .. } => vec![],
        }
    }
}

impl From<Device> for Stmt {
    fn from(d: Device) -> Stmt {
        Stmt::Device(Box::new(d))
    }
}
