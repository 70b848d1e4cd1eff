//! The functions of [`crate::host`] under the names and the calling convention that generated code uses: arguments as [`Arg`]s, one
//! slot for each result (a number's bits, a text's handle, a tensor's address).
#![allow(clippy::missing_safety_doc, unsafe_op_in_unsafe_fn)]

use super::{Arg, Ctx, FailureKind, give, guard, slice, tensor};
use crate::host::{self, Out, Outs, Value};

unsafe fn run(
    ctx: *mut Ctx,
    args: *const Arg,
    n: u64,
    results: *mut u64,
    site: u32,
    f: fn(&[Value<'_>]) -> Outs,
) -> i32 {
    guard(ctx, site, FailureKind::Io, |ctx| {
        let args = slice(args, n);
        let tensors: Vec<_> = args.iter().map(|a| tensor(ctx, a)).collect::<Result<_, String>>()?;
        let values: Vec<Value<'_>> = args
            .iter()
            .zip(&tensors)
            .map(|(a, t)| match t {
                Some((dtype, shape, bytes)) => Value::Tensor { dtype: *dtype, shape: shape.clone(), bytes },
                None => Value::Text(super::text_of(a.value as *const _)),
            })
            .collect();
        for (i, out) in f(&values)?.into_iter().enumerate() {
            *results.add(i) = match out {
                Out::Text(t) => ctx.keep_text(t) as u64,
                Out::Int(i) => i as u64,
                Out::Bool(b) => u64::from(b),
                Out::Tensor { shape, bytes, .. } if shape.is_empty() => {
                    let mut bits = [0; 8];
                    bits[..bytes.len()].copy_from_slice(&bytes);
                    u64::from_le_bytes(bits)
                }
                Out::Tensor { bytes, .. } => give(ctx, &bytes)? as u64,
            };
        }
        Ok(())
    })
}

macro_rules! thunks {
    ($($name:ident $path:path;)*) => {
        $(
            #[unsafe(export_name = concat!("tdl_", stringify!($name)))]
            unsafe extern "C" fn $name(ctx: *mut Ctx, args: *const Arg, n: u64, results: *mut u64, site: u32) -> i32 {
                run(ctx, args, n, results, site, host::all::$name)
            }
        )*

        pub fn symbols() -> Vec<(&'static str, usize)> {
            vec![$((concat!("tdl_", stringify!($name)), $name as *const () as usize)),*]
        }
    };
}
host::host_functions!(thunks);
