//! Load over HTTP/1.1 with keep-alive, on one core: `wrk`, which costs little itself.

use std::{fmt::Write as _, fs, net::SocketAddr, process::Command, time::Duration};

/// The core of the load. What is measured has the one before.
pub const LOAD_CORE: &str = "1";

/// What a run measured.
pub struct Run {
    /// Requests per second.
    pub rate: f64,
    /// Milliseconds at 50, 99 and 99.9 %.
    pub latency: [f64; 3],
    /// Answers whose status was not 2xx, and connections that broke.
    pub failed: u64,
}

/// What `wrk` does: posts the lines of a file in turn, from so many networks as a proxy says it, and prints figures that are
/// easy to read.
const SCRIPT: &str = r#"
local bodies, next = {}, 0
function init(arguments)
  local networks = tonumber(arguments[2])
  for line in io.lines(arguments[1]) do
    local headers, network = { ["Content-Type"] = "application/json" }, #bodies % math.max(networks, 1)
    if networks > 0 then
      headers["X-Forwarded-For"] = string.format("10.%d.%d.1", math.floor(network / 256) % 256, network % 256)
    end
    bodies[#bodies + 1] = wrk.format("POST", nil, headers, line)
  end
end
function request() next = next % #bodies + 1 return bodies[next] end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("\nFIGURES %d %d %d %d %d %d\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"#;

/// Posts bodies to a path as fast as answers come.
pub struct Saturation<'a> {
    /// Where.
    pub to: SocketAddr,
    /// The path.
    pub path: &'a str,
    /// What is posted, in turn.
    pub bodies: &'a [String],
    /// Networks that these come from, as a proxy says it; 0: there is no proxy.
    pub networks: usize,
    /// Connections at one time.
    pub connections: usize,
    /// How long.
    pub time: Duration,
}

/// Runs it on one thread of another process, on a core of its own.
pub fn saturate(load: &Saturation<'_>) -> Run {
    let Saturation { to, path, bodies, networks, connections, time } = *load;
    let folder = tempfile::tempdir().unwrap();
    let (script, lines) = (folder.path().join("post.lua"), folder.path().join("bodies"));
    fs::write(&script, SCRIPT).unwrap();
    let text = bodies.iter().fold(String::new(), |mut text, body| {
        let _ = writeln!(text, "{body}");
        text
    });
    fs::write(&lines, text).unwrap();
    let output = Command::new("taskset")
        .args([
            "-c",
            LOAD_CORE,
            "wrk",
            "-t1",
            &format!("-c{connections}"),
            &format!("-d{}s", time.as_secs()),
            "--timeout",
            "10s",
            "-s",
        ])
        .arg(&script)
        .arg(format!("http://{to}{path}"))
        .arg("--")
        .arg(&lines)
        .arg(networks.to_string())
        .output()
        .expect("taskset is there");
    let said = String::from_utf8_lossy(&output.stdout);
    let figures = said.lines().find_map(|line| line.strip_prefix("FIGURES ")).unwrap_or_else(|| {
        panic!("wrk (Debian's package wrk) makes the load: {said}{}", String::from_utf8_lossy(&output.stderr))
    });
    let n: Vec<f64> = figures.split(' ').map(|n| n.parse().unwrap()).collect();
    let [requests, micros, failed, p50, p99, p999] = n[..] else { panic!("{figures}") };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    Run { rate: requests / micros * 1e6, latency: [p50 / 1e3, p99 / 1e3, p999 / 1e3], failed: failed as u64 }
}
