//! The process itself, by the names that Prometheus' own libraries use. Read anew for every page.

use std::fmt::Write;

use sysinfo::{Process, ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};

/// What is known of this process, in Prometheus' text form; nothing where the system does not say.
pub(super) fn page() -> String {
    let mut system = System::new();
    let Ok(id) = get_current_pid() else { return String::new() };
    let kind = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), false, kind);
    system.process(id).map(write).unwrap_or_default()
}

fn write(process: &Process) -> String {
    let count = |count: Option<usize>| count.map(|count| count as f64);
    let rows: [(&str, &str, &str, Option<f64>); 6] = [
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time of the host, in seconds.",
            Some(process.accumulated_cpu_time() as f64 / 1_000.0),
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory of the host.",
            Some(process.memory() as f64),
        ),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory of the host.",
            Some(process.virtual_memory() as f64),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "When the host started, in seconds since 1970.",
            Some(process.start_time() as f64),
        ),
        (
            "process_open_fds",
            "gauge",
            "File descriptors that the host has open.",
            count(process.open_files()),
        ),
        (
            "process_max_fds",
            "gauge",
            "File descriptors that the host may have.",
            count(process.open_files_limit()),
        ),
    ];
    let mut page = String::new();
    for (name, kind, help, value) in rows {
        let Some(value) = value else { continue };
        // Writing to a text does not fail.
        let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
    }
    page
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_described_by_the_usual_names() {
        let page = page();
        let value = |name: &str| -> f64 {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
        };
        let now = jiff::Timestamp::now().as_second() as f64;
        let started = value("process_start_time_seconds");
        assert!((now - 3_600.0..=now + 5.0).contains(&started), "{started} is not just before {now}");
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        let (open, most) = (value("process_open_fds"), value("process_max_fds"));
        assert!(open >= 3.0 && open < most, "{open} of {most}");
    }
}
