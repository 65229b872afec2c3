"""How long after an encoder is started a viewer can play its first segment, beside the ffmpeg program's own HLS muxer behind the same nginx-rtmp."""

import contextlib
import os
import shutil
import sys
import time

from measuring import ROOT, BenchFailed, line, middle, nginx, rounded, say

sys.path.insert(0, os.path.join(ROOT, "tests/system"))
import weir_node

CASES = {"publish_to_segment": "seconds from the start of an encoder to the first playable segment, beside ffmpeg's HLS muxer behind the same nginx-rtmp"}
TARGETS = ["weir"]

LOOK_EVERY = 0.025
PEER = "nginx-rtmp exec_push ffmpeg -f hls -hls_time 2, same ladder"
# The ladder that the node has too (weir_node.SMALL_LADDER). It probes longer than key frames lie apart: with less, ffmpeg finds no picture, ends, and
# exec_push tries again 5 s later.
PEER_COMMAND = ("{ffmpeg} -hide_banner -nostdin -v error -probesize 1000000 -analyzeduration 2500000 -i rtmp://127.0.0.1:{rtmp}/live/$name"
                " -filter_complex [0:v]scale=-2:180:flags=bicubic,split[a][b];[b]scale=-2:120:flags=bicubic[c] -map [a] -map 0:a -map [c] -map 0:a"
                " -c:v libx264 -preset superfast -threads:v 1 -pix_fmt yuv420p -b:v:0 250k -maxrate:v:0 275k -bufsize:v:0 250k -b:v:1 100k -maxrate:v:1 110k -bufsize:v:1 100k"
                " -force_key_frames expr:gte(t,n_forced*2) -sc_threshold 0 -g 600 -c:a aac -b:a 64k -f hls -hls_time 2 -hls_list_size 30"
                " -hls_segment_filename {folder}/www/$name-%v-%d.ts -var_stream_map v:0,a:0\\ v:1,a:1 {folder}/www/$name-%v.m3u8")
PEER_TOP = """load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
rtmp {{ access_log off; server {{ listen 127.0.0.1:{rtmp}; chunk_size 4096; application live {{
  live on; wait_key on; wait_video off;
  exec_push {command};
}} }} }}"""


def seconds_until(playable, publisher, within=60):
    """Starts the encoder; the time until playable() holds."""
    began = time.monotonic()
    with publisher() as encoder:
        while time.monotonic() - began < within:
            with contextlib.suppress(OSError, ValueError):
                if playable():
                    return time.monotonic() - began
            if encoder.process.poll() is not None:
                raise BenchFailed(f"the encoder ended: {encoder.output()}")
            time.sleep(LOOK_EVERY)
    raise BenchFailed(f"nothing could be played within {within} s")


def measure(names, settings):
    weir_node.PROGRAM = settings.program("apps/weir/weir")
    runs = settings.runs(usual=10, quick=5)
    node = weir_node.Node(coordinator={"publish_grace": "1s"}, log={"level": "warn", "format": "text"})
    rtmp = weir_node.free_ports(1)
    try:
        node.start()
        with contextlib.ExitStack() as stack:
            # The folder of the peer's nginx is known only inside, and exec_push wants it: so it is a link with a name of ours.
            link = os.path.join(node.folder, "peer")
            command = PEER_COMMAND.format(ffmpeg=shutil.which("ffmpeg"), rtmp=rtmp, folder=link)
            words = " ".join(f"'{word}'" if any(c in word for c in "[]();,") else word for word in command.replace("\\ ", "\0").split(" ")).replace("\0", " ")
            port, _, folder = stack.enter_context(nginx("root {folder}/www; open_file_cache off; add_header Cache-Control no-cache;", PEER_TOP.format(rtmp=rtmp, command=words), cores=os.sched_getaffinity(0)))
            os.symlink(folder, link)
            os.mkdir(f"{folder}/www")
            os.chmod(node.folder, 0o755)
            peer_url = f"http://127.0.0.1:{port}"

            class Peer:
                """Where an Encoder publishes to."""
                @staticmethod
                def publish_url(name, _):
                    return f"rtmp://127.0.0.1:{rtmp}/live/{name}"

            def ours_plays(name):
                listed = weir_node.Viewer(node, name).playlist().media
                return listed and weir_node.fetch(listed[0].uri).status == 200

            def peer_plays(name):
                url = f"{peer_url}/{name}-0.m3u8"
                answer = weir_node.fetch(url)
                listed = answer.status == 200 and weir_node.Playlist(url, answer.text).media
                return listed and weir_node.fetch(listed[0].uri).status == 200

            ours, peer = [], []
            for round_ in range(runs + 1):
                say(f"publish_to_segment: round {round_} of {runs}" + (" (warm-up)" if round_ == 0 else ""))
                name = f"bench-{round_}"
                stream = node.add_stream(name)
                task = node.add_hls(stream)
                mine = seconds_until(lambda: ours_plays(name), lambda: weir_node.Encoder(node, name, stream.key))
                stream.wait_for_phase("offline", 20)
                weir_node.eventually("the transcoder is gone", lambda: node.task(task)["phase"] in ("waiting", "done"), 20)
                theirs = seconds_until(lambda: peer_plays(name), lambda: weir_node.Encoder(Peer, name, None))
                if round_ > 0:
                    ours.append(mine)
                    peer.append(theirs)
        node.stop()
    finally:
        node.remove()
    yield line("publish_to_segment", "seconds", "lower", ours, peer, PEER, profile="short", segment_seconds=2, source="320x180, 25 fps, key frame every 2 s",
               worst=rounded(max(ours)), peer_worst=rounded(max(peer)), rungs=2, looked_every_ms=round(LOOK_EVERY * 1000))
