"""What all cases share: pinned processes and their CPU time, wrk, medians, and the line that a case prints.

The server runs on core 0, the load generator on core 1. Rounds are interleaved (ours, peer, ours, peer …), so that whatever else the machine does meets
both; the first round is a warm-up and thrown away.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SERVER_CORE, LOAD_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")


class BenchFailed(Exception):
    """A case that cannot be measured says why."""


def say(text):
    """Progress, beside the JSON lines."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


# --- numbers --------------------------------------------------------------------------------------------------------------------


def middle(values):
    return statistics.median(values)


def deviation(values):
    """Median absolute deviation."""
    return middle([abs(v - middle(values)) for v in values])


def rounded(value):
    """Four digits: more would be noise."""
    return float(f"{value:.4g}")


def commit():
    """The commit that was measured; `+` when the sources have changed since."""
    def git(*words):
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "schemas", "runtime", "actors", "apps", "bench", "cmake", "CMakeLists.txt")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def line(case, unit, better, ours, peer, peer_name, **params):
    """One case's result from its rounds. `mad` is that of our values, in the same unit; the peer's stands in params. Without a peer (None) there is no ratio."""
    theirs = middle(peer) if peer else None
    return {
        "case": case, "unit": unit, "ours": rounded(middle(ours)), "peer": rounded(theirs) if peer else None, "peer_name": peer_name,
        "ratio": rounded(middle(ours) / theirs) if peer else None, "better": better, "runs": len(ours), "mad": rounded(deviation(ours)),
        "params": {**params, **({"peer_mad": rounded(deviation(peer))} if peer else {}), "load_before": LOAD_BEFORE, "cores": os.cpu_count()}, "commit": commit(),
    }


# Other work on the machine when the bench began: figures taken above 0.5 are to be read with care.
LOAD_BEFORE = round(os.getloadavg()[0], 1)


# --- processes ------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def on_cores(cores):
    """Whatever is started meanwhile stays on these cores for its life."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid):
    """User and system time of a process so far, all its threads."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
        fields = f.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid):
    """Resident memory of a process, in bytes."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(text.split()[1]) * 1024 for text in f if text.startswith("Rss:"))


def worker_of(master, within=5):
    """The one child of an nginx master; the master listens before it has it."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with open(f"/proc/{master}/task/{master}/children", encoding="utf-8") as f:
            if children := f.read().split():
                return int(children[0])
        time.sleep(0.02)
    raise BenchFailed(f"nginx has no worker after {within} s")


def cpu_of_run(*commands):
    """Runs programs side by side to their end; their CPU seconds and their standard outputs."""
    running = [subprocess.Popen(c, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for c in commands]
    used, outputs = 0.0, []
    for process in running:
        out, errors = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        process.stderr.close()
        if process.returncode != 0:
            raise BenchFailed(f"{' '.join(process.args)}: status {process.returncode}\n{errors.decode(errors='replace')}")
        used += usage.ru_utime + usage.ru_stime
        outputs.append(out.decode())
    return used, outputs


@contextlib.contextmanager
def running(command, **how):
    """A process for the time of the block, ended by TERM, at last by KILL."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **how)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def wait_for_port(port, process, within=10):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchFailed(f"{' '.join(process.args)} ended with status {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise BenchFailed(f"nobody listens on port {port} after {within} s")


@contextlib.contextmanager
def nginx(server, top="", http="", cores=frozenset({SERVER_CORE})):
    """A tuned nginx with one worker on the server core; `server` is the inside of its server block, `http` stands before that block, `top` before
    everything; {folder} is filled in in the former two. Gives (port, pid of the worker, folder)."""
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder, contextlib.ExitStack() as stack:
        os.chmod(folder, 0o755)
        port = free_port()
        with open(f"{folder}/nginx.conf", "w", encoding="utf-8") as f:
            f.write(f"""{top}
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_processes 1;
worker_rlimit_nofile 20000;
events {{ worker_connections 8000; multi_accept on; }}
http {{
  access_log off;
  sendfile on;
  tcp_nodelay on;
  etag off;
  server_tokens off;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  open_file_cache max=1000 inactive=300s;
  open_file_cache_valid 300s;
  types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {http.format(folder=folder)}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {server.format(folder=folder)}
  }}
}}
""")
        with on_cores(cores):
            master = stack.enter_context(running(["/usr/sbin/nginx", "-p", folder, "-c", "nginx.conf"], stderr=subprocess.DEVNULL))
        wait_for_port(port, master)
        yield port, worker_of(master.pid), folder


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- load -----------------------------------------------------------------------------------------------------------------------


class Load:
    """Requests for wrk, kept in a file. All answers must be 2xx, and no connection may break."""

    def __init__(self, folder, requests):
        self.file = os.path.join(folder, "requests")
        with open(self.file, "wb") as f:
            for one in requests:
                f.write(b"%d\n%s" % (len(one), one))

    def send(self, port, connections, seconds, pause_ms=0):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < connections + 100:
            raise BenchFailed(f"{connections} connections need as many open files; this machine allows {hard}")
        if soft < connections + 100:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        with on_cores({LOAD_CORE}):
            done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", os.path.join(ROOT, "bench/load.lua"),
                                   f"http://127.0.0.1:{port}/", "--", self.file, str(pause_ms)], capture_output=True, text=True, timeout=seconds + 60, check=False)
        if done.returncode != 0:
            raise BenchFailed(f"wrk: status {done.returncode}: {done.stderr}")
        result = json.loads(done.stdout.splitlines()[-1])
        if result["refused"] or result["broken"] or not result["requests"]:
            raise BenchFailed(f"the load was not answered as it should be: {result}")
        return result

    def send_watched(self, port, pid, connections, seconds, pause_ms=0):
        """The same, with the CPU seconds of the server that answers."""
        before = cpu_seconds(pid)
        result = self.send(port, connections, seconds, pause_ms)
        result["cpu"] = cpu_seconds(pid) - before
        result["per_cpu_second"] = result["requests"] / result["cpu"]
        result["utilisation"] = result["cpu"] / result["seconds"]
        return result
