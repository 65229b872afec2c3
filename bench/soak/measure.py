"""An hour: whether a node that broadcasts needs more memory at its end than at its beginning, and whether players of every profile see it stop."""

import concurrent.futures
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time

from measuring import ROOT, BenchFailed, line, middle, resident, rounded, say

sys.path.insert(0, os.path.join(ROOT, "tests/browser"))
import playback  # puts tests/system on the path
import weir_node
from ll_hls_latency.measure import timed_broadcast, watching
from time_code import percentile

CASES = {
    "soak": "MiB by which a node with all roles grows in an hour of low latency in Chromium, viewers and a publisher that come and go (no peer)",
    "soak_profiles": "stalls of hls.js, Shaka and ffmpeg in an hour of each profile, all at once (no peer)",
}
TARGETS = ["weir", "hls_watch"]

PART = "333ms"
SAMPLED_EACH = 5  # seconds
TOLD_EACH = 600
MIB = 1 << 20


class Comings(threading.Thread):
    """What is done again and again until `stop()`: a broadcast of its own, each time to its end."""

    def __init__(self, node, stream):
        super().__init__(daemon=True)
        self.node, self.stream, self.times = node, stream, 0
        self.failure = None
        self._done = threading.Event()

    def run(self):
        try:
            while not self._done.is_set():
                with weir_node.Encoder(self.node, "guest", self.stream.key):
                    weir_node.wait_until_playable(self.node, "guest", 60)
                    self._done.wait(15)
                self.stream.wait_for_phase("offline", 60)
                self.times += 1
        except (AssertionError, OSError) as e:
            self.failure = e

    def stop(self):
        self._done.set()
        self.join(90)


def memory(node, task):
    """Resident bytes of the node, of the one pipeline that runs all the time, and of all its nginx."""
    nginx = weir_node.processes(lambda p: p.session in node.sessions and p.command.startswith("nginx: "))
    return {"node": resident(node.process.pid), "transcoder": resident(node.pid_of_task(task)), "nginx": sum(resident(p.pid) for p in nginx)}


def grown(samples, kind):
    """Medians of the second tenth of the time and of the last one, in MiB: by the former, windows and caches are full."""
    tenth = max(1, len(samples) // 10)
    values = [s[kind] / MIB for s in samples]
    return middle(values[tenth:2 * tenth]), middle(values[-tenth:])


def grows(seconds):
    with timed_broadcast(PART) as (node, task, _), watching(node) as page, weir_node.Linter(node, "show", variants=1) as linter:
        guest = node.add_stream("guest")
        node.add_hls(guest)
        comings = Comings(node, guest)
        comings.start()
        try:
            samples, until = [], time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                time.sleep(min(left, SAMPLED_EACH))
                samples.append(memory(node, task))
                if len(samples) % (TOLD_EACH // SAMPLED_EACH) == 0:
                    say(f"soak: {len(samples) * SAMPLED_EACH} s of {seconds}: {({kind: round(bytes / MIB, 1) for kind, bytes in samples[-1].items()})}")
                if comings.failure or page.said("complaint"):
                    raise BenchFailed(str(comings.failure or page.said("complaint")[0]))
            read = page.said("readings")[-seconds:]
        finally:
            comings.stop()
    parts = {kind: grown(samples, kind) for kind in samples[0]}
    ages = [age / 1000 for r in read for age in r["ages"]]
    yield line("soak", "MiB", "lower", [sum(last - first for first, last in parts.values())], None, None,
               **{kind: [rounded(first), rounded(last)] for kind, (first, last) in parts.items()}, most={kind: rounded(max(s[kind] for s in samples) / MIB) for kind in parts},
               seconds=seconds, stalls=read[-1]["stalls"] - read[0]["stalls"], p95=rounded(percentile(ages, 0.95)), viewers=linter.viewers, findings=len(linter.findings),
               broadcasts=comings.times, part=PART)


# --- every profile --------------------------------------------------------------------------------------------------------------

PROFILES = {
    "standard": {"container": "ts"},
    "quick": {"container": "fmp4", "audio": "separate"},
    "short": {"container": "ts"},
    "low_latency": {"part": PART},
}
LATE = 1.0  # seconds


class Ffmpeg(threading.Thread):
    """ffmpeg as a player without a buffer of its own: it decodes what it fetches at the rate of the media, from three segments before the newest on.
    A picture that comes more than LATE seconds after its turn is a stall; ffmpeg then makes up for it, as fast as it can."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.stalls, self.latest, self.decoded = 0, 0.0, 0.0  # latest: seconds by which a picture was late; decoded: seconds
        self.log = tempfile.TemporaryFile()
        words = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "warning", "-re", "-i", url, "-map", "0:v:0", "-map", "0:a:0", "-f", "null", "-progress", "pipe:1", "-stats_period", "0.2", "-"]
        self.process = weir_node._spawn(words, stdout=subprocess.PIPE, stderr=self.log)

    def run(self):
        due = None  # when media time 0 would have had its turn, by the earliest picture of all
        late = False
        for said in self.process.stdout:
            key, _, value = said.decode().strip().partition("=")
            if key != "out_time_us" or not value.isdigit():
                continue
            self.decoded = int(value) / 1e6
            moment = time.monotonic() - self.decoded
            due = min(moment, due or moment)
            self.latest = max(self.latest, moment - due)
            self.stalls += not late and moment - due > LATE
            late = moment - due > LATE

    def complaints(self):
        self.log.seek(0)
        said = self.log.read().decode(errors="replace").splitlines()
        # It hands the map to its demuxer again and again.
        return [text for text in said if "duplicated MOOV" not in text and "message repeated" not in text]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        weir_node._end_session(self.process.pid)
        self.process.wait(10)
        self.join(10)
        self.process.stdout.close()
        self.log.close()


def plays(seconds):
    node = weir_node.Node(log={"level": "warn", "format": "text"})
    try:
        node.start()
        with contextlib.ExitStack() as stack, weir_node.HostWatch() as host:
            for profile, options in PROFILES.items():
                stream = node.add_stream(profile)
                node.add_task(stream, "hls", {"ladder": "small", "profile": profile, **options})
                stack.enter_context(weir_node.Encoder(node, profile, stream.key))
            for profile in PROFILES:
                weir_node.wait_for_the_hold_back(weir_node.wait_until_playable(node, profile, 90), 6)
            addresses = [word for profile in PROFILES for word in (profile, f"{node.url}/watch/{profile}", node.playback_url(profile))]
            browser = playback.Script("profiles.mjs", *addresses)
            stack.callback(browser.stop)
            browser.wait_for("ready", 180)
            ffmpegs = {profile: stack.enter_context(Ffmpeg(node.playback_url(profile))) for profile in PROFILES}
            pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor())
            reports = {profile: pool.submit(weir_node.watch, node, profile, seconds) for profile in PROFILES}
            until, told = time.monotonic() + seconds, TOLD_EACH
            while (left := until - time.monotonic()) > 0:
                time.sleep(min(left, SAMPLED_EACH))
                if ended := [p for p, f in ffmpegs.items() if f.process.poll() is not None]:
                    raise BenchFailed(f"ffmpeg has ended: {ended}; {ffmpegs[ended[0]].complaints()}")
                if seconds - left >= told:
                    say(f"soak_profiles: {told} s of {seconds}: {({(p, b): browser.said('sample', stream=p, player=b)[-1]['stalls'] for p in PROFILES for b in ('hls.js', 'shaka')})}")
                    told += TOLD_EACH
            results = {profile: result(profile, browser, ffmpegs[profile]) for profile in PROFILES}
            for profile, report in reports.items():
                results[profile].update(segments=report.result()["segments"], findings=report.result()["findings"])
            complaints = browser.said("complaint")
        node.stop()
    finally:
        node.remove()
    yield line("soak_profiles", "stalls", "lower", [sum(r["stalls"] for profile in results.values() for r in profile.values() if isinstance(r, dict))], None, None,
               **results, seconds=seconds, complaints=complaints[:20], host_stood_still=rounded(host.longest))


def result(profile, browser, ffmpeg):
    """What the three players of one stream saw."""
    of = {}
    for player in ("hls.js", "shaka"):
        seen = browser.said("sample", stream=profile, player=player)
        first, last = seen[0], seen[-1]
        of[player] = {"stalls": last["stalls"] - first["stalls"], "still": rounded(last["still"] - first["still"]), "skipped": rounded(last["skipped"] - first["skipped"]),
                      "played": rounded(last["currentTime"] - first["currentTime"]), "least_buffered": rounded(min(s["buffered"] for s in seen[10:])),
                      "errors": last["errors"]["all"] - first["errors"]["all"], "reloads": len({s["loaded"] for s in seen}) - 1}
    of["ffmpeg"] = {"stalls": ffmpeg.stalls, "latest": rounded(ffmpeg.latest), "played": rounded(ffmpeg.decoded), "complaints": ffmpeg.complaints()[:10]}
    return of


def measure(names, settings):
    weir_node.PROGRAM, weir_node.HLS_WATCH = settings.program("apps/weir/weir"), settings.program("tools/hls_watch/hls_watch")
    seconds = 240 if settings.quick else 3600
    for case in names:
        yield from {"soak": grows, "soak_profiles": plays}[case](seconds)
