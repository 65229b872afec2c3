"""What must hold while everything is broken at random (chaos.py): judges without clocks, sockets or processes, and their own tests.

Each judge takes what was observed, in order, and keeps `breaches`, sentences that say what was wrong. Run this file to see each of them fail on
a history that breaks its rule, and pass one that does not.
"""

import collections
import itertools
import re
import unittest

# --- playlists ------------------------------------------------------------------------------------------------------------------

SEGMENT = re.compile(r"/s/(?P<stream>[^/~]+)~(?P<instance>\d+)/(?P<epoch>\d+)/(?P<rung>[^/]+)/(?P<msn>\d+)\.(?:ts|m4s)$")  # runtime/hls/addresses.hpp
RUNS_OF_A_LEASE = 65536  # writer epoch = lease epoch × 65536 + run

Listed = collections.namedtuple("Listed", "msn dsn uri gap discontinuity")


class PlaylistJudge:
    """The media playlists of one stream as one viewer reloads them: the rules of a list that only grows, and one writer after the other."""

    def __init__(self, stream):
        self.stream = stream
        self.breaches = []
        self.seen = {}    # (rung, msn) → Listed
        self.rungs = {}   # rung → (first msn, newest msn, discontinuity sequence)
        self.epochs = {}  # msn → writer epoch
        self.dsns = {}    # msn → discontinuity sequence, the same in all rungs
        self.contents = {}
        self.ended = set()

    def breach(self, at, text):
        self.breaches.append(f"{at:.1f} playlist of {self.stream}: {text}")

    def take(self, at, rung, msn, dsn, entries, ended):
        """One playlist: EXT-X-MEDIA-SEQUENCE, EXT-X-DISCONTINUITY-SEQUENCE, what it lists, whether EXT-X-ENDLIST stands there. `rung` names one
        address of a playlist: what is listed on the backup pathway is listed there for ever."""
        if ended and rung not in self.ended:  # said once
            self.ended.add(rung)
            self.breach(at, f"{rung} has EXT-X-ENDLIST while the sender is on")
        newest = max((e.msn for e in entries), default=msn - 1)
        first, last, low = self.rungs.get(rung, (msn, newest, dsn))
        if msn < first:
            self.breach(at, f"{rung}: the media sequence fell from {first} to {msn}")
        if newest < last:
            self.breach(at, f"{rung}: the newest number fell from {last} to {newest}")
        if dsn < low:
            self.breach(at, f"{rung}: the discontinuity sequence fell from {low} to {dsn}")
        self.rungs[rung] = (msn, newest, dsn)
        for entry in entries:
            known = self.seen.get((rung, entry.msn))
            if known is None:
                self.seen[rung, entry.msn] = entry
                self._take_new(at, rung, entry)
            elif known != entry:
                self.breach(at, f"{rung}: number {entry.msn} was {known} and became {entry}")
                self.seen[rung, entry.msn] = entry

    def _take_new(self, at, rung, entry):
        named = SEGMENT.search(entry.uri)
        if not named or named["stream"] != self.stream or int(named["msn"]) != entry.msn:
            return self.breach(at, f"{rung}: number {entry.msn} has the address {entry.uri}")
        epoch = int(named["epoch"])
        if self.epochs.setdefault(entry.msn, epoch) != epoch:
            self.breach(at, f"number {entry.msn} is of writer {self.epochs[entry.msn]} in one rung and of {epoch} in another")
        if self.dsns.setdefault(entry.msn, entry.dsn) != entry.dsn:
            self.breach(at, f"number {entry.msn} has discontinuity sequence {self.dsns[entry.msn]} in one rung and {entry.dsn} in another")
        before = max((m for m in self.epochs if m < entry.msn), default=None)
        behind = min((m for m in self.epochs if m > entry.msn), default=None)
        if before is not None and self.epochs[before] > epoch:
            self.breach(at, f"number {entry.msn} is of writer {epoch}, {before} before it of the later {self.epochs[before]}")
        if behind is not None and self.epochs[behind] < epoch:
            self.breach(at, f"number {behind} is of writer {self.epochs[behind]}, {entry.msn} before it of the later {epoch}")

    def take_content(self, at, uri, digest):
        """What an edge gave for a segment: for ever the same."""
        path = uri[uri.index("/s/"):]
        if self.contents.setdefault(path, digest) != digest:
            self.breach(at, f"{path} had the content {self.contents[path]} and has {digest}")

    def leases(self):
        return {epoch // RUNS_OF_A_LEASE for epoch in self.epochs.values()}


# --- events ---------------------------------------------------------------------------------------------------------------------

PLACED = re.compile(r"(?P<standby> \(standby\))? goes to node (?P<node>\S+) with epoch (?P<epoch>\d+)[.:]")
RUNS = re.compile(r"runs on node (\S+)\.$")
TOOK_OVER = re.compile(r"goes on with its standby on node (\S+);")

# Fault: kind, the names of everything that it hits, and the seconds (wall clock) between which it did.
Fault = collections.namedtuple("Fault", "kind hits begin end")


class EventJudge:
    """The event log: complete sentences in order, one node an epoch, and a cause for each event.

    `streams`: task id → its stream's name; a fault counts as a cause until `patience` seconds after its end."""

    def __init__(self, streams, patience):
        self.streams = streams
        self.patience = patience
        self.breaches = []
        self.faults = []
        self.last_number = 0
        self.placed = {}  # task → [(epoch, node)]
        self.owner = {}   # epoch → (task, node)
        self.since_placed = collections.defaultdict(list)  # task → kinds and subjects of events since
        self.placed_at = {}
        self.moves = collections.defaultdict(list)  # task → [(moment, node)]
        self.standbys = {}  # task → [(epoch, node)]
        self.doubts = []   # (from, to, stream, event, text): placed again, and no event says why
        self.sources = []  # (from, to, stream): its set of publishers was seen to change between
        self.nodes = {}    # node → the last word on whether it is heard
        self.closed = {}   # node → the event that closed it to new tasks, until it is opened by hand

    def breach(self, event, text):
        self.breaches.append(f"event {event.get('number')} {event.get('kind')} {event.get('subject')}: {text}")

    def caused(self, when, *hit):
        """Whether one of the faults hit one of these shortly before."""
        return any(f.begin - 0.5 <= when <= f.end + self.patience and set(hit) & set(f.hits) for f in self.faults)

    def take(self, event, when):
        """One event; `when`: its time on the clock of the faults."""
        for field in ("kind", "subject", "text", "actor"):
            if not event.get(field):
                self.breach(event, f"has no {field}: {event}")
                return
        kind, subject, number = event["kind"], event["subject"], event["number"]
        if number <= self.last_number:
            self.breach(event, f"comes after {self.last_number}")
        self.last_number = max(self.last_number, number)
        what, _, name = subject.partition("/")
        if kind == "coordinator-started":
            self.nodes = {}
        judge = getattr(self, f"_take_{what}", None)
        if judge:
            judge(event, kind, name, when)
        for task, since in self.since_placed.items():
            if kind != "task-placed" and (kind == "coordinator-started" or what == "node" or subject in (f"task/{task}", f"stream/{self.streams.get(task)}")):
                since.append((kind, name))

    def _take_task(self, event, kind, task, when):
        runs = self.placed.get(task, [])[-1:] + self.standbys.get(task, [])[-1:]
        hit = (f"task/{task}", f"stream/{self.streams.get(task)}", "boss", *(node for _, node in runs))
        if kind == "task-placed":
            said = PLACED.search(event["text"])
            if not said:
                return self.breach(event, f"does not say where: {event['text']}")
            node, epoch = said["node"], int(said["epoch"])
            if epoch in self.owner:
                self.breach(event, f"epoch {epoch} was given to {self.owner[epoch]} and to {(task, node)}")
            if self.owner and epoch < max(self.owner):
                self.breach(event, f"epoch {epoch} after {max(self.owner)}")
            self.owner.setdefault(epoch, (task, node))
            if node in self.closed:
                self.breach(event, f"went to {node}, which is closed to new tasks since event {self.closed[node]}")
            if said["standby"]:  # it may take over when it likes
                self.standbys.setdefault(task, []).append((epoch, node))
                return
            if task in self.placed:
                former = self.placed[task][-1][1]
                why = [k for k, name in self.since_placed[task] if not k.startswith("node-") or name == former]
                whys = [k for k in why if k not in ("task-running", "task-changed", "task-retried", "node-ready")]
                if not whys:
                    self.doubts.append((self.placed_at[task], when, self.streams.get(task), event,
                                        f"was placed again on {node} though nothing had happened to it on {former}, only {why}"))
            self.placed.setdefault(task, []).append((epoch, node))
            self.placed_at[task] = when
            self.moves[task].append((when, node))
            self.since_placed[task] = []
        elif kind == "standby-took-over":
            said = TOOK_OVER.search(event["text"])
            mine = [one for one in self.standbys.get(task, []) if said and one[1] == said[1]]
            if not mine:
                return self.breach(event, f"nobody stood by there: {event['text']}")
            self.placed.setdefault(task, []).append(mine[-1])
            self.placed_at[task] = when
        elif kind == "task-running":
            said = RUNS.search(event["text"])
            where = self.placed.get(task, [(0, None)])[-1][1]
            if not said or said[1] not in (where, *(node for _, node in self.standbys.get(task, []))):
                self.breach(event, f"runs on {said and said[1]}, but was placed on {where}")
        elif kind in ("task-backing-off", "task-crash-looping", "task-failed"):
            if not self.caused(when, *hit, *self.hosts()):
                self.breach(event, f"no fault hit it: {event['text']}")
        elif kind in ("task-added", "task-changed", "task-enabled", "task-disabled", "task-retried", "task-removed"):
            self._by_hand(event)

    def resolve(self, now):
        """Another publisher is a cause that no event names: it is seen in the API, or comes of a lie about the RTMP server's start, which is over soon."""
        for begin, end, stream, event, text in [d for d in self.doubts if now - d[1] > 3]:
            seen = any(s == stream and b <= end and e >= begin for b, e, s in self.sources)
            lied = any(f.kind == "hook-other-start" and begin - 8 <= f.begin <= end for f in self.faults)
            if not seen and not lied:
                self.breach(event, text)
        self.doubts = [d for d in self.doubts if now - d[1] <= 3]

    def hosts(self):
        return ("media",)  # the source is read there, segments go there

    def _take_node(self, event, kind, node, when):
        if kind in ("node-suspect", "node-down") and self.nodes.get(node) == kind:
            self.breach(event, f"is said again though nothing was said of the node since: {event['text']}")
        self.nodes[node] = kind
        if kind in ("node-cordoned", "node-draining"):
            self.closed[node] = f"{event['number']} {kind}"
        elif kind == "node-ready" and event["actor"].startswith("api"):
            self.closed.pop(node, None)
        if kind in ("node-suspect", "node-down") and not self.caused(when, node, "boss"):
            self.breach(event, f"no fault hit the node: {event['text']}")
        if kind in ("node-cordoned", "node-draining"):
            self._by_hand(event)

    def _take_stream(self, event, kind, stream, when):
        if kind == "stream-offline":
            self.breach(event, f"a broadcast was given up although its sender never left for longer than the grace: {event['text']}")
        if kind == "stream-ending" and not self.caused(when, f"stream/{stream}", "media", "boss"):
            self.breach(event, f"no fault hit its sender, its server or the hooks: {event['text']}")
        if kind in ("stream-added", "stream-changed", "stream-enabled", "stream-disabled", "stream-key-shown", "stream-kicked"):
            self._by_hand(event)

    def _by_hand(self, event):
        if not event["actor"].startswith("api"):
            self.breach(event, f"was done by {event['actor']}")


# --- phases ---------------------------------------------------------------------------------------------------------------------

# What must have been said when a phase is seen that was another one before.
SAID = {
    "task": {"running": ("task-running",), "backing_off": ("task-backing-off",), "crash_looping": ("task-crash-looping",), "failed": ("task-failed",)},
    "stream": {"live": ("stream-live",), "ending": ("stream-ending",), "offline": ("stream-offline",)},
    "node": {"ready": ("node-ready", "node-joined"), "suspect": ("node-suspect",), "down": ("node-down",), "cordoned": ("node-cordoned", "node-joined", "node-ready"),
             "draining": ("node-draining", "node-joined", "node-ready")},
    "edge": {"serving": ("edge-serving",), "suspect": ("edge-suspect",), "dead": ("edge-dead",), "starting": ("edge-starting", "edge-joined")},
}


def unsaid_changes(observations, events, slack=0.3):
    """Phase changes without an event. `observations`: (begin, end, {subject: phase}) in order, each read from the API between two moments;
    `events`: (moment, kind, subject) in order. A coordinator that was started between two observations begins with what it knows."""
    breaches = []
    starts = [at for at, kind, _ in events if kind == "coordinator-started"]
    by_subject = collections.defaultdict(list)
    for at, kind, subject in events:
        by_subject[subject].append((at, kind))
    for (begin, _, before), (_, end, after) in itertools.pairwise(observations):
        if any(begin - slack <= s <= end + slack for s in starts):
            continue
        for subject, phase in after.items():
            if subject not in before or before[subject] == phase:
                continue
            wanted = SAID.get(subject.split("/")[0], {}).get(phase)
            if wanted and not any(kind in wanted and begin - slack <= at <= end + slack for at, kind in by_subject[subject]):
                heard = [kind for at, kind in by_subject[subject] if begin - slack <= at <= end + slack]
                breaches.append(f"{end:.1f} {subject} became {phase} from {before[subject]} within {end - begin:.1f} s and no event says so, only {heard}")
    return breaches


# --- restream targets, processes, memory ------------------------------------------------------------------------------------------

SLOT = 0.1  # seconds

# One publication at the sink: the slots of time in which it delivered.
Push = collections.namedtuple("Push", "target began slots who")


def two_at_once(pushes, tolerated):
    """Pairs of publications of one target that delivered in more than `tolerated` common slots."""
    breaches = []
    for one, other in itertools.combinations(pushes, 2):
        if one.target == other.target and len(common := one.slots & other.slots) > tolerated:
            breaches.append(f"{min(common) * SLOT:.1f} two publishers of {one.target} for {len(common) * SLOT:.1f} s: {one.who} since {one.began:.1f} and {other.who} since {other.began:.1f}")
    return breaches


def trespasses(pushes, moves, until, tolerated):
    """Publications by a node in more than `tolerated` slots in which their task was another node's. `pushes`: [(Push, node)]; `moves`: {target:
    [(moment, node)]}, in order and complete up to `until`. What a run had sent before its cable was cut may arrive when it is mended, all at once."""
    breaches = []
    for push, node in pushes:
        at = moves.get(push.target, [])
        tenant = lambda slot, at=at: next((who for when, who in reversed(at) if when < (slot + 1) * SLOT), node)
        wrong = sorted(slot for slot in push.slots if (slot + 1) * SLOT <= until and tenant(slot) != node)
        if len(wrong) > tolerated:
            breaches.append(f"{wrong[0] * SLOT:.1f} {node} publishes to {push.target} until {wrong[-1] * SLOT:.1f}, in {len(wrong)} slots, "
                            f"though it is {tenant(wrong[0])}'s")
    return breaches


class ProcessJudge:
    """The processes that work for tasks: each is the child of a running node. One scan may fall into the moment of a death, two may not."""

    def __init__(self, patience):
        self.patience = patience
        self.breaches = []
        self.strays = {}  # pid → first seen without a parent of ours

    def take(self, at, pipelines, nodes):
        """`pipelines`: {pid: parent}; `nodes`: pids of the running node programs."""
        lost = {pid for pid, parent in pipelines.items() if parent not in nodes}
        self.strays = {pid: self.strays.get(pid, at) for pid in lost}
        for pid, since in self.strays.items():
            if at - since > self.patience:
                self.breaches.append(f"{at:.1f} process {pid} works for a task since {at - since:.1f} s without a node: its parent is {pipelines[pid]}")


def wrong_processes(tasks, pipelines):
    """At rest: `tasks`: {task: its node, and its standby's} by the coordinator's word, `pipelines`: [(task, node)] by the machine's. One process for
    each, none besides; and a standby is on another node."""
    breaches = [f"task {task} has its standby on its own node {nodes[0]}" for task, nodes in tasks.items() if len(set(nodes)) != len(nodes)]
    due = [(task, node) for task, nodes in tasks.items() for node in dict.fromkeys(nodes)]
    breaches += [f"task {task} runs on {node} {pipelines.count((task, node))} times" for task, node in due if pipelines.count((task, node)) != 1]
    breaches += [f"a process works for {task} on {node}, which the coordinator does not know" for task, node in pipelines if (task, node) not in due]
    return breaches


SIGNS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "role-died", "role-hangs", "-actor-died", "runner-died", "-threw", " CRITICAL ", " critical ")


def bad_lines(name, text):
    """Lines of a node's log that no fault from outside may cause."""
    return [f"the log of {name} says: {line[:600]}" for line in text.splitlines() if any(sign in line for sign in SIGNS)]


def swollen(sizes, limit):
    """`sizes`: {node: resident bytes}."""
    return [f"{node} takes {size >> 20} MiB, more than {limit >> 20}" for node, size in sizes.items() if size > limit]


# --- the judges are judged --------------------------------------------------------------------------------------------------------


def segment(msn, epoch, rung="180p", dsn=0, gap=False, discontinuity=False, edge="http://e1", instance=1):
    return Listed(msn, dsn, f"{edge}/s/show~{instance}/{epoch}/{rung}/{msn}.ts", gap, discontinuity)


class PlaylistRules(unittest.TestCase):
    def setUp(self):
        self.judge = PlaylistJudge("show")

    def assert_breach(self, part):
        self.assertEqual(len(self.judge.breaches), 1, self.judge.breaches)
        self.assertIn(part, self.judge.breaches[0])

    def test_a_good_history(self):
        a, b, c = segment(5, 70), segment(6, 70), segment(7, 71, dsn=1, discontinuity=True)
        self.judge.take(0, "180p", 5, 0, [a, b], False)
        self.judge.take(1, "180p", 6, 0, [b, c], False)
        self.judge.take(1, "120p", 6, 0, [segment(6, 70, "120p"), segment(7, 71, "120p", dsn=1, discontinuity=True)], False)
        self.judge.take(2, "180p", 7, 0, [c], False)
        self.judge.take_content(2, c.uri, "x")
        self.judge.take_content(3, c.uri.replace("e1", "e2"), "x")
        self.assertEqual(self.judge.breaches, [])
        self.assertEqual(self.judge.leases(), {0})

    def test_the_media_sequence_falls(self):
        self.judge.take(0, "180p", 6, 0, [segment(6, 70)], False)
        self.judge.take(1, "180p", 5, 0, [segment(5, 70), segment(6, 70)], False)
        self.assert_breach("media sequence fell from 6 to 5")

    def test_the_newest_falls(self):
        self.judge.take(0, "180p", 5, 0, [segment(5, 70), segment(6, 70)], False)
        self.judge.take(1, "180p", 5, 0, [segment(5, 70)], False)
        self.assert_breach("newest number fell from 6 to 5")

    def test_the_discontinuity_sequence_falls(self):
        self.judge.take(0, "180p", 5, 3, [segment(5, 70, dsn=3)], False)
        self.judge.take(1, "180p", 6, 2, [segment(6, 70, dsn=3)], False)
        self.assert_breach("discontinuity sequence fell from 3 to 2")

    def test_an_address_changes(self):
        for changed in (segment(5, 70, edge="http://e2"), segment(5, 70, gap=True), segment(5, 70, discontinuity=True), segment(5, 71), segment(5, 70, instance=2)):
            with self.subTest(changed):
                self.setUp()
                self.judge.take(0, "180p", 5, 0, [segment(5, 70)], False)
                self.judge.take(1, "180p", 5, 0, [changed], False)
                self.assert_breach("number 5 was")

    def test_the_end_while_the_sender_is_on(self):
        self.judge.take(0, "180p", 5, 0, [segment(5, 70)], True)
        self.assert_breach("ENDLIST")

    def test_a_former_writer_comes_back(self):
        self.judge.take(0, "180p", 5, 0, [segment(5, 71)], False)
        self.judge.take(1, "180p", 5, 0, [segment(5, 71), segment(6, 70)], False)
        self.assert_breach("of the later 71")

    def test_rungs_of_two_writers(self):
        self.judge.take(0, "180p", 5, 0, [segment(5, 70)], False)
        self.judge.take(0, "120p", 5, 0, [segment(5, 71, "120p")], False)
        self.assert_breach("in another")

    def test_rungs_that_differ_in_discontinuities(self):
        self.judge.take(0, "180p", 5, 0, [segment(5, 70)], False)
        self.judge.take(0, "120p", 5, 1, [segment(5, 70, "120p", dsn=1)], False)
        self.assert_breach("in another")

    def test_a_strange_address(self):
        self.judge.take(0, "180p", 5, 0, [Listed(5, 0, "http://e1/s/show~1/70/180p/6.ts", False, False)], False)
        self.assert_breach("has the address")

    def test_another_content(self):
        self.judge.take_content(0, segment(5, 70).uri, "x")
        self.judge.take_content(1, segment(5, 70, edge="http://e2").uri, "y")
        self.assert_breach("had the content x")


class EventRules(unittest.TestCase):
    def setUp(self):
        self.judge = EventJudge({"t1": "show", "t2": "show"}, 10)
        self.number = 0

    def say(self, kind, subject, text="Something.", actor="coordinator", when=100.0, **more):
        self.number += 1
        self.judge.take({"number": self.number, "kind": kind, "subject": subject, "text": text, "actor": actor, **more}, when)

    def place(self, node, epoch, task="t1"):
        self.say("task-placed", f"task/{task}", f"Task hls of stream show goes to node {node} with epoch {epoch}.")

    def assert_breach(self, part):
        self.assertEqual(len(self.judge.breaches), 1, self.judge.breaches)
        self.assertIn(part, self.judge.breaches[0])

    def test_a_good_history(self):
        self.say("stream-live", "stream/show")
        self.place("w1", 7)
        self.place("w2", 8, "t2")
        self.say("task-running", "task/t1", "Task hls of stream show runs on node w1.")
        self.judge.faults.append(Fault("worker-kill", ("w1",), 99, 100))
        self.say("node-suspect", "node/w1", when=101)
        self.place("w2", 9)
        self.say("task-running", "task/t1", "Task hls of stream show runs on node w2.")
        self.judge.faults.append(Fault("child-kill", ("task/t1",), 104, 104))
        self.say("task-backing-off", "task/t1", when=105)
        self.assertEqual(self.judge.breaches, [])

    def test_incomplete_events(self):
        for field in ("kind", "subject", "text", "actor"):
            with self.subTest(field):
                self.setUp()
                event = {"number": 1, "kind": "edge-dead", "subject": "edge/e1", "text": "x", "actor": "y", field: ""}
                self.judge.take(event, 0)
                self.assert_breach(f"has no {field}")

    def test_numbers_go_back(self):
        self.say("edge-dead", "edge/e1")
        self.say("edge-dead", "edge/e1", number=1)
        self.assert_breach("comes after 1")

    def test_one_epoch_for_two(self):
        self.place("w1", 7)
        self.place("w2", 7, "t2")
        self.assert_breach("epoch 7 was given to")

    def test_epochs_fall(self):
        self.place("w1", 7)
        self.place("w2", 6, "t2")
        self.assert_breach("epoch 6 after 7")

    def test_placed_again_without_a_cause(self):
        self.place("w1", 7)
        self.say("task-running", "task/t1", "Task hls of stream show runs on node w1.")
        self.say("task-changed", "task/t1", actor="api 127.0.0.1")
        self.say("node-suspect", "node/w2")
        self.judge.breaches.clear()
        self.place("w2", 8)
        self.judge.resolve(101)
        self.assertEqual(self.judge.breaches, [], "there is time to see the cause")
        self.judge.resolve(104)
        self.assert_breach("though nothing had happened")

    def test_placed_again_on_another_source(self):
        self.place("w1", 7)
        self.place("w2", 8)
        self.judge.sources.append((99.8, 100.2, "show"))
        self.judge.resolve(104)
        self.assertEqual(self.judge.breaches, [])

    def test_a_suspicion_said_twice(self):
        self.judge.faults.append(Fault("worker-kill", ("w1",), 99, 100))
        self.say("node-suspect", "node/w1")
        self.say("node-down", "node/w1")
        self.say("node-joined", "node/w1")
        self.say("node-suspect", "node/w1")
        self.assertEqual(self.judge.breaches, [])
        self.say("node-suspect", "node/w1")
        self.assert_breach("said again")

    def test_runs_elsewhere(self):
        self.place("w1", 7)
        self.say("task-running", "task/t1", "Task hls of stream show runs on node w2.")
        self.assert_breach("but was placed on w1")

    def test_a_standby_takes_over(self):
        self.place("w1", 7)
        self.say("task-placed", "task/t1", "Task hls of stream show (standby) goes to node w2 with epoch 8: it has most room.")
        self.say("task-running", "task/t1", "Task hls of stream show runs on node w2.")
        self.assertEqual(self.judge.breaches, [])
        self.say("task-running", "task/t1", "Task hls of stream show runs on node w3.")
        self.assert_breach("but was placed on w1")

    def test_a_standby_is_the_run(self):
        self.place("w1", 7)
        self.say("task-placed", "task/t1", "Task hls of stream show (standby) goes to node w2 with epoch 8: it has most room.")
        self.say("standby-took-over", "task/t1", "Task hls of stream show goes on with its standby on node w2; the run on node w1 is over (lost).")
        self.say("task-running", "task/t1", "Task hls of stream show runs on node w2.")
        self.assertEqual(self.judge.breaches, [])
        self.say("standby-took-over", "task/t1", "Task hls of stream show goes on with its standby on node w3; the run on node w2 is over (lost).")
        self.assert_breach("nobody stood by there")

    def test_a_closed_node_gets_a_task(self):
        self.say("node-cordoned", "node/w1", actor="api 127.0.0.1")
        self.place("w2", 7)
        self.say("coordinator-started", "cluster")
        self.say("node-joined", "node/w1")
        self.assertEqual(self.judge.breaches, [])
        self.place("w1", 8, "t2")
        self.assert_breach("closed to new tasks since event 1 node-cordoned")
        self.judge.breaches.clear()
        self.say("node-ready", "node/w1", actor="api 127.0.0.1")
        self.place("w1", 9, "t3")
        self.assertEqual(self.judge.breaches, [])

    def test_a_failure_without_a_fault(self):
        self.place("w1", 7)
        self.judge.faults.append(Fault("worker-kill", ("w2",), 100, 100))
        self.say("task-backing-off", "task/t1", when=101)
        self.assert_breach("no fault hit it")

    def test_a_fault_long_ago_is_no_cause(self):
        self.judge.faults.append(Fault("worker-kill", ("w1",), 80, 85))
        self.say("node-suspect", "node/w1", when=100)
        self.assert_breach("no fault hit the node")

    def test_a_fault_that_comes_later_is_no_cause(self):
        self.judge.faults.append(Fault("worker-kill", ("w1",), 102, 103))
        self.say("node-suspect", "node/w1", when=100)
        self.assert_breach("no fault hit the node")

    def test_streams(self):
        self.say("stream-ending", "stream/show")
        self.assert_breach("no fault hit its sender")
        self.judge.breaches.clear()
        self.judge.faults.append(Fault("ingest-kill", ("media",), 98, 99))
        self.say("stream-ending", "stream/show")
        self.assertEqual(self.judge.breaches, [])
        self.say("stream-offline", "stream/show")
        self.assert_breach("given up")

    def test_by_nobodys_hand(self):
        self.say("node-draining", "node/w1")
        self.assert_breach("was done by coordinator")


class PhaseRules(unittest.TestCase):
    def test_said(self):
        events = [(10.5, "task-running", "task/t1"), (11.4, "node-suspect", "node/w1"), (12.5, "node-ready", "node/w1")]
        seen = [(10, 10.1, {"task/t1": "starting", "node/w1": "ready"}), (11, 11.1, {"task/t1": "running", "node/w1": "ready"}),
                (12, 12.1, {"task/t1": "waiting", "node/w1": "suspect"}), (13, 13.1, {"task/t1": "waiting", "node/w1": "ready"})]
        self.assertEqual(unsaid_changes(seen, events), [])
        for gone in range(3):
            with self.subTest(gone):
                found = unsaid_changes(seen, events[:gone] + events[gone + 1:])
                self.assertEqual(len(found), 1)
                self.assertIn(f"{events[gone][2]} became", found[0])

    def test_said_of_another_time(self):
        seen = [(10, 10.1, {"node/w1": "ready"}), (11, 11.1, {"node/w1": "down"})]
        self.assertEqual(len(unsaid_changes(seen, [(5, "node-down", "node/w1")])), 1)
        self.assertEqual(len(unsaid_changes(seen, [(10.5, "node-down", "node/w2")])), 1)

    def test_a_new_coordinator_begins_with_what_it_knows(self):
        seen = [(10, 10.1, {"node/w1": "ready"}), (11, 11.1, {"node/w1": "suspect"})]
        self.assertEqual(unsaid_changes(seen, [(10.5, "coordinator-started", "cluster")]), [])


class OtherRules(unittest.TestCase):
    def test_two_publishers(self):
        one, other = Push("show", 1.0, set(range(10, 40)), "a"), Push("show", 3.0, set(range(35, 60)), "b")
        self.assertEqual(len(two_at_once([one, other], 2)), 1)
        self.assertEqual(two_at_once([one, other._replace(slots=set(range(38, 60)))], 2), [])
        self.assertEqual(two_at_once([one, other._replace(target="else")], 2), [])

    def test_a_connection_that_delivers_nothing_is_no_publisher(self):
        frozen = Push("show", 1.0, set(range(10, 20)), "a")
        self.assertEqual(two_at_once([frozen, Push("show", 8.0, set(range(80, 90)), "b")], 0), [])

    def test_whose_lease_is_over(self):
        push, moves = Push("show", 1.0, set(range(10, 40)), "a"), {"show": [(1.0, "w1"), (4.0, "w2")]}
        self.assertEqual(trespasses([(push, "w1")], moves, 9, 0), [])
        late = push._replace(slots=set(range(10, 44)))
        self.assertEqual(trespasses([(late, "w1")], moves, 9, 4), [])
        self.assertEqual(trespasses([(late, "w1")], moves, 4.1, 3), [], "of what comes later nothing is known yet")
        self.assertEqual(len(trespasses([(late, "w1")], moves, 9, 3)), 1)
        self.assertEqual(len(trespasses([(push, "w2")], moves, 9, 3)), 1, "it begins before it may")
        self.assertEqual(trespasses([(late, "w1")], {"else": moves["show"]}, 9, 0), [])

    def test_orphans(self):
        judge = ProcessJudge(2)
        judge.take(0, {10: 1, 11: 100}, {100})
        judge.take(1, {11: 100}, {100})
        judge.take(4, {10: 1}, {100})
        self.assertEqual(judge.breaches, [])
        judge.take(7, {10: 1}, {100})
        self.assertEqual(len(judge.breaches), 1)

    def test_processes_at_rest(self):
        one, two = {"t1": ["w1"]}, {"t1": ["w1", "w2"]}
        self.assertEqual(wrong_processes(one, [("t1", "w1")]), [])
        self.assertEqual(wrong_processes(two, [("t1", "w2"), ("t1", "w1")]), [])
        self.assertEqual(len(wrong_processes(two, [("t1", "w1")])), 1)
        self.assertEqual(len(wrong_processes({"t1": ["w1", "w1"]}, [("t1", "w1")])), 1)
        self.assertEqual(len(wrong_processes(one, [])), 1)
        self.assertEqual(len(wrong_processes(one, [("t1", "w1")] * 2)), 1)
        self.assertEqual(len(wrong_processes(one, [("t1", "w1"), ("t1", "w2")])), 1)
        self.assertEqual(len(wrong_processes(one, [("t1", "w1"), ("t2", "w1")])), 1)

    def test_logs(self):
        self.assertEqual(bad_lines("w1", "12:00 info node joined node=w1\n12:01 error node lease-lost node=w1\n"), [])
        for line in ("==12==ERROR: AddressSanitizer: heap-use-after-free", "x.cpp:1:2: runtime error: signed integer overflow", "12:00 critical weir role-died role=node",
                     "12:00 error stream task-actor-died stream=show"):
            self.assertEqual(len(bad_lines("w1", f"12:00 info node joined\n{line}\n")), 1, line)

    def test_memory(self):
        self.assertEqual(swollen({"w1": 100, "w2": 300}, 200), ["w2 takes 0 MiB, more than 0"])


if __name__ == "__main__":
    unittest.main(verbosity=1)
