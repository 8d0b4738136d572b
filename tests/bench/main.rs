//! The figures that the README quotes: what an alert costs in Temporal, against a workflow that does nothing; what a
//! plugin call costs, against wasmtime alone; what hostile plugins cost everybody else; what routes add, and what becomes of a
//! storm; what becomes of more alerts than can be taken; and what the store accepts. Arguments pick parts by their names: calls, sandbox, directory, alerts, delivery, ingest, store. Prints a table and
//! fails if a promised bound does not hold.

mod alerts;
mod calls;
mod delivery;
mod directory;
mod floor;
mod ingest;
mod measure;
mod sandbox;
mod store;
mod wall;

use std::process::ExitCode;

use measure::Figures;

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut figures = Figures::default();
    let only: Vec<String> = std::env::args().skip(1).collect();
    if ingest::serve(&only).await {
        return ExitCode::SUCCESS;
    }
    let wanted = |part: &str| only.is_empty() || only.iter().any(|name| name == part);
    if wanted("calls") {
        calls::measure(&mut figures).await;
    }
    if wanted("sandbox") {
        sandbox::measure(&mut figures).await;
    }
    if wanted("directory") {
        directory::measure(&mut figures).await;
    }
    if wanted("alerts") {
        alerts::measure(&mut figures).await;
    }
    if wanted("delivery") {
        delivery::measure(&mut figures).await;
    }
    if wanted("ingest") {
        ingest::measure(&mut figures).await;
    }
    if wanted("store") {
        store::measure(&mut figures).await;
    }
    figures.print();
    if figures.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
