//! What host code calls where tensors are in the memory of a device. A device that is not there fails each call.
#![allow(clippy::missing_safety_doc, unsafe_op_in_unsafe_fn)]

use super::{Ctx, FAILED, OK, slice};
use crate::abi::Kernel;
use crate::device::{Attached, Error, Result};

/// Runs `f` on the program's device; an error becomes the context's failure, at `site` where one is known.
unsafe fn with<T>(ctx: *mut Ctx, site: Option<u32>, f: impl FnOnce(&mut Attached) -> Result<T>) -> Option<T> {
    let ctx = &mut *ctx;
    let result = match &mut ctx.device {
        Some(d) => f(d),
        None => Err(Error::Refused("the program was compiled for a GPU, and runs without one".into())),
    };
    result.map_err(|e| ctx.refuse(&e, site)).ok()
}

fn status(done: Option<()>) -> i32 {
    if done.is_some() { OK } else { FAILED }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_alloc(ctx: *mut Ctx, bytes: i64, site: u32) -> *mut u8 {
    // a negative number stands for more than there are addresses
    let size = usize::try_from(bytes).unwrap_or(usize::MAX);
    with(ctx, Some(site), |d| d.alloc(size, Some(site))).unwrap_or(std::ptr::null_mut())
}

/// The same for memory that may not be needed: null is no failure yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_alloc_ahead(ctx: *mut Ctx, bytes: i64, site: u32) -> *mut u8 {
    let size = usize::try_from(bytes).unwrap_or(usize::MAX);
    let device = (*ctx).device.as_mut();
    device.and_then(|d| d.alloc(size, Some(site)).ok()).unwrap_or(std::ptr::null_mut())
}

/// What [`tdl_device_alloc_ahead`] did not get is needed. It is asked for again, so that the device says what is wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_alloc_missing(ctx: *mut Ctx, bytes: i64, site: u32) {
    if !tdl_device_alloc(ctx, bytes, site).is_null() {
        (*ctx).fail(super::out_of_memory(bytes, site));
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_free(ctx: *mut Ctx, ptr: *mut u8) {
    // what was not there ahead and never needed is null
    if ptr.is_null() {
        return;
    }
    if let Some(d) = &mut (*ctx).device {
        d.free(ptr);
    }
}

/// The device's address of constant data, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_data(ctx: *mut Ctx, data: *const u8, len: i64) -> *mut u8 {
    with(ctx, None, |d| d.constant(slice(data, len as u64))).unwrap_or(std::ptr::null_mut())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_read(ctx: *mut Ctx, to: *mut u8, from: *const u8, bytes: i64) -> i32 {
    let to = std::slice::from_raw_parts_mut(to, bytes as usize);
    status(with(ctx, None, |d| d.device.read(to, from)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_write(ctx: *mut Ctx, to: *mut u8, from: *const u8, bytes: i64) -> i32 {
    status(with(ctx, None, |d| d.device.write(to, slice(from, bytes as u64))))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_copy(ctx: *mut Ctx, to: *mut u8, from: *const u8, bytes: i64) -> i32 {
    status(with(ctx, None, |d| if to.cast_const() == from { Ok(()) } else { d.device.copy(to, from, bytes as usize) }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_zero(ctx: *mut Ctx, to: *mut u8, bytes: i64) -> i32 {
    status(with(ctx, None, |d| d.device.zero(to, bytes as usize)))
}

/// Runs a kernel over `0..range`; its arguments are in slots of 8 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_launch(ctx: *mut Ctx, kernel: *const Kernel, args: *const u64, range: i64) -> i32 {
    if range <= 0 {
        return OK;
    }
    status(with(ctx, None, |d| d.device.launch(&*kernel, args, range)))
}

/// What follows may be what was done the last time here: see [`crate::repeat`]. A device that fails says so at the next call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tdl_device_segment(ctx: *mut Ctx, place: u32, depth: u32) {
    with(ctx, None, |d| d.device.segment(place, depth));
}
