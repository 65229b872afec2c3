"""A healthy cluster as Prometheus sees it, and each failure as a change of it: what it sets off, and nothing else.

A sample comes every 15 s. The first five minutes are healthy, the next five fail, then all is well again. In Prometheus's notation "1x19" is 1 twenty
times, "_" nothing new, and "stale" a series of which the target no longer tells.
"""
STEP = 15            # seconds
START = 20 * STEP    # of the failure
CLEAR = 110 * STEP   # by then every window is over

A, B = '{job="weir", instance="a:8080"', '{job="weir", instance="b:8080"'


def gauge(healthy, failing):
    return f"{healthy}x19 {failing}x19 {healthy}x75"


def counter(start, step):
    """Grows while it fails."""
    return f"{start}x19 {start + step}+{step}x19 {start + 20 * step}x75"


def appears(first, step):
    """A counter of which there is nothing before the first event."""
    return f"_x20 {first}+{step}x19 {first + 19 * step}x75"


def only_then(value):
    return f"_x20 {value}x19 stale"


def absent(healthy):
    return f"{healthy}x19 stale _x19 {healthy}x75"


def healthy():
    """Node a is coordinator, origin and director; b is a worker with two edges. Both tell of the whole cluster."""
    series = {}
    series.update({"weir_election_etcd_member_up" + A + f', member="http://e{i}:2379"}}': "1x115" for i in (1, 2, 3)})
    series["weir_election_standbys" + A + "}"] = "1x115"
    for at in (A, B):
        series.update({
            "up" + at + "}": "1x115",
            "process_cpu_seconds_total" + at + "}": "100+2x115",
            "weir_streams" + at + ', phase="live"}': "2x115",
            "weir_streams" + at + ', phase="offline"}': "1x115",
            "weir_streams" + at + ', phase="ending"}': "0x115",
            "weir_rtmp_server_up" + at + ', server="srs1"}': "1x115",
            "weir_rtmp_server_up" + at + ', server="a"}': "1x115",
            "weir_tasks" + at + ', type="hls", phase="running"}': "2x115",
            "weir_tasks" + at + ', type="hls", phase="waiting"}': "1x115",  # of the stream that is offline
            "weir_tasks_unplaced" + at + ', type="hls"}': "0x115",
            "weir_task_output_age_seconds" + at + ', stream="main", task="t1"}': "0.5x115",
            "weir_task_output_age_seconds" + at + ', stream="side", task="t2"}': "6x115",
            "weir_task_standby_missing" + at + ', stream="main", task="t1"}': "0x115",
            "weir_transcoder_speed_ratio" + at + ', task="t1"}': "1x115",
            "weir_transcoder_speed_ratio" + at + ', task="t2"}': "0.99x115",
            "weir_segments_written_total" + at + "}": "50+5x115",
            "weir_segments_fenced_total" + at + "}": "2x115",
            "weir_segments_refused_total" + at + "}": "3x115",
            "weir_segments_disk_full_total" + at + "}": "0x115",
            "weir_segments_late_total" + at + "}": "0x115",
            "weir_origin_copies_owed" + at + ', peer="o2"}': "0x10 3 0x104",
            "weir_origin_quorum_lost" + at + "}": "0x115",
            "weir_origin_copies" + at + ', state="wanted"}': "3x115",
            "weir_origin_copies" + at + ', state="there"}': "3x10 2 3x104",
            "weir_origin_learning_seconds" + at + ', origin="o3"}': "120x115",
            "weir_node_phase" + at + ', node="a", phase="ready"}': "1x115",
            "weir_node_phase" + at + ', node="b", phase="draining"}': "1x115",
            "weir_hook_decisions_total" + at + ', server_kind="srs", hook="publish", decision="accepted"}': "10+1x115",
            "weir_hook_decisions_total" + at + ', server_kind="srs", hook="publish", decision="refused"}': "4x115",
            "weir_http_requests_total" + at + ', route="/hooks/srs/{secret}", status="200"}': "10+1x115",
            "weir_http_requests_total" + at + ', route="/hooks/srs/{secret}", status="403"}': "4x115",
            "weir_hook_duration_seconds_bucket" + at + ', hook="srs", le="0.01"}': "10+1x115",
            "weir_hook_duration_seconds_bucket" + at + ', hook="srs", le="1"}': "10+1x115",
            "weir_hook_duration_seconds_bucket" + at + ', hook="srs", le="+Inf"}': "10+1x115",
            "weir_playlist_requests_total" + at + ', playlist="media", status="200"}': "100+50x115",
            "weir_playlist_requests_total" + at + ', playlist="media", status="503"}': "12x115",
            "weir_playlist_requests_total" + at + ', playlist="multivariant", status="503"}': "3x115",
            "weir_errors_total" + at + ', code="nginx-ended", component="edge"}': "1x115",
        })
        for edge in ("b-1", "b-2"):
            series.update({
                "weir_edge_phase" + at + f', edge="{edge}", phase="serving"}}': "1x115",
                "weir_edge_up" + at + f', edge="{edge}"}}': "1x115",
                "weir_edge_reached" + at + f', edge="{edge}"}}': "1x115",
                **{"weir_edge_seen" + at + f', edge="{edge}", observer="{observer}"}}': "1x115" for observer in ("a", "c")},
                "weir_edge_capacity_bytes_per_second" + at + f', edge="{edge}"}}': "1000x115",
                "weir_edge_sent_bytes_per_second" + at + f', edge="{edge}"}}': "400x115",
                "weir_edge_restarts_total" + at + f', edge="{edge}"}}': "1x115",
            })
    return series


def both(name, labels, values):
    """The same change wherever the cluster is seen."""
    return {f"{name}{at}, {labels}}}": values for at in (A, B)}


# What a node knows from the coordinator only.
FROM_COORDINATOR = ["streams", "rtmp_server_up", "tasks", "tasks_unplaced", "task_output_age_seconds", "task_standby_missing", "transcoder_speed_ratio", "node_phase", "edge_phase", "edge_up", "edge_reached", "edge_seen",
                    "edge_capacity_bytes_per_second", "edge_sent_bytes_per_second", "edge_restarts_total"]


def without(gone):
    """Series that are not told while it fails."""
    return {s: "{0}x19 stale _x19 {0}x75".format(v.split("x")[0]) for s, v in healthy().items() if gone(s)}


def of_coordinator(*nodes):
    return without(lambda s: any(s.startswith(f"weir_{name}{at}") for name in FROM_COORDINATOR for at in nodes))


ON_A, ON_B = {"job": "weir", "instance": "a:8080"}, {"job": "weir", "instance": "b:8080"}


def dead(edge):
    return {**both("weir_edge_phase", f'edge="{edge}", phase="serving"', absent(1)), **both("weir_edge_phase", f'edge="{edge}", phase="dead"', only_then(1)),
            **both("weir_edge_up", f'edge="{edge}"', gauge(1, 0)), **both("weir_edge_reached", f'edge="{edge}"', gauge(1, 0))}


# (what fails, the changed series, seconds from the failure's begin to the look, {alert: its labels beside name and severity})
FAILURES = [
    ("nothing at all", {}, 240, {}),
    ("a node's process ends", {**without(lambda s: "b:8080" in s), "up" + B + "}": gauge(1, 0)}, 60, {"WeirTargetDown": [ON_B]}),
    ("the coordinator ends", of_coordinator(A, B), 60, {"WeirCoordinatorGone": [{"job": "weir"}]}),
    ("one node loses the coordinator", of_coordinator(B), 60, {"WeirNodeCutOff": [ON_B]}),
    ("a heartbeat is late", {**both("weir_node_phase", 'node="b", phase="draining"', "1x19 stale _ 1x93"),
                             **both("weir_node_phase", 'node="b", phase="suspect"', "_x20 1x1 stale")}, 90, {"WeirNodeSuspect": [{"job": "weir", "node": "b"}]}),
    ("a node is lost", {**both("weir_node_phase", 'node="b", phase="draining"', absent(1)), **both("weir_node_phase", 'node="b", phase="suspect"', "_x20 1 stale"),
                        **both("weir_node_phase", 'node="b", phase="down"', "_x21 1x18 stale")}, 60, {"WeirNodeDown": [{"job": "weir", "node": "b"}]}),
    ("a role dies again and again", {"process_cpu_seconds_total" + A + "}": "100+2x19 1 3 5 1 3 5 7+2x95"}, 90, {"WeirRoleDies": [ON_A]}),
    ("a node is restarted once", {"process_cpu_seconds_total" + A + "}": "100+2x19 1+2x95"}, 240, {}),

    ("a member of etcd is lost", {"weir_election_etcd_member_up" + A + ', member="http://e2:2379"}': gauge(1, 0)}, 60,
     {"WeirEtcdMemberDown": [{"job": "weir", "member": "http://e2:2379"}]}),
    ("another coordinator alone does not reach a member", {"weir_election_etcd_member_up" + B + ', member="http://e2:2379"}': gauge(1, 0)}, 60,
     {"WeirEtcdMemberDown": [{"job": "weir", "member": "http://e2:2379"}]}),
    ("a member of etcd restarts", {"weir_election_etcd_member_up" + A + ', member="http://e2:2379"}': "1x19 0 1x94"}, 30, {}),
    ("no coordinator stands by", {"weir_election_standbys" + A + "}": gauge(1, 0)}, 90, {"WeirStandbyCoordinatorMissing": [{"job": "weir"}]}),
    ("a coordinator that stands by restarts", {"weir_election_standbys" + A + "}": "1x19 0x2 1x93"}, 45, {}),
    ("etcd is lost to one of two coordinators", {"weir_election_standbys" + A + "}": absent(1), "weir_election_standbys" + B + "}": "1x115"}, 90, {}),

    ("an encoder has the wrong key", both("weir_hook_decisions_total", 'server_kind="srs", hook="publish", decision="refused"', counter(4, 1)), 180,
     {"WeirPublishRefused": [{"job": "weir", "server_kind": "srs"}]}),
    ("the first refusals of a server", {**both("weir_hook_decisions_total", 'server_kind="nginx-rtmp", hook="publish", decision="refused"', appears(3, 1)),
                                        **both("weir_http_requests_total", 'route="/hooks/nginx-rtmp", status="403"', appears(3, 1))}, 30,
     {"WeirPublishRefused": [{"job": "weir", "server_kind": "nginx-rtmp"}]}),
    ("one wrong key", both("weir_hook_decisions_total", 'server_kind="srs", hook="publish", decision="refused"', "4x19 5x95"), 120, {}),
    ("callbacks come from elsewhere", {"weir_http_requests_total" + A + ', route="/hooks/srs/{secret}", status="403"}': counter(4, 1)}, 120, {"WeirHookStrangers": [ON_A]}),
    ("publishers are refused, all known", {"weir_http_requests_total" + A + ', route="/hooks/srs/{secret}", status="403"}': counter(4, 1),
                                           "weir_hook_decisions_total" + A + ', server_kind="srs", hook="publish", decision="refused"}': counter(4, 1)}, 240,
     {"WeirPublishRefused": [{"job": "weir", "server_kind": "srs"}]}),
    ("the coordinator answers too late", {"weir_errors_total" + A + ', code="hook-undecided", component="http-bridge"}': appears(1, 1),
                                          "weir_http_requests_total" + A + ', route="/hooks/srs", status="403"}': appears(1, 1)}, 30, {"WeirHooksUndecided": [ON_A]}),
    ("hooks take long", {"weir_hook_duration_seconds_bucket" + A + ', hook="srs", le="0.01"}': "10+1x19 30x19 30+1x75"}, 240,
     {"WeirHooksSlow": [{**ON_A, "hook": "srs"}]}),
    ("an RTMP server hangs", both("weir_rtmp_server_up", 'server="srs1"', gauge(1, 0)), 30, {"WeirRtmpServerUnreachable": [{"job": "weir", "server": "srs1"}]}),

    ("a task crash-loops", both("weir_tasks", 'type="hls", phase="crash_looping"', only_then(1)), 0, {"WeirTaskCrashLooping": [{"job": "weir", "type": "hls"}]}),
    ("a task fails now and then", both("weir_tasks", 'type="hls", phase="backing_off"', "_x20 1x3 stale _x3 1x3 stale"), 240, {}),
    ("a task fails all the time", both("weir_tasks", 'type="hls", phase="backing_off"', only_then(1)), 150, {"WeirTaskBackingOff": [{"job": "weir", "type": "hls"}]}),
    ("a task has wrong options", both("weir_tasks", 'type="restream", phase="failed"', only_then(1)), 0, {"WeirTaskFailed": [{"job": "weir", "type": "restream"}]}),
    ("no node has room", both("weir_tasks_unplaced", 'type="hls"', gauge(0, 1)), 45, {"WeirTaskWaiting": [{"job": "weir", "type": "hls"}]}),
    ("a stream is live without segments", both("weir_task_output_age_seconds", 'stream="main", task="t1"', "0.5x19 6+15x19 0.5x75"), 60,
     {"WeirStreamWithoutOutput": [{"job": "weir", "stream": "main", "task": "t1"}]}),
    ("a transcoder cannot keep up", both("weir_transcoder_speed_ratio", 'task="t1"', gauge(1, 0.8)), 60, {"WeirTaskOverloaded": [{"job": "weir", "task": "t1"}]}),

    ("a standby finds no second worker", both("weir_task_standby_missing", 'stream="main", task="t1"', gauge(0, 1)), 150,
     {"WeirTaskStandbyMissing": [{"job": "weir", "stream": "main", "task": "t1"}]}),
    ("a standby takes over and another one starts", both("weir_task_standby_missing", 'stream="main", task="t1"', "0x19 1x5 0x89"), 150, {}),

    ("a zombie writes", {"weir_segments_fenced_total" + A + "}": counter(2, 1)}, 240, {"WeirOriginFencing": [ON_A]}),
    ("a hand-over", {"weir_segments_fenced_total" + A + "}": "2x19 4x95"}, 240, {}),
    ("the origin refuses", {"weir_segments_refused_total" + A + "}": counter(3, 2)}, 240, {"WeirOriginRefusing": [ON_A]}),
    ("the origin's disk is full", {"weir_segments_disk_full_total" + A + "}": counter(0, 1)}, 15, {"WeirOriginFull": [ON_A]}),
    ("the origin's disk is slow", {"weir_segments_late_total" + A + "}": counter(0, 1)}, 15, {"WeirOriginSlow": [ON_A]}),
    ("another origin is away", {"weir_origin_copies_owed" + A + ', peer="o2"}': gauge(0, 7)}, 150, {"WeirOriginCopiesMissing": [{**ON_A, "peer": "o2"}]}),
    ("too few origins are left", {"weir_origin_quorum_lost" + A + "}": gauge(0, 1)}, 30, {"WeirOriginQuorumLost": [ON_A]}),
    ("an origin is lost for good", both("weir_origin_copies", 'state="there"', gauge(3, 2)), 75, {"WeirOriginCopiesFew": [{"job": "weir"}]}),
    ("an origin does not catch up", both("weir_origin_learning_seconds", 'origin="o3"', gauge(0, 1000)), 45, {"WeirOriginLearnerStuck": [{"job": "weir", "origin": "o3"}]}),
    ("the origin cannot write", {"weir_errors_total" + A + ', code="segment-not-stored", component="origin"}': appears(1, 2)}, 0,
     {"WeirOriginFailing": [{**ON_A, "code": "segment-not-stored"}]}),
    ("the origin falls silent", {"weir_playlist_requests_total" + A + ', playlist="media", status="503"}': counter(12, 9)}, 60, {"WeirPlaylistsStale": [ON_A]}),

    ("an edge dies", dead("b-1"), 15, {"WeirEdgeDead": [{"job": "weir", "edge": "b-1"}]}),
    ("one observer does not get from an edge what it should", both("weir_edge_seen", 'edge="b-1", observer="c"', gauge(1, 0)), 150,
     {"WeirEdgeDisputed": [{"job": "weir", "edge": "b-1", "observer": "c"}]}),
    ("an edge is seen by nobody", {**dead("b-1"), **both("weir_edge_seen", 'edge="b-1", observer="a"', gauge(1, 0)), **both("weir_edge_seen", 'edge="b-1", observer="c"', gauge(1, 0))}, 240,
     {"WeirEdgeDead": [{"job": "weir", "edge": "b-1"}]}),
    ("an edge is drained", {**both("weir_edge_phase", 'edge="b-1", phase="serving"', absent(1)), **both("weir_edge_phase", 'edge="b-1", phase="draining"', only_then(1)),
                            **both("weir_edge_up", 'edge="b-1"', gauge(1, 0))}, 240, {}),
    ("more than half of the edges are not reached, and no phase changes", {**both("weir_edge_reached", 'edge="b-1"', gauge(1, 0)),
                                                                           **both("weir_edge_reached", 'edge="b-2"', gauge(1, 0))}, 30,
     {"WeirEdgeDead": [{"job": "weir", "edge": "b-1"}, {"job": "weir", "edge": "b-2"}], "WeirNoEdgeServes": [{"job": "weir"}]}),
    ("an edge is taken away", {**both("weir_edge_phase", 'edge="b-1", phase="serving"', absent(1)), **both("weir_edge_phase", 'edge="b-1", phase="stopped"', only_then(1)),
                               **both("weir_edge_up", 'edge="b-1"', gauge(1, 0)), **both("weir_edge_reached", 'edge="b-1"', gauge(1, 0))}, 240, {}),
    ("all edges die", {**dead("b-1"), **dead("b-2")}, 30, {"WeirEdgeDead": [{"job": "weir", "edge": "b-1"}, {"job": "weir", "edge": "b-2"}],
                                                           "WeirNoEdgeServes": [{"job": "weir"}]}),
    ("an nginx ends again and again", both("weir_edge_restarts_total", 'edge="b-1"', "1x19 2x3 3x3 4x95"), 150, {"WeirEdgeRestarting": [{"job": "weir", "edge": "b-1"}]}),
    ("one edge is full", both("weir_edge_sent_bytes_per_second", 'edge="b-1"', gauge(400, 950)), 240, {}),
    ("all edges are full", {**both("weir_edge_sent_bytes_per_second", 'edge="b-1"', gauge(400, 950)),
                            **both("weir_edge_sent_bytes_per_second", 'edge="b-2"', gauge(400, 880))}, 90, {"WeirEdgesFull": [{"job": "weir"}]}),
    ("the last edge that serves is full", {**dead("b-1"), **both("weir_edge_sent_bytes_per_second", 'edge="b-1"', gauge(400, 0)),
                                           **both("weir_edge_sent_bytes_per_second", 'edge="b-2"', gauge(400, 900))}, 90,
     {"WeirEdgesFull": [{"job": "weir"}], "WeirEdgeDead": [{"job": "weir", "edge": "b-1"}]}),
    ("a viewer finds no place", {"weir_playlist_requests_total" + A + ', playlist="multivariant", status="503"}': counter(3, 1)}, 30, {"WeirViewersTurnedAway": [ON_A]}),

    ("the database's disk is full", {"weir_errors_total" + A + ', code="write-failed", component="store"}': appears(1, 1),
                                     "weir_errors_total" + A + ', code="lease-not-stored", component="coordinator"}': appears(1, 1)}, 15,
     {"WeirStoreFailing": [{**ON_A, "code": "write-failed"}, {**ON_A, "code": "lease-not-stored"}]}),
]
