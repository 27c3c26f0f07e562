use std::process::ExitCode;

/// Ten thousand stages are a few hundred thousand small strings; the system's allocator takes a quarter of a no-op.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lockstep::cli::main()
}
