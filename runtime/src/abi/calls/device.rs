//! What host code calls where tensors are in the memory of a device. A device that is not there fails each call.
#![allow(clippy::missing_safety_doc, unsafe_op_in_unsafe_fn)]

use super::{Ctx, FAILED, Failure, FailureKind, OK, out_of_memory, slice};
use crate::abi::Kernel;
use crate::device::{Attached, Result};

/// Runs `f` on the program's device; an error becomes the context's failure.
unsafe fn with<T>(ctx: *mut Ctx, f: impl FnOnce(&mut Attached) -> Result<T>) -> Option<T> {
    let ctx = &mut *ctx;
    let result = match &mut ctx.device {
        Some(d) => f(d),
        None => Err("the program was compiled for a GPU, and runs without one".into()),
    };
    result.map_err(|message| ctx.fail(Failure { kind: FailureKind::Device, message, site: None })).ok()
}

fn status(done: Option<()>) -> i32 {
    if done.is_some() { OK } else { FAILED }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_alloc(ctx: *mut Ctx, bytes: i64, site: u32) -> *mut u8 {
    let size = usize::try_from(bytes).ok();
    match with(ctx, |d| Ok(size.and_then(|s| d.device.alloc(s)))) {
        Some(Some(p)) => p,
        Some(None) => {
            (*ctx).fail(out_of_memory(bytes, site));
            std::ptr::null_mut()
        }
        None => std::ptr::null_mut(),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_free(ctx: *mut Ctx, ptr: *mut u8) {
    if let Some(d) = &mut (*ctx).device {
        d.device.free(ptr);
    }
}

/// The device's address of constant data, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_data(ctx: *mut Ctx, data: *const u8, len: i64) -> *mut u8 {
    match with(ctx, |d| d.constant(slice(data, len as u64))) {
        Some(Some(p)) => p,
        Some(None) => {
            (*ctx).fail(Failure { site: None, ..out_of_memory(len, 0) });
            std::ptr::null_mut()
        }
        None => std::ptr::null_mut(),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_read(ctx: *mut Ctx, to: *mut u8, from: *const u8, bytes: i64) -> i32 {
    let to = std::slice::from_raw_parts_mut(to, bytes as usize);
    status(with(ctx, |d| d.device.read(to, from)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_write(ctx: *mut Ctx, to: *mut u8, from: *const u8, bytes: i64) -> i32 {
    status(with(ctx, |d| d.device.write(to, slice(from, bytes as u64))))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_copy(ctx: *mut Ctx, to: *mut u8, from: *const u8, bytes: i64) -> i32 {
    status(with(ctx, |d| if to.cast_const() == from { Ok(()) } else { d.device.copy(to, from, bytes as usize) }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_zero(ctx: *mut Ctx, to: *mut u8, bytes: i64) -> i32 {
    status(with(ctx, |d| d.device.zero(to, bytes as usize)))
}

/// Runs a kernel over `0..range`; its arguments are in slots of 8 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_launch(ctx: *mut Ctx, kernel: *const Kernel, args: *const u64, range: i64) -> i32 {
    if range <= 0 {
        return OK;
    }
    status(with(ctx, |d| d.device.launch(&*kernel, args, range)))
}
