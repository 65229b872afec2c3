"""Every header compiles alone: whoever includes it needs to know nothing else first.

check.py BUILD_DIR: takes include folders and definitions from its compile_commands.json, but no precompiled header, which would hide what is missing.
The one exception is actors/interfaces.hpp, for headers that include it anyway: the typed interfaces take most of their time.
A header whose own text and whose headers of ours did not change since it passed is not compiled again (BUILD_DIR/headers-alone/passed.json).
All of them together take four minutes of CPU, so a run stops beginning new ones after BUDGET seconds and the next run goes on; CI (WEIR_CI) does all.
"""
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tree

HEAVY = "actors/interfaces.hpp"
BUDGET = float("inf") if os.environ.get("WEIR_CI") else 90
build = Path(sys.argv[1]).resolve()
headers = tree.files("schemas", "runtime", "actors", "apps", ends=(".hpp",))


def flags():
    """Standard, include folders and definitions of all our sources together; those of libraries do not differ from one to the other."""
    wanted = {}
    for command in json.loads((build / "compile_commands.json").read_text()):
        words = shlex.split(command.get("command", "")) or command["arguments"]
        for at, word in enumerate(words):
            if word == "-isystem":
                wanted[f"-isystem{words[at + 1]}"] = None
            elif re.match(r"-std=|-I|-isystem.|-D(?!WEIR_)", word):
                wanted[word] = None
    return list(wanted)


def closure(path, seen):
    """The header and all headers of ours that it includes."""
    if path in seen:
        return
    seen.add(path)
    for _, what, ours in tree.includes(tree.text(path)):
        if ours and (tree.ROOT / what).exists():
            closure(what, seen)


def fingerprint(path, options):
    seen = set()
    closure(path, seen)
    digest = hashlib.sha256(" ".join(options).encode())
    for one in sorted(seen):
        digest.update(one.encode() + b"\0" + tree.text(one).encode())
    return digest.hexdigest()


def precompile_heavy(options):
    """BUILD_DIR/headers-alone/actors/interfaces.hpp.gch, found before the header itself by whoever searches that folder first."""
    made = build / f"headers-alone/{HEAVY}.gch"
    made.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["g++", *options, "-w", "-x", "c++-header", HEAVY, "-o", made], cwd=tree.ROOT, check=True)


def compile_alone(path, options):
    """What the compiler says, empty when it is content, None when the time is over. Twice in a row, so that a missing guard shows as well."""
    if time.monotonic() > stop_at:
        return None
    unit = f'#include "{path}"\n#include "{path}"\n'
    seen = set()
    closure(path, seen)
    if HEAVY in seen and path != HEAVY:
        options = [f"-I{build / 'headers-alone'}", "-include", HEAVY, *options]
    done = subprocess.run(["g++", *options, "-fsyntax-only", "-Wall", "-x", "c++", "-"], input=unit, cwd=tree.ROOT, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{path}: does not compile alone\n" + "\n".join(done.stderr.splitlines()[:8])


options = flags()
kept = build / "headers-alone/passed.json"
passed = json.loads(kept.read_text()) if kept.exists() else {}
prints = {path: fingerprint(path, options) for path in headers}
kept.parent.mkdir(exist_ok=True)
# The newest first: they are the ones that somebody works on.
due = sorted((path for path in headers if passed.get(path) != prints[path]), key=lambda path: -(tree.ROOT / path).stat().st_mtime)
if any(path.startswith("actors/") for path in due):
    precompile_heavy(options)
stop_at = time.monotonic() + BUDGET
with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
    results = dict(zip(due, pool.map(lambda path: compile_alone(path, options), due)))
left = [path for path in due if results[path] is None]
kept.write_text(json.dumps({path: prints[path] for path in headers if path not in results or results[path] == ""}))
tree.finish("headers", [said for said in results.values() if said], f"{len(headers)} headers, {len(due) - len(left)} compiled, {len(left)} left for the next run")
