//! Load on a host by a known tool: `wrk`, from Debian's package, told in Lua what to post and what to keep of the answers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::tools::debian_package;

/// How long outstanding answers are waited for.
const SPARE: Duration = Duration::from_secs(10);

/// What `wrk` runs, on one thread. Arguments: the file for the answers, the name of the run, the body, the most requests, how
/// long to go on starting requests (s), the pause after a refusal (ms), and headers. Each answer becomes a line: the status,
/// and the time taken (µs) and the workflow, or the code of the refusal. A request is known again by its name in the id of its
/// workflow. As soon as all is answered, the thread interrupts its process, which then prints what it counted.
const SCRIPT: &str = r#"
local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long s, n; } when_t;
  int clock_gettime(int, when_t *);
  int getpid(void);
  int kill(int, int);
]]
local time = ffi.new("when_t")

local function now()
  ffi.C.clock_gettime(1, time)
  return tonumber(time.s) * 1e6 + tonumber(time.n) / 1e3
end

function setup(thread)
  worker = thread
end

function init(args)
  kept, name, body, most = io.open(args[1], "w"), args[2], args[3], tonumber(args[4])
  -- wrk asks for a request once only to look at it.
  pause, owed, sent, answered, begun = tonumber(args[6]), 0, -1, 0, {}
  first, last = now(), 0
  stop = first + tonumber(args[5]) * 1e6
  wrk.method = "POST"
  for index = 7, #args do
    local header, value = args[index]:match("^(.-): (.*)$")
    wrk.headers[header] = value
  end
end

local function is_over()
  if sent < most and now() < stop then return false end
  if answered == sent and not over then
    over = true
    ffi.C.kill(ffi.C.getpid(), 2)
  end
  return true
end

function delay()
  if is_over() then return 3600000 end
  if owed == 0 then return 0 end
  owed = owed - 1
  return pause
end

function request()
  sent = sent + 1
  local id = name .. "-" .. sent
  begun[id] = now()
  return wrk.format(nil, nil, nil, (body:gsub("%%s", id)))
end

function response(status, headers, text)
  answered = answered + 1
  last = (now() - first) / 1e6
  if status == 200 then
    local workflow = text:match('"workflow_ids":%["([^"]*)"%]') or "none"
    local id = workflow:match(name .. "%-%d+") or ""
    kept:write(string.format("200 %.0f %s\n", now() - (begun[id] or now()), workflow))
    begun[id] = nil
  else
    if pause > 0 then owed = owed + 1 end
    kept:write(string.format("%d 0 %s\n", status, text:match('"code":"([^"]*)"') or "no-code"))
  end
  is_over()
end

function done(summary)
  local broken = summary.errors
  print(string.format("LOAD %d %.6f %d", worker:get("sent"), worker:get("last"), broken.connect + broken.read + broken.write))
end
"#;

/// What to post, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where to, such as `http://127.0.0.1:43210/webhook/alerts`.
    pub url: String,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// A word that names the requests.
    pub name: &'static str,
    /// The body. `%s` in it becomes the name of the request: `<name>-1`, `<name>-2` …
    pub body: String,
    /// Connections at once, each with one request at a time.
    pub connections: usize,
    /// The most requests. Those that wait when it is reached are still sent.
    pub requests: usize,
    /// How long requests are started.
    pub time: Duration,
    /// How long a connection pauses after a refusal.
    pub pause: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Requests sent.
    pub sent: usize,
    /// From the first request to the last answer.
    pub took: Duration,
    /// Connections that could not be made, or broke.
    pub broken: usize,
    /// Of each 200: the workflow, and how long the answer took.
    pub accepted: Vec<(String, Duration)>,
    /// All other answers, by status and code: `503 overloaded`.
    pub refused: BTreeMap<String, usize>,
}

impl Load {
    /// Posts. `None`, said aloud, where `wrk` cannot be had.
    pub async fn run(&self) -> Option<Answers> {
        let program = debian_package("wrk")?.join("usr/bin/wrk");
        let libraries = libraries(debian_package("libluajit-5.1-2")?);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (script, kept) = (directory.path().join("load.lua"), directory.path().join("answers"));
        std::fs::write(&script, SCRIPT).expect("the directory is writable");
        let mut wrk = tokio::process::Command::new(program);
        wrk.env("LD_LIBRARY_PATH", libraries).kill_on_drop(true);
        wrk.args(["-t", "1", "-c", &self.connections.to_string(), "--timeout", "1m"]);
        wrk.args(["-d", &format!("{}s", (self.time + SPARE).as_secs())]).arg("-s").arg(script);
        wrk.args([&self.url, "--"]).arg(&kept).args([self.name, &self.body, &self.requests.to_string()]);
        wrk.args([self.time.as_secs().to_string(), self.pause.as_millis().to_string()]);
        wrk.args(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let output = wrk.output().await.expect("wrk can be started");
        let printed = String::from_utf8_lossy(&output.stdout);
        let counted = printed.lines().find_map(|line| line.strip_prefix("LOAD "));
        let counted = counted.unwrap_or_else(|| panic!("wrk does not say what it counted: {output:?}"));
        Some(read(counted, &std::fs::read_to_string(kept).expect("the answers are kept")))
    }
}

impl Answers {
    /// Answers of this kind, such as `503 overloaded`.
    pub fn refused(&self, kind: impl Fn(&str) -> bool) -> usize {
        self.refused.iter().filter(|(name, _)| kind(name)).map(|(_, count)| count).sum()
    }

    /// Requests that were sent and have no answer.
    pub fn unanswered(&self) -> usize {
        self.sent.saturating_sub(self.accepted.len() + self.refused(|_| true))
    }
}

fn read(counted: &str, kept: &str) -> Answers {
    let fields: Vec<&str> = counted.split_whitespace().collect();
    let [sent, took, broken] = fields[..] else { panic!("not what the script prints: {counted}") };
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let mut answers = Answers {
        sent: number(sent),
        took: Duration::from_secs_f64(took.parse().expect("a number of seconds")),
        broken: number(broken),
        ..Answers::default()
    };
    for line in kept.lines() {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().expect("a status, a time and a word");
        match (word(), word(), word()) {
            ("200", micros, workflow) => {
                let taken = Duration::from_micros(micros.parse().expect("a number of microseconds"));
                answers.accepted.push((workflow.to_owned(), taken));
            }
            (status, _, code) => *answers.refused.entry(format!("{status} {code}")).or_default() += 1,
        }
    }
    answers
}

/// Where the libraries of an unpacked package are: `usr/lib/<architecture>`.
fn libraries(package: PathBuf) -> PathBuf {
    let mut entries = std::fs::read_dir(package.join("usr/lib")).expect("it is a library").flatten();
    entries.next().expect("of one architecture").path()
}

/// The processor's time that a running process took so far, its own and the kernel's for it.
pub fn cpu(id: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
    let (_, fields) = text.rsplit_once(')').expect("its name is in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|field| field.parse::<u64>().expect("a number of ticks")).sum();
    // Linux counts in hundredths of a second for whoever reads this, whatever it counts in itself.
    Duration::from_millis(10 * ticks)
}
