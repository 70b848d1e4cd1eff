//! What a thread of a GPU does beyond scalars, as text.

use super::Printer;
use crate::ir::*;

impl Printer<'_> {
    pub(super) fn device(&mut self, d: &Device) {
        let regs = |rs: &[Reg]| rs.iter().map(|r| self.r(*r)).collect::<Vec<_>>().join(", ");
        let at = |p: Reg, i: &Index| format!("{}[{}]", self.r(p), self.index(i));
        let text = match d {
            Device::Load { dst, ptr, dtype: _, index } => format!("{} = wide {}", regs(dst), at(*ptr, index)),
            Device::Store { ptr, dtype: _, index, values } => {
                format!("wide {} = {}", at(*ptr, index), self.os(values))
            }
            Device::Shuffle { dst, dtype: _, x, xor } => {
                format!("{} = shuffle({}, {xor})", self.r(*dst), self.o(*x))
            }
            Device::Matrices { dst, ptr, dtype: _, index, transposed } => {
                let transposed = if *transposed { ".transposed" } else { "" };
                format!("{} = matrices{transposed} {}", regs(dst), at(*ptr, index))
            }
            Device::Product { dst, dtype, a, b, c } => {
                format!("{} = product.{dtype} ({}) ({}) + ({})", regs(dst), regs(a), regs(b), self.os(c))
            }
            Device::Copy { to, at: place, from, index, dtype: _, inside } => {
                format!("start {} <- {} if {}", at(*to, place), at(*from, index), self.o(*inside))
            }
            Device::Group => "group".into(),
            Device::Wait { left } => format!("wait until {left}"),
        };
        self.line(&text);
    }
}
