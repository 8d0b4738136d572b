//! Child processes that cannot outlive the tests: each is started by one thread that lives as long as the test process
//! (the kernel kills a child when the *thread* that started it ends), and reports its end by a signal.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tokio::sync::watch;
use tokio::time::timeout;

/// A running child. It is killed when this is dropped.
pub struct Process {
    pid: Pid,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts `command` and hands the child to `before` (which takes its pipes).
    pub fn start(command: Command, before: impl FnOnce(&mut Child)) -> io::Result<Self> {
        let mut child = spawn(command)?;
        before(&mut child);
        let pid = Pid::from_child(&child);
        let (tell, ended) = watch::channel(None);
        thread::spawn(move || tell.send(child.wait().ok()));
        Ok(Self { pid, ended })
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Its exit status, once it has ended.
    pub fn exited(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&self, signal: Signal) {
        if self.exited().is_none() {
            // It may have ended in between, which is as good.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Waits for its end, up to `limit`.
    pub async fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let mut ended = self.ended.clone();
        let status = timeout(limit, ended.wait_for(Option::is_some)).await.ok()?.ok()?;
        *status
    }

    /// Kills it with `SIGKILL` and waits until it is gone.
    pub async fn kill(&self) {
        self.signal(Signal::KILL);
        self.wait(Duration::from_secs(10)).await.expect("a killed process ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel();
        thread::spawn(move || serve(inbox));
        orders
    });
    let (answer, child) = mpsc::channel();
    spawner.send((command, answer)).expect("the spawning thread never ends");
    child.recv().expect("the spawning thread answers")
}

#[expect(unsafe_code, reason = "std offers no other way to set a child's parent-death signal")]
fn serve(inbox: mpsc::Receiver<Order>) {
    for (mut command, answer) in inbox {
        // SAFETY: between fork and exec the closure makes one system call and touches no memory of the parent's.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        // Whoever ordered it may be gone; then the child goes with its handle.
        let _ = answer.send(command.spawn());
    }
}

/// The living children of a process.
pub fn children(parent: i32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("/proc is readable").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).collect()
}

/// Whether a process runs: neither gone nor a zombie.
pub fn runs(id: i32) -> bool {
    status(id).is_some_and(|(state, _)| state != "Z")
}

fn parent_of(id: i32) -> Option<i32> {
    status(id).filter(|(state, _)| state != "Z").map(|(_, parent)| parent)
}

/// State letter and parent of a process. Its name, in parentheses, may hold anything.
fn status(id: i32) -> Option<(String, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// What a process holds of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Holdings {
    /// Its resident memory, in MiB.
    pub memory: u64,
    /// Its open files and sockets.
    pub files: usize,
    /// Its threads.
    pub threads: usize,
}

/// What a running process holds now.
pub fn holdings(id: i32) -> Holdings {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
    let kib: u64 = memory.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    let count = |what: &str| std::fs::read_dir(format!("/proc/{id}/{what}")).expect("it runs").count();
    Holdings { memory: kib >> 10, files: count("fd"), threads: count("task") }
}
