// The same contract in Rust, without a crate: turns the event into upper case.
//
//     rustc --crate-type cdylib -C panic=abort -O -o hello-rs.so hello.rs
//
// The fsbox_… functions are found in the runtime when it loads the object, as for C.
use std::ffi::{c_char, c_int, c_void};

#[repr(C)]
pub struct Call {
    _private: [u8; 0],
}

extern "C" {
    fn fsbox_event(call: *const Call, len: *mut usize) -> *const c_void;
    fn fsbox_respond(call: *mut Call, data: *const c_void, len: usize) -> c_int;
    fn fsbox_fail(call: *mut Call, kind: *const c_char, message: *const c_char) -> c_int;
}

#[no_mangle]
pub extern "C" fn fsbox_handler(call: *mut Call) -> c_int {
    // SAFETY: the runtime's pointers are valid until this function returns, and the event is `len` bytes, never NULL.
    unsafe {
        let mut len = 0usize;
        let event = fsbox_event(call, &mut len) as *const u8;
        match std::str::from_utf8(std::slice::from_raw_parts(event, len)) {
            Ok(text) => {
                let answer = text.to_uppercase();
                fsbox_respond(call, answer.as_ptr() as *const c_void, answer.len())
            }
            Err(_) => fsbox_fail(
                call,
                b"Upper.NotText\0".as_ptr() as *const c_char,
                b"the event is not UTF-8\0".as_ptr() as *const c_char,
            ),
        }
    }
}
