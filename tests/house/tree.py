"""The tree as house tests see it: which files there are, what they include, and how a test says what it found."""
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Not ours, or made by a build.
LEFT_OUT = {".git", "build", "node_modules", "dist", "corpus", "__pycache__"}


def files(*folders, ends=(".hpp", ".cpp")):
    """Paths below the folders, relative to the root, sorted."""
    found = []
    for folder in folders:
        for place, names, here in os.walk(ROOT / folder):
            names[:] = [n for n in names if n not in LEFT_OUT]
            found += [Path(place, f).relative_to(ROOT).as_posix() for f in here if f.endswith(ends)]
    return sorted(found)


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)


def includes(source):
    """(line, path, ours) of every include; ours: written in quotes."""
    return [(source.count("\n", 0, m.start(1) if m[1] else m.start(2)) + 1, m[1] or m[2], bool(m[1])) for m in INCLUDE.finditer(source)]


# Comments, string and character literals, in that order of beginning.
NO_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def code_only(source):
    """The source with comments and literals blanked, line numbers kept. Digit separators are no quotes."""
    source = re.sub(r"(?<=\d)'(?=\d)", "_", source)
    return NO_CODE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), source)


def finish(name, complaints, looked_at):
    """Prints what was found, one line each, and ends with 0 or 1."""
    for line in complaints:
        print(line)
    print(f"{name}: {looked_at}, {len(complaints)} complaint{'' if len(complaints) == 1 else 's'}")
    sys.exit(1 if complaints else 0)
