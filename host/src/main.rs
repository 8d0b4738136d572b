//! The executable: arguments, then the command, then an exit code.

use std::process::ExitCode;

use campanile::cli::Cli;
use clap::Parser;

/// JSON in, JSON out: a host allocates small things all day, which this allocator does about a fifth faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
            #[expect(
                clippy::print_stderr,
                reason = "the last word of a command goes to the person who typed it"
            )]
            {
                eprintln!("error: {}", chain.join(": "));
            }
            ExitCode::FAILURE
        }
    }
}
