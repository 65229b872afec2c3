"""Which faults chaos.py makes: a pure function of a seed, and its tests.

Most faults are small, one in ten or so is heavy, some overlap, and one worker at least can always work.
"""

import collections
import random
import unittest

PACE = 0.5          # seconds from one fault to the next, on average
HEAVY_EVERY = 6.0   # seconds between two heavy faults

STREAMS = ("alpha", "beta")
TASKS = tuple(f"{kind}-{stream}" for stream in STREAMS for kind in ("hls", "push"))
STANDING_BY = ("hls-alpha",)  # its encoder runs twice
SERVERS = {"alpha": ("media", "side"), "beta": ("media",)}
WORKERS = ("w1", "w2", "w3")
NODES = ("boss", "media", "side", *WORKERS, "cache")

# --- the plan -------------------------------------------------------------------------------------------------------------------

# `hits`: names of what the fault may move; `lasts`: seconds until it is undone, 0 when there is nothing to undo.
Planned = collections.namedtuple("Planned", "number at kind target lasts heavy")

Kind = collections.namedtuple("Kind", "name weight targets shortest longest")

LIGHT = (
    Kind("child-kill", 9, TASKS, 0, 0), Kind("child-stop", 9, TASKS, 0.3, 3.0),
    Kind("sender-kill", 5, STREAMS, 0, 4.0), Kind("worker-blink", 4, WORKERS, 0.3, 1.5), Kind("boss-blink", 2, ("boss",), 0.2, 0.8),
    Kind("hook-ghost-leaves", 6, STREAMS, 0, 0), Kind("hook-ghost-comes", 3, STREAMS, 0, 0), Kind("hook-doubled", 6, STREAMS, 0, 0),
    Kind("hook-false-farewell", 4, STREAMS, 0, 0), Kind("hook-reordered", 4, STREAMS, 0, 0), Kind("hook-other-start", 2, STREAMS, 0, 0),
    Kind("hook-wrong-key", 6, STREAMS, 0, 0), Kind("hook-malformed", 6, ("boss", "media"), 0, 0),
    Kind("garbage-cluster", 6, ("boss",), 0.5, 5), Kind("garbage-http", 6, NODES, 0.5, 5), Kind("half-open", 6, ("boss", *NODES), 2, 10),
    Kind("edit", 8, TASKS, 0, 0), Kind("toggle", 5, TASKS, 0.3, 3.0), Kind("retry", 5, TASKS, 0, 0),
    Kind("standby", 3, ("hls-beta",), 2.0, 8.0), Kind("cable-blink", 5, NODES, 0.2, 1.5),
)
HEAVY = (
    Kind("worker-kill", 5, WORKERS, 0.2, 3.0), Kind("worker-stop", 5, WORKERS, 3.0, 8.0), Kind("program-stop", 2, WORKERS, 3.0, 8.0),
    Kind("boss-kill", 4, ("boss",), 0.2, 4.0), Kind("boss-stop", 2, ("boss",), 2.0, 5.0), Kind("ingest-kill", 4, ("media", "side"), 0, 0),
    Kind("edge-kill", 3, ("edge-1", "edge-2"), 0, 0), Kind("cordon", 3, WORKERS, 2.0, 8.0), Kind("drain", 4, WORKERS, 3.0, 10.0),
    # A cable is out; what a node sends, or what is sent to it, is lost; or so between a worker and the coordinator alone.
    Kind("cable-cut", 8, (*WORKERS, "boss", "side", "cache"), 2.0, 9.0), Kind("origin-cut", 2, ("media",), 0.5, 4.0),
    Kind("muted", 3, (*WORKERS, "boss", "side"), 2.0, 9.0), Kind("deafened", 3, (*WORKERS, "boss", "side"), 2.0, 9.0),
    Kind("line-cut", 6, WORKERS, 3.0, 10.0), Kind("line-mute", 2, WORKERS, 3.0, 10.0), Kind("line-deaf", 2, WORKERS, 3.0, 10.0),
)
CUTS = ("cable-blink", "cable-cut", "origin-cut", "muted", "deafened", "line-cut", "line-mute", "line-deaf")
# Seconds that who was away is left alone.
ALONE = {"worker-kill": 6, "worker-stop": 4, "program-stop": 4, "program-hang": 4, "worker-blink": 1, "boss-kill": 8, "boss-stop": 3, "boss-blink": 1,
         "ingest-kill": 3, **dict.fromkeys(CUTS, 8), "cable-blink": 1}
# These must move nothing: no event is their doing.
HARMLESS = ("boss-blink", "hook-ghost-leaves", "hook-wrong-key", "hook-malformed", "garbage-cluster", "garbage-http", "half-open", "edit", "retry")
# Only with --only: the program hangs for longer than its leases last while its children go on.
ASKED_FOR = (Kind("program-hang", 1, WORKERS, 10.0, 14.0),)
EDGE_DEATHS, EDGE_PERIOD = 2, 600  # the third within ten minutes holds an edge out, as it should
INGEST_DEATHS, INGEST_PERIOD = 4, 60


def plan(seed, count, only=(), without=()):
    """The faults of a seed; `only`: of these kinds; `without`: of none of those."""
    def mine(kinds):
        return tuple(k for k in kinds if k.name not in without and (k.name in only if only else k not in ASKED_FOR))

    light, heavies = mine(LIGHT), mine(HEAVY + ASKED_FOR)
    chance = random.Random(seed)
    at, heavy_from = 0.0, 2.0
    free = collections.defaultdict(float)  # resource → when it may be broken again
    deaths = collections.defaultdict(list)
    faults = []
    while len(faults) < count:
        number = len(faults) + 1
        at = round(at + chance.uniform(0.2, 1.8) * PACE, 2)
        heavy = at >= heavy_from and chance.random() < 0.5
        kinds = heavies if heavy else light
        if not kinds:
            continue
        while True:
            kind = chance.choices(kinds, [k.weight for k in kinds])[0]
            target = chance.choice(kind.targets)
            lasts = round(chance.uniform(kind.shortest, kind.longest), 2)
            if kind.name == "sender-kill" and chance.random() < 0.5:
                lasts = 0
            at = round(at + 0.01, 2) if only else at  # a moment must come that suits
            # One worker at a time is away, another one at a time gets no tasks: the third can work. Whoever is cut off is away, and so is its line.
            away = "worker" if target in WORKERS else "server" if target in ("media", "side") else target
            needs, rest = {"cordon": ("drain", 2), "drain": ("drain", 2), "toggle": (f"toggle {target}", 1), "standby": (f"standby {target}", 2),
                           "sender-kill": (f"sender {target}", 3), "child-stop": (f"child {target}", 1)}.get(kind.name, (away, ALONE.get(kind.name)))
            if rest is not None and free[needs] > at:
                continue
            most, period = {"edge-kill": (EDGE_DEATHS, EDGE_PERIOD), "ingest-kill": (INGEST_DEATHS, INGEST_PERIOD)}.get(kind.name, (0, 0))
            if most and len([d for d in deaths[target] if d > at - period]) >= most:
                continue
            break
        if rest is not None:
            free[needs] = at + lasts + rest
        if most:
            deaths[target].append(at)
        if heavy:
            heavy_from = at + HEAVY_EVERY
        faults.append(Planned(number, at, kind.name, target, lasts, heavy))
    return faults


# --- its tests ------------------------------------------------------------------------------------------------------------------


class Plan(unittest.TestCase):
    """The generator: pure, varied, merciful."""

    def test_a_seed_is_a_plan(self):
        self.assertEqual(plan(7, 300), plan(7, 300))
        self.assertEqual(plan(7, 300)[:100], plan(7, 100))
        self.assertNotEqual([f.kind for f in plan(7, 50)], [f.kind for f in plan(8, 50)])

    def test_what_a_plan_is_made_of(self):
        for seed in range(20):
            faults = plan(seed, 200)
            self.assertGreater(len({f.kind for f in faults}), 20)
            heavy = [f.at for f in faults if f.heavy]
            self.assertGreater(len(heavy), 8)
            self.assertTrue(all(b - a >= HEAVY_EVERY for a, b in zip(heavy, heavy[1:])))
            self.assertLess(faults[-1].at, 200 * PACE * 1.3)
            losses = ("worker-kill", "worker-stop", "program-stop", "worker-blink", *CUTS)
            away = [(f.at, f.at + f.lasts) for f in faults if f.target in WORKERS and f.kind in losses]
            self.assertTrue(all(a[1] < b[0] for a, b in zip(away, away[1:])), "one worker at a time is away")
            idle = [(f.at, f.at + f.lasts) for f in faults if f.kind in ("cordon", "drain")]
            self.assertTrue(all(a[1] < b[0] for a, b in zip(idle, idle[1:])), "one worker at a time gets no tasks")
            for edge in ("edge-1", "edge-2"):
                self.assertLessEqual(len([f for f in faults if f.kind == "edge-kill" and f.target == edge]), EDGE_DEATHS)
            self.assertGreater(len([f for f in faults if f.kind in CUTS and f.heavy]), 1)
            for node in NODES:
                cuts = [(f.at, f.at + f.lasts) for f in faults if f.target == node and f.kind in CUTS]
                self.assertTrue(all(a[1] < b[0] for a, b in zip(cuts, cuts[1:])), "what is cut is mended before it is cut again")

    def test_without_a_network(self):
        faults = plan(7, 300, without=CUTS)
        self.assertEqual([f for f in faults if f.kind in CUTS], [])

    def test_each_kind_is_drawn(self):
        self.assertEqual({k.name for k in LIGHT + HEAVY} - {f.kind for seed in range(20) for f in plan(seed, 200)}, set())
        self.assertLess({k for k in CUTS}, {k.name for k in LIGHT + HEAVY})


if __name__ == "__main__":
    unittest.main(verbosity=1)
