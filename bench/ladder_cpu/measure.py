"""CPU time of one four-rung ladder: our pipeline child beside the ffmpeg program in three forms."""

import json
import os
import subprocess

from measuring import BenchFailed, cpu_of_run, line, say

CASES = {
    "ladder_cpu": "CPU seconds a media second of a four-rung ladder, beside the best single ffmpeg command",
    "ladder_cpu_split": "the same beside the usual ffmpeg command: split filter, defaults",
    "ladder_cpu_per_task": "the same beside four ffmpeg processes, one for each rung",
}
TARGETS = ["bench_ladder_cpu"]

SECONDS = 10
RUNGS = [(1920, 1080, 5_000_000), (1280, 720, 3_000_000), (854, 480, 1_400_000), (640, 360, 700_000)]
FFMPEG = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-y"]
# The grid and rate control that our engine uses: an IDR frame every 2 s and nowhere else, ceiling 1.1 ×, buffer 2 s.
X264 = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "60", "-keyint_min", "60", "-sc_threshold", "0"]
AAC = ["-c:a", "aac", "-b:a", "128k", "-ac", "2"]
PASS_TIMES = ["-vsync", "passthrough"]


def clip(folder):
    """Ten seconds 1080p30, made once: four moving pictures under grain, H.264 about 8 Mbit/s with B-frames, AAC. The same on every machine. It begins at
    2 s, on our grid of key frames: a transcoder that joins between two points of the grid leaves out what comes before the next one."""
    path = os.path.join(folder, "bench-clip.flv")
    if os.path.exists(path):
        return path
    say("making the clip")
    sources = ["mandelbrot=size=960x540:rate=30", "testsrc2=size=960x540:rate=30", "life=size=120x68:rate=10:mold=10:seed=1:ratio=0.4:death_color=#401020:life_color=#a0ffb0",
               "gradients=size=960x540:rate=30:speed=0.02:seed=1:c0=#204060:c1=#e0a040:c2=#308050:c3=#c02050:n=4"]
    inputs = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
    picture = ("[2:v]scale=960:540:flags=bicubic,fps=30[cells];[0:v][1:v][cells][3:v]xstack=inputs=4:layout=0_0|w0_0|0_h0|w0_h0,"
               "noise=alls=6:allf=t:all_seed=1,format=yuv420p[v]")
    command = FFMPEG + inputs + ["-f", "lavfi", "-i", "anoisesrc=color=pink:amplitude=0.2:sample_rate=48000:seed=1", "-f", "lavfi", "-i", "sine=frequency=440:beep_factor=4:sample_rate=48000",
                                 "-filter_complex", picture + ";[4:a][5:a]amix=inputs=2,aformat=channel_layouts=stereo[a]", "-map", "[v]", "-map", "[a]", "-t", str(SECONDS),
                                 "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-b:v", "8100k", "-maxrate", "9M", "-bufsize", "16M", "-bf", "2", "-g", "60",
                                 "-sc_threshold", "0", "-c:a", "aac", "-b:a", "160k", "-output_ts_offset", "2", "-f", "flv", path + ".part"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise BenchFailed(f"the clip: {made.stderr}")
    os.rename(path + ".part", path)
    return path


def rates(index, rate):
    stream = f":{index}" if index is not None else ""
    # As ours (schemas/media.hpp): a buffer of a quarter of a segment of 6 s.
    return [f"-b:v{stream}", str(rate), f"-maxrate:v{stream}", str(rate * 11 // 10), f"-bufsize:v{stream}", str(rate * 3 // 2)]


def best_command(path):
    """Each rung scaled from the next larger, one thread an encoder, one AAC encode for all: what media.md found to be the cheapest."""
    sizes = [f"scale={w}:{h}:flags=bicubic" for w, h, _ in RUNGS]
    graph = (f"[0:v]split[v0][a];[a]{sizes[1]},split[v1][b];[b]{sizes[2]},split[v2][c];[c]{sizes[3]}[v3]")
    maps = [word for i in range(len(RUNGS)) for word in ("-map", f"[v{i}]")] + ["-map", "0:a"]
    outputs = "|".join(f"[select=\\'v:{i},a:0\\':f=mpegts]/dev/null" for i in range(len(RUNGS)))
    return [FFMPEG + ["-threads", "1", "-i", path, "-filter_complex_threads", "1", "-filter_complex", graph] + maps + PASS_TIMES + X264 + ["-threads:v", "1"]
            + [word for i, (_, _, rate) in enumerate(RUNGS) for word in rates(i, rate)] + AAC + ["-f", "tee", outputs]]


def usual_command(path):
    """As it stands in most tutorials: split, a scaler for each rung from the source, an AAC encode for each, automatic threads."""
    graph = f"[0:v]split={len(RUNGS)}" + "".join(f"[s{i}]" for i in range(len(RUNGS))) + "".join(
        f";[s{i}]scale={w}:{h}:flags=bicubic[v{i}]" for i, (w, h, _) in enumerate(RUNGS))
    outputs = []
    for i, (_, _, rate) in enumerate(RUNGS):
        outputs += ["-map", f"[v{i}]", "-map", "0:a"] + PASS_TIMES + X264 + rates(None, rate) + AAC + ["-f", "mpegts", "/dev/null"]
    return [FFMPEG + ["-i", path, "-filter_complex", graph] + outputs]


def command_per_rung(path):
    """A process for each rung, side by side: each decodes and encodes sound for itself."""
    return [FFMPEG + ["-i", path, "-map", "0:v", "-map", "0:a", "-vf", f"scale={w}:{h}:flags=bicubic"] + PASS_TIMES + X264 + rates(None, rate) + AAC + ["-f", "mpegts", "/dev/null"]
            for w, h, rate in RUNGS]


PEERS = {
    "ladder_cpu": ("ffmpeg, one command: cascade, threads=1, one AAC", best_command),
    "ladder_cpu_split": ("ffmpeg, one command: split filter, defaults", usual_command),
    "ladder_cpu_per_task": ("ffmpeg, four processes, defaults", command_per_rung),
}


def measure(names, settings):
    path = clip(settings.build)
    runs = settings.runs(usual=5, quick=1)
    ours, peers, resident = [], {name: [] for name in names}, 0
    for round_ in range(runs + 1):
        if round_ == 0 and settings.quick:
            continue
        say(f"ladder: round {round_} of {runs}" + (" (warm-up)" if round_ == 0 else ""))
        _, (text,) = cpu_of_run([settings.program("bench/bench_ladder_cpu"), path])
        mine = json.loads(text)
        if abs(mine["media_seconds"] - SECONDS) > 0.2:
            raise BenchFailed(f"our ladder lasts {mine['media_seconds']} s of {SECONDS}")
        theirs = {name: cpu_of_run(*PEERS[name][1](path))[0] / SECONDS for name in names}
        if round_ > 0:
            ours.append(mine["cpu_seconds"] / mine["media_seconds"])
            resident = max(resident, mine["resident_mib"])
            for name in names:
                peers[name].append(theirs[name])
    for name in names:
        yield line(name, "CPU seconds a media second", "lower", ours, peers[name], PEERS[name][0], clip=f"{SECONDS} s, 1080p30, lavfi with grain",
                   ladder=[f"{h}p {rate / 1e6:g}M" for _, h, rate in RUNGS], preset="veryfast", resident_mib=resident)
