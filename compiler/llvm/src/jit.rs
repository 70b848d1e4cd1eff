//! Loading objects into this process, by LLVM's ORC.

use std::ffi::{CStr, CString, c_void};

use inkwell::llvm_sys::core::LLVMCreateMemoryBufferWithMemoryRangeCopy;
use inkwell::llvm_sys::error::{LLVMDisposeErrorMessage, LLVMErrorRef, LLVMGetErrorMessage};
use inkwell::llvm_sys::orc2::lljit::*;
use inkwell::llvm_sys::orc2::*;
use inkwell::targets::{InitializationConfig, Target};
use tdl_source::InternalError;

/// Loaded objects. Their code lives as long as this.
pub struct Jit {
    jit: LLVMOrcLLJITRef,
}

// SAFETY: the handle is used by one thread at a time (no method takes `&self` and changes it)
unsafe impl Send for Jit {}

impl Jit {
    /// Loads the objects made by [`crate::compile`]; their calls go to this process's runtime.
    pub fn load(objects: &[Vec<u8>]) -> Result<Jit, InternalError> {
        static INIT: std::sync::Once = std::sync::Once::new();
        INIT.call_once(|| {
            let _ = Target::initialize_native(&InitializationConfig::default());
        });
        // SAFETY: the calls below follow LLVM's C API: a null builder means the defaults, `check` takes each error over
        unsafe {
            let mut jit: LLVMOrcLLJITRef = std::ptr::null_mut();
            check(LLVMOrcCreateLLJIT(&mut jit, std::ptr::null_mut()))?;
            let jit = Jit { jit };
            let dylib = LLVMOrcLLJITGetMainJITDylib(jit.jit);
            let mut symbols = Vec::new();
            let extra: [(&str, usize); 4] = [
                ("memcpy", memcpy as *const () as usize),
                ("memmove", memmove as *const () as usize),
                ("memset", memset as *const () as usize),
                ("tdl_main", tdl_runtime::start::tdl_main as *const () as usize),
            ];
            for (name, address) in tdl_runtime::abi::symbols().into_iter().chain(extra) {
                let name = CString::new(name).expect("a symbol has no zero byte");
                symbols.push(LLVMOrcCSymbolMapPair {
                    Name: LLVMOrcLLJITMangleAndIntern(jit.jit, name.as_ptr()),
                    Sym: LLVMJITEvaluatedSymbol {
                        Address: address as u64,
                        Flags: LLVMJITSymbolFlags { GenericFlags: 1, TargetFlags: 0 },
                    },
                });
            }
            let unit = LLVMOrcAbsoluteSymbols(symbols.as_mut_ptr(), symbols.len());
            check(LLVMOrcJITDylibDefine(dylib, unit))?;
            for (k, object) in objects.iter().enumerate() {
                let name = CString::new(format!("program{k}")).expect("a number has no zero byte");
                let (start, len) = (object.as_ptr().cast(), object.len());
                let buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(start, len, name.as_ptr());
                check(LLVMOrcLLJITAddObjectFile(jit.jit, dylib, buffer))?;
            }
            Ok(jit)
        }
    }

    /// Address of an exported symbol.
    pub fn symbol(&self, name: &str) -> Result<*const c_void, InternalError> {
        let name = CString::new(name).map_err(|e| internal(&e.to_string()))?;
        let mut address = 0;
        // SAFETY: the JIT is alive and the name is a C string
        unsafe { check(LLVMOrcLLJITLookup(self.jit, &mut address, name.as_ptr()))? };
        Ok(address as *const c_void)
    }
}

impl Drop for Jit {
    fn drop(&mut self) {
        // SAFETY: the handle is ours; an error at the end concerns nobody
        unsafe {
            let e = LLVMOrcDisposeLLJIT(self.jit);
            if !e.is_null() {
                LLVMDisposeErrorMessage(LLVMGetErrorMessage(e));
            }
        }
    }
}

unsafe extern "C" {
    fn memcpy(d: *mut c_void, s: *const c_void, n: usize) -> *mut c_void;
    fn memmove(d: *mut c_void, s: *const c_void, n: usize) -> *mut c_void;
    fn memset(d: *mut c_void, c: i32, n: usize) -> *mut c_void;
}

unsafe fn check(e: LLVMErrorRef) -> Result<(), InternalError> {
    if e.is_null() {
        return Ok(());
    }
    // SAFETY: an error that is not null has a message, which is copied and given back
    unsafe {
        let message = LLVMGetErrorMessage(e);
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        LLVMDisposeErrorMessage(message);
        Err(internal(&text))
    }
}

fn internal(message: &str) -> InternalError {
    InternalError { pass: "jit".into(), message: message.into(), ir: None }
}
