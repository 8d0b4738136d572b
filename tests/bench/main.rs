//! The figures that the README quotes: what an alert costs in Temporal, against a workflow that does nothing, and what
//! a plugin call costs, against wasmtime alone. Prints a table and fails if a promised bound does not hold.

mod alerts;
mod calls;
mod floor;
mod measure;

use std::process::ExitCode;

use measure::Figures;

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut figures = Figures::default();
    calls::measure(&mut figures).await;
    alerts::measure(&mut figures).await;
    figures.print();
    if figures.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
