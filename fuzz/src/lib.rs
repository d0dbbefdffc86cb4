//! What the fuzzers share: the bodies of the targets, and what each fuzzer does before its first case.

pub mod targets;

use std::path::PathBuf;

use targets::Target;

/// Where a fuzzer writes the seeds that are made of the project's own files; `fuzz/run` says so.
const SEEDS: &str = "OUTRIGGER_FUZZ_SEEDS";
/// What the handler of a signal needs for its own stack.
const SIGNAL_STACK_BYTES: usize = 256 * 1024;

/// What comes before the first case.
///
/// # Panics
///
/// When the seeds cannot be written, or the signal's stack cannot be set.
pub fn begin(target: &Target) {
    signal_stack();
    if let Some(folder) = std::env::var_os(SEEDS).map(PathBuf::from) {
        for (name, bytes) in (target.seeds)() {
            std::fs::write(folder.join(name.replace('/', "_")), bytes).expect("a seed that can be written");
        }
    }
}

/// Gives the handler of a fault a stack of its own: a case that runs out of the other one is a finding that has to be told.
/// Elsewhere the standard library does so at the start of `main`, which is libFuzzer's here, and a sanitizer does so itself.
fn signal_stack() {
    // SAFETY: a signal's action is plain data, for which zeros are good, and both calls are given places of their own. The
    // memory of the stack is leaked: it is there for as long as the thread, and nobody else uses it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let read = libc::sigaction(libc::SIGSEGV, std::ptr::null(), &raw mut action);
        if read != 0 || action.sa_sigaction != libc::SIG_DFL {
            return;
        }
        let memory = Vec::leak(vec![0_u8; SIGNAL_STACK_BYTES]);
        let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
        assert_eq!(libc::sigaltstack(&raw const stack, std::ptr::null_mut()), 0, "a stack for signals");
        // libFuzzer keeps this flag when it sets its handler.
        action.sa_flags |= libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()), 0, "a signal's action");
    }
}
