"""Includes point down, and each foreign library has one door. The rules, first:"""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tree

# 1. Floors. A file includes its own floor and those below it; runtime/base stands below all other rooms of runtime/.
FLOORS = ["schemas", "runtime", "actors", "apps"]
# The embedded page: a library without includes of ours, for whoever serves it.
WEB_FOR = {"actors", "apps"}
# 2. A room of runtime/ includes itself, base, and the rooms that its CMakeLists.txt names after DEPENDS.
# 3. An actor includes what all actors share, its own parts, and the headers of actors that it spawns: the include graph is the supervision tree.
SHARED = {"interfaces", "messages", "local_messages", "caf", "reporting", "task_types", "api_json", "nginx_child", "certificate_watch", "known_keys", "coordinator_watch"}
PARTS = {  # file → the actor it is a part of
    "address_book": "coordinator",
    "edge_set": "coordinator",
    "playlist_desk": "director",
    "http_api_routes": "http_bridge",
    "http_hook_routes": "http_bridge",
    "http_page_routes": "http_bridge",
    "http_metrics": "http_bridge",
    "openapi": "http_bridge",
}
# 4. A task type never includes another one.
# 5. One door for each library, and its headers stay out of ours (.hpp), which others include: they are slow to compile. Nobody includes those of apps/.
DOORS = {
    r"rocksdb/": "runtime/store",
    r"libav\w+/|libsw\w+/": "runtime/media",
    r"boost/|curl/|libdeflate": "runtime/http",
    r"spdlog/|sodium": "runtime/base",
    r"caf/(?:io|openssl)/": "runtime/cluster",
    r"yaml-cpp/": "runtime/describe",
    r"pugixml": ("runtime/rtmp", "runtime/origin"),  # two that read answers in XML, and have nothing else in common
    r"prometheus/": "runtime/metrics",
    r"xxh": "runtime/steering",
    r"openssl/": "runtime/cluster",
    r"linux/(?:rtnetlink|if_packet|capability)": "runtime/network",
    r"CLI/": "apps/weir",
}
# CAF itself is for those who are or start actors, and for the room that connects them; its headers are in theirs.
CAF_FOR = {"actors", "apps", "runtime/cluster"}
# 6. schemas/ are values: no thread, no file, no socket.
NOT_IN_SCHEMAS = {"thread", "mutex", "atomic", "future", "condition_variable", "fstream", "filesystem", "unistd.h", "fcntl.h", "sys/socket.h"}


def rooms_of(cmake):
    """The rooms that a room's CMakeLists.txt lets it include."""
    call = re.search(r"weir_room\(([^)]*)\)", cmake)
    words = call[1].split() if call else []
    if "DEPENDS" not in words:
        return set()
    after = words[words.index("DEPENDS") + 1:]
    keywords = {"LIBRARIES", "CAF", "OBJECT"}
    end = next((i for i, w in enumerate(after) if w in keywords), len(after))
    return {w.removeprefix("weir_") for w in after[:end]}


def actor_of(path):
    stem = Path(path).stem
    return PARTS.get(stem, stem)


def spawned_by(sources):
    """actor → the functions that its files spawn."""
    found = {}
    for path, source in sources.items():
        if path.startswith("actors/"):
            names = re.findall(r"spawn\s*(?:<[^>;]*>)?\(\s*(\w+)\s*[,)]", tree.code_only(source))
            found.setdefault(actor_of(path), set()).update(names)
    return found


def check(sources, cmake):
    """sources: path → text; cmake: room → text of its CMakeLists.txt. Complaints, one line each."""
    complaints = []
    allowed = {room: rooms_of(content) for room, content in cmake.items()}
    spawns = spawned_by(sources)
    for path, source in sources.items():
        floor, room = path.split("/")[0], path.split("/")[1]
        folder = path.rsplit("/", 1)[0]

        for line, what, ours in tree.includes(source):
            def complain(why):
                complaints.append(f"{path}:{line}: includes {what}: {why}")
            if not ours:
                for pattern, doors in DOORS.items():
                    if re.match(pattern, what):
                        doors = (doors,) if isinstance(doors, str) else doors
                        if not any(folder == door or folder.startswith(door + "/") for door in doors):
                            complain(f"the door for this library is {' or '.join(doors)}")
                        elif path.endswith(".hpp") and floor != "apps":
                            complain("a library's headers belong into .cpp files")
                if re.match(r"caf/", what) and not CAF_FOR & {floor, f"{floor}/{room}"}:
                    complain("only actors and apps know CAF")
                if floor == "schemas" and what in NOT_IN_SCHEMAS:
                    complain("schemas are values: no thread, no file, no socket")
                continue
            if what not in sources and what != "web/assets.hpp":
                complain("no such file; includes are relative to the root")
                continue
            their = what.split("/")
            if their[0] == "web":
                if floor not in WEB_FOR:
                    complain("only actors and apps serve the page")
                continue
            if FLOORS.index(their[0]) > FLOORS.index(floor):
                complain(f"{floor} stands below {their[0]}")
            elif floor == "runtime" and their[0] == "runtime" and their[1] not in {room, "base"}:
                if room == "base":
                    complain("base stands below all other rooms")
                elif their[1] not in allowed.get(room, set()):
                    complain(f"runtime/{room}/CMakeLists.txt does not name {their[1]} after DEPENDS")
            elif floor == "actors" and their[0] == "actors":
                if their[1] == "tasks":
                    if what.rsplit("/", 1)[0] != folder:
                        complain("a task type is known to nobody; one never includes another")
                elif Path(what).stem not in SHARED and actor_of(what) != actor_of(path) and actor_of(what) not in spawns[actor_of(path)]:
                    complain(f"{actor_of(path)} does not spawn {actor_of(what)}, so it knows it by handle (actors/interfaces.hpp)")
    return complaints


def rules_bite():
    """Each rule, broken once: a check that finds nothing in these would find nothing anywhere."""
    def breaks(path, include, others=(), cmake=None):
        sources = {p: "" for p in ("schemas/a.hpp", "runtime/base/a.hpp", "runtime/http/a.hpp", "runtime/hls/a.hpp", "actors/interfaces.hpp", "actors/node.hpp",
                                   "actors/edge_set.hpp", "actors/tasks/hls/a.hpp", "apps/weir/a.hpp", *others)}
        sources[path] = f"#include {include}\n"
        return check(sources, cmake or {})
    bad = [("schemas/b.hpp", '"runtime/base/a.hpp"'), ("runtime/base/b.cpp", '"runtime/http/a.hpp"'), ("runtime/http/b.cpp", '"runtime/hls/a.hpp"'),
           ("runtime/http/b.cpp", '"actors/node.hpp"'), ("actors/edge.cpp", '"actors/node.hpp"'), ("actors/edge.cpp", '"actors/edge_set.hpp"'),
           ("actors/tasks/x/x.cpp", '"actors/tasks/hls/a.hpp"'), ("actors/edge.cpp", '"apps/weir/a.hpp"'), ("actors/edge.cpp", "<boost/url/parse.hpp>"),
           ("runtime/store/a.hpp", "<rocksdb/db.h>"), ("schemas/b.cpp", "<thread>"), ("runtime/hls/b.cpp", "<caf/all.hpp>"), ("schemas/b.hpp", '"a.hpp"')]
    good = [("runtime/http/b.cpp", '"runtime/base/a.hpp"'), ("actors/edge.cpp", '"actors/interfaces.hpp"'), ("actors/coordinator.cpp", '"actors/edge_set.hpp"'),
            ("runtime/store/b.cpp", "<rocksdb/db.h>"), ("apps/weir/b.cpp", '"actors/node.hpp"'), ("actors/edge.cpp", "<caf/all.hpp>")]
    dead = [f"rule that does not bite: {path} may include {what}" for path, what in bad if not breaks(path, what)]
    dead += [f"rule that bites wrongly: {breaks(path, what)[0]}" for path, what in good if breaks(path, what)]
    if breaks("runtime/http/b.cpp", '"runtime/hls/a.hpp"', cmake={"http": "weir_room(http DEPENDS weir_base weir_hls LIBRARIES x)"}):
        dead.append("rule that bites wrongly: DEPENDS is not read")
    return dead


sources = {path: tree.text(path) for path in tree.files(*FLOORS)}
cmake = {path.split("/")[1]: tree.text(path) for path in tree.files("runtime", ends=("CMakeLists.txt",)) if path.count("/") == 2}
tree.finish("layers", rules_bite() + check(sources, cmake), f"{len(sources)} files, {len(cmake)} rooms")
