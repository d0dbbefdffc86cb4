//! The door: everything is in the library.

use mimalloc::MiMalloc;

/// It takes an eighth of a delivery's processor time less than the system's, for two MiB more.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    outrigger::cli::main()
}
