"""A sender whose picture carries the moment at which it was made, to be read again wherever the picture comes out (media.md 5.2)."""

import os
import tempfile
import threading
import time

import weir_node

WIDTH, HEIGHT, FPS = 640, 360, 30
BITS, BLOCK, ROWS = 32, 16, 32  # blocks of 16 × 32 pixels along the top left edge, least significant bit leftmost
WHITE, BLACK, GREY = 235, 16, 128
BLOCKS = {0: bytes([BLACK]) * BLOCK, 1: bytes([WHITE]) * BLOCK}


def strip(milliseconds):
    """One line of the picture's luma: the value as blocks, and black to its end."""
    blocks = b"".join(BLOCKS[milliseconds >> bit & 1] for bit in range(BITS))
    return blocks + bytes([BLACK]) * (WIDTH - len(blocks))


class TimedCamera(weir_node.Encoder):
    """ffmpeg as the sender, fed with pictures on an absolute schedule; `stop()` as of any encoder."""

    def __init__(self, node, name, key):
        self.log = tempfile.TemporaryFile()
        reader, writer = os.pipe()
        words = ["ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "warning", "-fflags", "nobuffer",
                 "-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", f"{WIDTH}x{HEIGHT}", "-framerate", str(FPS), "-i", f"/dev/fd/{reader}",
                 "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
                 "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "1500k", "-g", str(2 * FPS), "-keyint_min", str(2 * FPS), "-sc_threshold", "0",
                 "-threads", "1", "-c:a", "aac", "-b:a", "96k", "-flush_packets", "1", "-f", "flv", node.publish_url(name, key)]
        self.process = weir_node._spawn(words, stdout=self.log, stderr=self.log, pass_fds=[reader])
        os.close(reader)
        self._feeder = threading.Thread(target=self._feed, args=[writer], daemon=True)
        self._feeder.start()

    @staticmethod
    def _feed(writer):
        # Below the strip a ramp that moves, so that the encoder has work.
        ramp = bytes(16 + (x * 219 // WIDTH) for x in range(WIDTH)) * 2
        chroma = bytes([GREY]) * (WIDTH * HEIGHT // 2)
        began = time.monotonic()
        try:
            with os.fdopen(writer, "wb", buffering=0) as out:
                for n in range(1 << 30):
                    if (early := began + n / FPS - time.monotonic()) > 0:
                        time.sleep(early)
                    row = ramp[(n * 4) % WIDTH:][:WIDTH]
                    rest = row * (HEIGHT - ROWS) + chroma
                    picture = strip(time.time_ns() // 1_000_000 & 0xFFFFFFFF) * ROWS + rest
                    while picture:
                        picture = picture[out.write(picture):]
        except BrokenPipeError:
            pass  # ffmpeg has ended


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
