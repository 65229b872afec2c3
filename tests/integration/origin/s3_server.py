"""A real S3 server for tests: OpenStack Swift with s3api, one replica, one process a service, on loopback, below one folder.

    /usr/bin/python3 s3_server.py FOLDER [PARENT]

Says "PORT\n" once it answers, and ends with whoever started it, the process PARENT. What it reads of FOLDER while it runs are the faults of a test:
  slow_ms    each PUT of a segment takes so long before it begins
  hold       each PUT of a key that holds this text waits until the file is gone; the file `held` says that one does, and
             `carried_out` that one which did has been carried out, whether or not anybody waited for it
  full       (there or not) nothing fits in any more: Swift's own quota
User `weir:test`, key `sesame-of-weir`, region us-east-1, bucket `live` (there already). Swift comes from the package python3-swift.
"""

import ctypes
import os
import pathlib
import signal
import socket
import sys

BUCKET = "live"
SERVICES = ("account", "container", "object")

# What each service reads. Time-outs are long: a busy test machine is no fault. A listing counts with the PUT that it lists, so the update of it is waited for.
COMMON = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
workers = 0
log_level = ERROR
conn_timeout = 20
node_timeout = 60
container_update_timeout = 60
fallocate_reserve = 0
"""

BACKEND = COMMON + """[pipeline:main]
pipeline = {service}-server
[app:{service}-server]
use = egg:swift#{service}
conn_timeout = 20
node_timeout = 60
container_update_timeout = 60
"""

PROXY = COMMON + """[pipeline:main]
pipeline = catch_errors faults s3api tempauth container-quotas proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = 20
node_timeout = 60
recoverable_node_timeout = 60
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:faults]
paste.filter_factory = s3_server:faults
folder = {folder}
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
storage_domain = localhost
s3_acl = no
allow_multipart_uploads = no
[filter:tempauth]
use = egg:swift#tempauth
user_weir_test = sesame-of-weir .admin
[filter:container-quotas]
use = egg:swift#container_quotas
"""


def faults(global_conf, **conf):
    """The test's hands in the server: see the head of this file."""
    import eventlet

    folder = pathlib.Path(conf["folder"])
    cache = own_cache()

    def over(app):
        def call(env, start_response):
            env["swift.cache"] = cache
            key = env["PATH_INFO"]
            if env["REQUEST_METHOD"] == "PUT":
                if ".ts." in key:
                    eventlet.sleep(int(read(folder / "slow_ms") or 0) / 1000)
                if wait_while_held(folder, key):
                    answer = app(env, start_response)
                    (folder / "carried_out").touch()
                    return answer
            return app(env, start_response)

        return call

    return over


class own_cache:
    """What memcached would be: tempauth does not work without one."""

    def __init__(self):
        self.kept = {}

    def get(self, key, **_):
        return self.kept.get(key)

    def set(self, key, value, **_):
        self.kept[key] = value

    def delete(self, key, **_):
        self.kept.pop(key, None)


def wait_while_held(folder, key):
    """Whether it had to."""
    import eventlet

    waited = False
    while (held := read(folder / "hold")) and held in key:
        (folder / "held").touch()
        waited = True
        eventlet.sleep(0.01)
    return waited


def read(path):
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


class full_when_told:
    """What container_quotas asks: Swift's container information, with the quota that the test sets."""

    def __init__(self, folder, ask):
        self.folder, self.ask = folder, ask

    def __call__(self, *args, **kwargs):
        info = self.ask(*args, **kwargs)
        if (self.folder / "full").exists():
            info = {**info, "meta": {**info.get("meta", {}), "quota-bytes": "1"}}
        return info


def die_with_parent(parent):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it has ended before that was said
        os._exit(1)


def serve(conf_path, section, listener, folder):
    from swift.common import wsgi
    from swift.common.middleware import container_quotas

    conf, logger, _ = wsgi._initrp(str(conf_path), section)
    container_quotas.get_container_info = full_when_told(folder, container_quotas.get_container_info)
    wsgi.run_server(conf, logger, listener)


def make_bucket(port):
    """Through the front door, before anybody hears of it."""
    import hashlib, hmac, http.client, time

    now = time.gmtime()
    day, stamp = time.strftime("%Y%m%d", now), time.strftime("%Y%m%dT%H%M%SZ", now)
    empty = hashlib.sha256(b"").hexdigest()
    host = f"127.0.0.1:{port}"
    names = "host;x-amz-content-sha256;x-amz-date"
    asked = f"PUT\n/{BUCKET}\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{stamp}\n\n{names}\n{empty}"
    scope = f"{day}/us-east-1/s3/aws4_request"
    key = b"AWS4sesame-of-weir"
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    signed = hmac.new(key, text.encode(), "sha256").hexdigest()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    line.request("PUT", f"/{BUCKET}", headers={
        "Host": host, "x-amz-content-sha256": empty, "x-amz-date": stamp,
        "Authorization": f"AWS4-HMAC-SHA256 Credential=weir:test/{scope}, SignedHeaders={names}, Signature={signed}"})
    answer = line.getresponse()
    if answer.status != 200:
        raise SystemExit(f"no bucket: {answer.status} {answer.read()!r}")


def main(folder, parent=None):
    die_with_parent(int(parent or os.getppid()))
    folder = pathlib.Path(folder)
    sys.path.insert(0, str(pathlib.Path(__file__).parent))  # for paste: s3_server:faults
    from swift.common import utils

    utils.eventlet_monkey_patch()  # first: it looks through all objects there are, for each lock
    import swift.account.server, swift.container.server, swift.obj.server, swift.proxy.server  # noqa: F401,E401  once for all of them
    import swift.common.middleware.s3api.s3api, swift.common.middleware.tempauth  # noqa: F401,E401
    from swift.common.ring import RingBuilder

    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = test\n")
    utils.set_swift_dir(str(folder))
    (folder / "devices" / "d1").mkdir(parents=True)
    sections = {name: f"{name}-server" for name in (*SERVICES, "proxy")}
    listeners = {}
    for name in sections:
        listeners[name] = socket.create_server(("127.0.0.1", 0), backlog=256)
        port = listeners[name].getsockname()[1]
        text = (PROXY if name == "proxy" else BACKEND).format(port=port, folder=folder, service=name)
        (folder / f"{name}.conf").write_text(text)
        if name != "proxy":
            builder = RingBuilder(4, 1, 1)
            builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1})
            builder.rebalance()
            builder.get_ring().save(str(folder / f"{name}.ring.gz"))
    own = os.getpid()
    for name, section in sections.items():
        if os.fork() == 0:
            die_with_parent(own)
            for other, listener in listeners.items():
                if other != name:
                    listener.close()
            serve(folder / f"{name}.conf", section, listeners[name], folder)
            os._exit(1)
    port = listeners["proxy"].getsockname()[1]
    for listener in listeners.values():
        listener.close()
    make_bucket(port)
    print(port, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.wait()  # a service that ends is a fault of ours
    raise SystemExit("a service has ended")


if __name__ == "__main__":
    main(*sys.argv[1:3])
