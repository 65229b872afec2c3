"""The task type that docs/4-extend.md shows compiles as it stands there. The rules, first:

check.py BUILD_DIR: takes the compiler and its flags, warnings included, from what its compile_commands.json says of a task type that is there.
"""
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tree

# 1. The page has one whole source: the block that begins with a comment in capitals and ends with the registration.
PAGE = "docs/4-extend.md"
SOURCE = re.compile(r"^```cpp\n(// [A-Z]+: .*?)^```$", re.S | re.M)
# 2. It compiles with the flags of its neighbour, without a warning.
NEIGHBOUR = "actors/tasks/restream/restream.cpp"


def compiler(build):
    """The neighbour's command without its source and its object."""
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if Path(entry["directory"], entry["file"]).resolve() == tree.ROOT / NEIGHBOUR:
            words = shlex.split(entry.get("command", "")) or entry["arguments"]
            kept, skip = [], False
            for word in words:
                if not skip and word not in ("-c", "-o") and not word.endswith(NEIGHBOUR):
                    kept.append(word)
                skip = word == "-o"
            return kept, entry["directory"]
    return None, None


def compile_complaints(source, command, folder):
    done = subprocess.run([*command, "-fsyntax-only", "-Werror", "-Wfatal-errors", "-x", "c++", "-"], input=source, cwd=folder, capture_output=True, text=True, check=False)
    said = [line[:300] for line in done.stderr.splitlines() if "error:" in line]  # CAF's templates tell the rest
    return [] if done.returncode == 0 else [f"{PAGE}: its sample does not compile", *said]


command, folder = compiler(Path(sys.argv[1]).resolve())
samples = SOURCE.findall(tree.text(PAGE))
complaints = []
if len(samples) != 1 or "WEIR_TASK_TYPE(" not in samples[0]:
    complaints.append(f"{PAGE}: {len(samples)} whole sources of a task type, one is wanted")
elif not command:
    complaints.append(f"compile_commands.json does not name {NEIGHBOUR}")
else:
    complaints += compile_complaints(samples[0], command, folder)
    if not compile_complaints("nothing();\n" + samples[0], command, folder):
        complaints.append("rule that does not bite: what is not C++ compiles")
tree.finish("sample", complaints, f"{PAGE} beside {NEIGHBOUR}")
