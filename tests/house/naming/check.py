"""Names say what a thing is. The rules, first:"""
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tree

# 1. No file, folder or identifier of ours has one of these as a word: they say nothing about what is inside.
EMPTY_WORDS = {"util", "utils", "common", "manager", "helper", "helpers", "misc"}
# 2. What is not done is an issue, not a remark.
REMARKS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
# 3. No version in a file's name.
VERSIONED = re.compile(r"[a-z](2|_v\d+|_new|_old)\.\w+$")
# 4. Shell scripts pass shellcheck.
OURS = ["schemas", "runtime", "actors", "apps", "tools", "tests", "bench", "cmake", "config", "web/src", "web/tests", "docs"]
CODE = (".hpp", ".cpp", ".ts", ".mjs")
SCRIPTS = [p for p in ["run", "test", ".ci/run", "bench/run"] if (tree.ROOT / p).exists()] + tree.files("tools", "tests", "bench", ends=(".sh",))
SHELL = [path for path in SCRIPTS if tree.text(path).startswith("#!/bin/sh")]
# Words of other people's interfaces.
FOREIGN = re.compile(r"\bstd::\w+|\b(?:av|sws|swr)_\w+|\bROCKSDB_NAMESPACE::\S+|\bcaf::\S+|\bboost::\S+|\bopenssl_\w+")


def words_of(name):
    """snake_case and CamelCase taken apart, small letters."""
    return {w.lower() for part in re.split(r"[^A-Za-z]+", name) for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part)}


def name_complaints(path):
    found = words_of(path) & EMPTY_WORDS
    if found:
        yield f"{path}: {', '.join(found)} in a file's name"
    if VERSIONED.search(path) and "/data/" not in path:
        yield f"{path}: a version in a file's name"


def code_complaints(path, source):
    for number, line in enumerate(source.splitlines(), 1):
        if REMARKS.search(line):
            yield f"{path}:{number}: a remark about what is not done"
    for number, line in enumerate(tree.code_only(source).splitlines(), 1):
        if line.lstrip().startswith(("#include", "import ")):
            continue
        for name in re.findall(r"[A-Za-z_]\w*", FOREIGN.sub("", line)):
            found = words_of(name) & EMPTY_WORDS
            if found:
                yield f"{path}:{number}: {', '.join(found)} in {name}"


def shell_complaints(path):
    if not shutil.which("shellcheck"):
        return
    done = subprocess.run(["shellcheck", "--shell=sh", "--format=gcc", path], cwd=tree.ROOT, capture_output=True, text=True, check=False)
    yield from done.stdout.splitlines()


def rules_bite():
    bad = [*name_complaints("runtime/http/string_utils.hpp"), *name_complaints("actors/chart2.cpp"), *code_complaints("a.cpp", "// TO" "DO\n"),
           *code_complaints("a.cpp", "class TaskManager;\n"), *code_complaints("a.cpp", "int helper_count;\n")]
    good = [*name_complaints("runtime/http/router.hpp"), *code_complaints("a.cpp", 'auto s = "a manager"; // of a common kind\nstd::common_type_t<int> x;\n')]
    return ([] if len(bad) == 5 else [f"rule that does not bite: only {bad}"]) + [f"rule that bites wrongly: {g}" for g in good]


complaints = rules_bite()
everything = tree.files(*OURS, ends="")
for path in everything:
    complaints += name_complaints(path)
for path in tree.files(*OURS, ends=CODE):
    complaints += code_complaints(path, tree.text(path))
for path in SHELL:
    complaints += [f"{path}:{n}: a remark about what is not done" for n, line in enumerate(tree.text(path).splitlines(), 1) if REMARKS.search(line)]
    complaints += shell_complaints(path)
checked = "shellcheck" if shutil.which("shellcheck") else "no shellcheck here"
tree.finish("naming", complaints, f"{len(everything)} names, {len(SHELL)} shell scripts ({checked})")
