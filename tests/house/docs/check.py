"""The book says what is there. The rules, first:"""
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tree

# 1. These pages exist, and README.md leads to each of them.
PAGES = ["1-start.md", "2-how-it-works/1-the-house.md", "2-how-it-works/2-actors.md", "2-how-it-works/3-life-of-a-stream.md",
         "2-how-it-works/4-playlists-and-edges.md", "3-operate.md", "4-extend.md", "5-reference/index.md", "6-decisions.md",
         "7-runbooks/index.md"]
# 2. Every relative link leads to a file, its anchor to a heading.
# 3. Every file, function, command, route and log line that a page names in `code` exists. Placeholders (NAME, {id}, …, <type>) stand for anything.
# 4. Lines have at most 150 columns; table rows, code and generated pages may be longer.
LONGEST = 150
GENERATED = {"docs/5-reference/configuration.md", "docs/5-reference/logs.md"}
# 5. The page of log lines is fresh.
# 6. Every task type and every room of runtime/ is named somewhere in the book.

TOP = "schemas|runtime|actors|apps|config|docs|tests|tools|cmake|web|bench"
FILE = re.compile(rf"^(?:{TOP})/[\w./-]+$")
CALL = re.compile(r"^(?:[a-z_]\w*::)*[a-z_]\w*(?:::[a-z_]\w*|\(\))$")
ROUTE = re.compile(r"^/(?:api|hooks|rtmp|hls|p|s|steer|watch|origin|introspect|metrics|livez|readyz)(?:/|$)")
COMMAND = re.compile(r"^\s*(?:sudo )?(?:\./run )?weir ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)")


def slug(heading):
    return re.sub(r"[^\w -]", "", re.sub(r"`", "", heading).strip().lower()).replace(" ", "-")


def prose_and_code(page):
    """(lines outside of code blocks as (number, text), lines inside)."""
    outside, inside, fenced = [], [], False
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif fenced:
            inside.append((number, line))
        elif re.match(r" {4,}\S", line):
            inside.append((number, line))
        else:
            outside.append((number, line))
    return outside, inside


class code:
    """What the sources hold, to be asked for names."""
    def __init__(self):
        folders = ("schemas", "runtime", "actors", "apps", "tools", "web/src", "cmake", "tests")
        paths = [p for p in tree.files(*folders, ends=(".hpp", ".cpp", ".ts", ".cmake", ".txt", ".py")) if "/data/" not in p and not p.startswith("tests/house/")]
        everything = {p: tree.text(p) for p in paths}
        self.words = set(re.findall(r"[A-Za-z_]\w*", "\n".join(everything.values())))
        served = [t for p, t in everything.items() if p.startswith("actors/") or p == "runtime/hls/addresses.hpp"]
        self.routes = "\n".join(served)
        commands = "\n".join(t for p, t in everything.items() if p.startswith("apps/"))
        self.commands = set(re.findall(r'(?:add_subcommand\(|add_client_command\([\w*]+, |add_noun\(app, |\{)"([a-z-]+)"', commands, re.M))
        self.targets = set(re.findall(r"(?:add_executable|add_library)\(([\w$]+)", "\n".join(t for p, t in everything.items() if p.endswith(".txt"))))


def name_complaints(path, number, token, known):
    token = token.strip()
    if re.search(r"[<>*…]|\bNAME\b|\bROOM\b|\bN\b", token) and not ROUTE.match(token):
        return
    if FILE.match(token):
        if not (tree.ROOT / token).exists():
            yield f"{path}:{number}: {token} does not exist"
    elif ROUTE.match(token):
        fixed = re.split(r"[{…?]|/[A-Z]{2,}|/some-long-word", token)[0].rstrip("/")
        if fixed not in known.routes:
            yield f"{path}:{number}: no route begins with {fixed}"
    elif CALL.match(token) and not token.startswith(("std::", "caf::")):
        for word in re.findall(r"\w+", token):
            if word not in known.words and word not in known.targets:
                yield f"{path}:{number}: nothing in the sources is called {word} ({token})"


def command_complaints(path, number, line, known):
    found = COMMAND.match(line)
    if not found:
        return
    words = found[1].split()
    # A second word in small letters is a subcommand only where the first one is a noun.
    nouns = {"cluster", "stream", "task", "node", "edge", "config", "task-type"}
    for word in words[:2] if words[0] in nouns else words[:1]:
        if word not in known.commands:
            yield f"{path}:{number}: there is no command weir {' '.join(words)}"
            return


def page_complaints(path, page, known, headings):
    outside, inside = prose_and_code(page)
    for number, line in outside:
        if len(line) > LONGEST and not line.startswith("|") and path not in GENERATED:
            yield f"{path}:{number}: {len(line)} columns"
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            place = (tree.ROOT / path).parent / file if file else tree.ROOT / path
            if not place.exists():
                yield f"{path}:{number}: the link to {target} leads nowhere"
            elif anchor and anchor not in headings(place):
                yield f"{path}:{number}: {target}: no such heading"
        for token in re.findall(r"`([^`]+)`", line):
            yield from name_complaints(path, number, token, known)
            yield from command_complaints(path, number, token, known)
    for number, line in inside:
        yield from command_complaints(path, number, line, known)


def headings_of(place):
    return {slug(m) for m in re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.M)}


def rules_bite(known):
    bad = ["[x](no/such.md)\n", "`runtime/http/nothing.cpp`\n", "`nothing_of_this_name()`\n", "`stream_state::never_written`\n", "`/api/v1/unicorns`\n",
           "`weir unicorn`\n", "    weir stream unicorn\n", "x" * 151 + "\n", "[x](1-start.md#no-such-heading)\n"]
    good = ["[x](1-start.md#start)\n", "`runtime/http/server.cpp`, `stream_state::settle`, `/api/v1/streams/{id}`, `weir run -c FILE`, `tests/unit/ROOM/`\n"]
    check = lambda text: list(page_complaints("docs/page.md", text, known, headings_of))
    return [f"rule that does not bite: {b.strip()[:60]}" for b in bad if not check(b)] + [f"rule that bites wrongly: {c}" for g in good for c in check(g)]


known = code()
pages = {p: tree.text(p) for p in ["README.md", *tree.files("docs", "bench", ends=(".md",))]}
complaints = rules_bite(known)
for path, page in pages.items():
    complaints += page_complaints(path, page, known, headings_of)
for page in PAGES:
    if f"docs/{page}" not in pages:
        complaints.append(f"docs/{page} is missing")
    elif f"(docs/{page})" not in pages["README.md"]:
        complaints.append(f"README.md does not lead to docs/{page}")
book = "\n".join(page for path, page in pages.items() if path not in GENERATED)
for place in sorted([*(tree.ROOT / "actors/tasks").glob("*/"), *(tree.ROOT / "runtime").glob("*/")]):
    if place.is_dir() and place.name != "__pycache__" and f"`{place.name}`" not in book and f"`runtime/{place.name}`" not in book:
        complaints.append(f"nothing in the book names {place.relative_to(tree.ROOT)}")
fresh = subprocess.run([sys.executable, tree.ROOT / "tools/log_identifiers.py", "--print"], capture_output=True, text=True, check=True).stdout
if pages.get("docs/5-reference/logs.md") != fresh:
    complaints.append("docs/5-reference/logs.md is stale: run python3 tools/log_identifiers.py")
tree.finish("docs", complaints, f"{len(pages)} pages")
