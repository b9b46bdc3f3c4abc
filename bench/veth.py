"""Two namespaces joined by a veth pair, what runs in them, and what it costs: shared by the scenarios.

Server on core 0, client on core 1; needs root.
"""
import contextlib
import json
import os
import signal
import subprocess
import time

from report import warn

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("LEAT_BUILD", os.path.join(TOP, "build"))
BENCH = os.path.join(BUILD, "bench", "leat-bench")
SERVER_NS, CLIENT_NS = "leat-bench-server", "leat-bench-client"
SERVER_IF, CLIENT_IF = "lbs0", "lbc0"
SERVER_IP, CLIENT_IP = "10.91.0.1", "10.91.0.2"
BACKLOG = "net.core.netdev_max_backlog"
BACKLOG_PACKETS = 20000  # a veth's receive queue: the kernel's 1,000 drop what one turn of any server sends
TSC_HZ = 2.1e9  # the clock that the design's numbers are stated at


def sh(*command, check=True, **options):
    """Runs a command to its end; its output is kept for the error message."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def in_ns(namespace, core, *command):
    """The command line that runs 'command' in a namespace on one core."""
    return ["ip", "netns", "exec", namespace, "taskset", "-c", str(core), *command]


@contextlib.contextmanager
def veth(offloads):
    """Two namespaces joined by a veth pair; removed at the end whatever happens."""
    def remove():
        for namespace in (SERVER_NS, CLIENT_NS):
            sh("ip", "netns", "del", namespace, check=False)

    remove()
    backlog = sh("sysctl", "-n", BACKLOG).strip()
    try:
        sh("sysctl", "-q", "-w", f"{BACKLOG}={BACKLOG_PACKETS}")
        for namespace in (SERVER_NS, CLIENT_NS):
            sh("ip", "netns", "add", namespace)
            sh("ip", "-n", namespace, "link", "set", "lo", "up")
        sh("ip", "-n", SERVER_NS, "link", "add", SERVER_IF, "type", "veth", "peer", "name", CLIENT_IF,
           "netns", CLIENT_NS)
        for namespace, interface, address, core in ((SERVER_NS, SERVER_IF, SERVER_IP, 0),
                                                    (CLIENT_NS, CLIENT_IF, CLIENT_IP, 1)):
            state = "on" if offloads else "off"
            sh("ip", "netns", "exec", namespace, "ethtool", "-K", interface, "tx", state, "tso", state,
               "gso", state, "gro", state)
            sh("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", interface)
            sh("ip", "-n", namespace, "link", "set", interface, "up")
            sh("ip", "netns", "exec", namespace, "sh", "-c",
               f"echo {1 << core} > /sys/class/net/{interface}/queues/rx-0/rps_cpus")
        yield
    finally:
        remove()
        sh("sysctl", "-q", "-w", f"{BACKLOG}={backlog}", check=False)


@contextlib.contextmanager
def process(command, log):
    """A child that is ended with the block."""
    with open(log, "a", encoding="utf-8") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def core_busy_seconds(core):
    """Time that a core has not been idle since boot."""
    with open("/proc/stat", encoding="utf-8") as stat:
        for line in stat:
            fields = line.split()
            if fields[0] == f"cpu{core}":
                ticks = [int(x) for x in fields[1:9]]
                return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    raise RuntimeError(f"no core {core} in /proc/stat")


def process_seconds(parent):
    """Processor time that a process's children have used: steady even where the core is shared, but what
    softirqs do on their own is not in it."""
    ticks = 0
    with open(f"/proc/{parent}/task/{parent}/children", encoding="utf-8") as children:
        for child in children.read().split():
            with open(f"/proc/{child}/stat", encoding="utf-8") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(parent):
    """Memory of a process's children: leatd's leat-dp, nginx's worker."""
    pages = 0
    with open(f"/proc/{parent}/task/{parent}/children", encoding="utf-8") as children:
        for child in children.read().split():
            with open(f"/proc/{child}/statm", encoding="utf-8") as statm:
                pages += int(statm.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def fetch(url):
    """A body over the client's namespace; None while there is none."""
    done = subprocess.run(in_ns(CLIENT_NS, 1, "curl", "-sf", "--max-time", "5", url),
                          capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def wait_for(what, ask, seconds):
    """The first true answer of 'ask'."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.2)
    raise RuntimeError(f"{what}: nothing within {seconds} s")


@contextlib.contextmanager
def nginx(directory, files):
    """nginx in the server's namespace on the same parts; yields its address and the master's pid."""
    with open(os.path.join(TOP, "bench/peers/nginx/nginx.conf.in"), encoding="utf-8") as template:
        text = template.read()
    for name, value in (("DIR", directory), ("LISTEN", f"{SERVER_IP}:8081"), ("ROOT", files)):
        text = text.replace(f"@{name}@", value)
    config = os.path.join(directory, "nginx.conf")
    with open(config, "w", encoding="utf-8") as out:
        out.write(text)
    with process(in_ns(SERVER_NS, 0, "nginx", "-c", config, "-p", directory),
                 os.path.join(directory, "nginx.log")) as server:
        base = f"http://{SERVER_IP}:8081"
        wait_for("nginx", lambda: fetch(base + "/ready"), 10)
        yield base, server.pid


def warn_if_shared(core):
    """Says so when something else uses a core that is to be measured: its time would count as ours."""
    before = core_busy_seconds(core)
    time.sleep(1)
    busy = core_busy_seconds(core) - before
    if busy > 0.2:
        warn(f"core {core} is {100 * busy:.0f} % busy with something else: these numbers say little")


def pull(base, pid, paths, viewers, seconds):
    """Runs the client; its result with the busy time of the server's core and of its process."""
    warn_if_shared(0)
    before, process_before = core_busy_seconds(0), process_seconds(pid)
    out = sh(*in_ns(CLIENT_NS, 1, BENCH, "client", "--connect", base.removeprefix("http://"), "--connections",
                    str(viewers), "--seconds", str(seconds), *paths))
    result = json.loads(out)
    # The client warms up for one second before it measures.
    share = seconds / (seconds + 1)
    result["server_cpu_s"] = (core_busy_seconds(0) - before) * share
    result["process_cpu_s"] = (process_seconds(pid) - process_before) * share
    return result


def leat_bench(*arguments, rounds=1):
    """One leat-bench run, or the best of several by its best window; None, and said so, when it fails."""
    best = None
    for _ in range(rounds):
        try:
            result = json.loads(sh(BENCH, *map(str, arguments)))
        except (RuntimeError, OSError, ValueError) as error:
            warn(f"{' '.join(map(str, arguments))}: not measured: {error}")
            return None
        if best is None or result.get("best_cycles", 0) < best.get("best_cycles", 0):
            best = result
    return best
