#!/usr/bin/env python3
"""leatd and leatctl against a stub of leat-dp: killed, hung, stubborn and broken processes.

usage: test_supervision.py LEATD LEATCTL STUB [CASE...]
"""
import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

LEATD, LEATCTL, STUB = sys.argv[1:4]
CASES = []


def case(function):
    CASES.append(function)
    return function


def wait_until(probe, seconds, what):
    """Returns what 'probe' returns once that is true."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f'{what}: not within {seconds} s')
        time.sleep(0.01)


def alive(pid):
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def is_stub(pid):
    """It lives, and the pid has not become another program's."""
    try:
        return os.path.samefile(f'/proc/{pid}/exe', STUB)
    except OSError:
        return False


class World:
    """A run directory, and what was started in it."""

    def __init__(self, directory):
        self.base = pathlib.Path(directory)
        self.run_dir = self.base / 'run'
        self.config = self.base / 'leat.yaml'
        self.config.write_text('channels:\n  demo:\n    key: s3cret\n')
        self.log = open(self.base / 'log', 'a+b')
        self.leatd = None
        self.stubs = set()

    def start(self, stub='', ask='', args=(), env=(), config=None):
        if config:
            self.config.write_text(config)
        self.leatd = subprocess.Popen(
            [LEATD, '--config', str(self.config), '--run-dir', str(self.run_dir), '--dp', STUB, *args],
            env={**os.environ, 'STUB': stub, 'STUB_ASK': ask, **dict(env)}, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until(lambda: self.ctl('status').returncode == 0, 5, 'leatd answers')
        return self

    def ctl(self, *args):
        return subprocess.run([LEATCTL, '--run-dir', str(self.run_dir), *args], capture_output=True, text=True, timeout=60)

    def call(self, method):
        result = self.ctl('--json', method)
        return json.loads(result.stdout) if result.returncode == 0 else {}

    def dataplane(self):
        """Its status; with 'pid' None while there is none."""
        status = self.call('status').get('dataplane', {'pid': None, 'link': ''})
        if status['pid']:
            self.stubs.add(status['pid'])
        return status

    def attached(self, seconds=5, other_than=None):
        """Waits for an attached leat-dp; returns its pid."""
        def probe():
            status = self.dataplane()
            return status['pid'] != other_than and status['link'] == 'attached' and status['pid']
        return wait_until(probe, seconds, 'leat-dp is attached')

    def answers(self):
        try:
            return (self.run_dir / 'answers').read_text().splitlines()
        except OSError:
            return []

    def log_text(self):
        self.log.flush()
        return (self.base / 'log').read_text()

    def end(self):
        if self.leatd and self.leatd.poll() is None:
            self.leatd.kill()
            self.leatd.wait()
        try:
            self.stubs.add(int((self.run_dir / 'leat-dp.pid').read_text()))
        except (OSError, ValueError):
            pass
        for pid in self.stubs:
            if is_stub(pid):
                os.kill(pid, signal.SIGKILL)
        self.log.close()


@case
def starts_reports_and_stops(w):
    w.start(ask='demo=s3cret demo=wrong other=s3cret')
    pid = w.attached()
    wait_until(lambda: {'0 allowed', '1 wrong key', '2 unknown channel'} <= set(w.answers()), 5, 'all are answered')
    channels = wait_until(lambda: [c for c in w.call('channels') if c['state'] == 'live'], 5, 'the channel is live')
    assert channels[0]['name'] == 'demo' and channels[0]['connections'] == 2, channels
    counters = wait_until(lambda: w.call('counters'), 5, 'counters come')
    assert {'link_is_connected', 'link_questions'} <= {c['name'] for c in counters}, counters
    for command in ('status', 'channels', 'counters'):
        assert w.ctl(command).stdout.strip(), command
    assert 's3cret' not in w.log_text(), 'a key is in the log'
    assert w.ctl('stop').returncode == 0
    assert w.leatd.wait(timeout=5) == 0
    assert not alive(pid), 'leat-dp lives on'
    assert w.ctl('status').returncode == 3
    assert not (w.run_dir / 'leatd.sock').exists() and not (w.run_dir / 'link.sock').exists()


@case
def kill_dataplane(w):
    w.start()
    pid = w.attached()
    for _ in range(3):
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        pid = w.attached(2, other_than=pid)
        print(f'    back after {time.monotonic() - began:.2f} s')
    status = w.dataplane()
    assert status['starts'] == 4 and 'signal 9' in status['last_end'], status


@case
def kill_leatd(w):
    w.start(ask='demo=s3cret')
    pid = w.attached()
    for _ in range(3):
        w.leatd.kill()
        w.leatd.wait()
        assert alive(pid), 'leat-dp died with leatd'
        w.start()
        assert w.attached(3) == pid, 'another leat-dp was started'
        count = len(w.answers())
        wait_until(lambda: len(w.answers()) > count, 3, 'questions are answered again')
    status = w.dataplane()
    assert status['adopted'] and status['starts'] == 0, status
    assert 'unavailable' not in ' '.join(w.answers()), 'a question got lost'
    # What was adopted is supervised, too.
    os.kill(pid, signal.SIGKILL)
    pid = w.attached(2, other_than=pid)
    assert w.ctl('stop').returncode == 0
    assert not alive(pid)


@case
def kill_both(w):
    w.start()
    pid = w.attached()
    w.leatd.kill()
    os.kill(pid, signal.SIGKILL)
    w.leatd.wait()
    w.start()
    assert w.attached() != pid


@case
def leave_dataplane(w):
    w.start()
    pid = w.attached()
    assert w.ctl('stop', '--leave-dataplane').returncode == 0
    assert w.leatd.wait(timeout=5) == 0
    assert alive(pid)
    w.start()
    assert w.attached() == pid


@case
def terminate_leatd(w):
    w.start()
    pid = w.attached()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        w.leatd.send_signal(number)
        assert w.leatd.wait(timeout=10) == 0
        assert not alive(pid)
        w.start()
        pid = w.attached()


@case
def stubborn_dataplane(w):
    w.start(stub='stubborn', config='control: { stop_timeout: 300ms }\n')
    pid = w.attached()
    began = time.monotonic()
    assert w.ctl('stop').returncode == 0
    assert not alive(pid)
    assert time.monotonic() - began < 5


@case
def silent_dataplane(w):
    """A leat-dp that never says anything is taken for hung: killed and restarted."""
    w.start(stub='silent', config='control: { hang_timeout: 1s }\n')
    pid = wait_until(lambda: w.dataplane()['pid'], 5, 'leat-dp is started')
    wait_until(lambda: w.dataplane()['pid'] not in (None, pid), 10, 'another one is started')
    assert 'says nothing' in w.log_text()


@case
def stopped_dataplane(w):
    """One that hangs later, too; and one that leatd finds hung."""
    w.start(config='control: { hang_timeout: 2s }\n')
    pid = w.attached()
    os.kill(pid, signal.SIGSTOP)
    w.leatd.kill()
    w.leatd.wait()
    w.start()
    w.attached(10, other_than=pid)
    assert not alive(pid)


@case
def broken_dataplane(w):
    """Restarts come ever more slowly; the status says why."""
    w.start(stub='broken', config='control: { restart_min: 20ms, restart_max: 200ms }\n')
    wait_until(lambda: w.dataplane().get('starts', 0) >= 4, 5, 'it is tried again')
    status = w.dataplane()
    assert status['last_end'] == 'exited with status 2', status
    began, starts = time.monotonic(), status['starts']
    wait_until(lambda: w.dataplane()['starts'] >= starts + 3, 5, 'it is tried on')
    assert time.monotonic() - began > 0.3, 'the pause does not grow'
    assert w.ctl('stop').returncode == 0


@case
def absent_dataplane(w):
    w.start(args=['--dp', '/nonexistent/leat-dp'])
    assert 'No such file' in w.dataplane()['last_end']
    assert w.ctl('stop').returncode == 0


@case
def second_leatd(w):
    w.start()
    w.attached()
    second = subprocess.run([LEATD, '--run-dir', str(w.run_dir), '--dp', STUB], capture_output=True, text=True, timeout=10)
    assert second.returncode == 3 and 'another leatd' in second.stderr, second
    assert w.ctl('status').returncode == 0


@case
def keys_stay_secret(w):
    w.start(args=['--publish', 'arg=top-secret-1'], env=[('LEAT_PUBLISH', 'env1=top-secret-2 env2=top-secret-3')],
            ask='arg=top-secret-1 env2=top-secret-3')
    pid = w.attached()
    wait_until(lambda: {'0 allowed', '1 allowed'} <= set(w.answers()), 5, 'both keys work')
    for process in (w.leatd.pid, pid):
        command = pathlib.Path(f'/proc/{process}/cmdline').read_bytes()
        assert b'top-secret' not in command, command
    assert b'top-secret-2' not in pathlib.Path(f'/proc/{w.leatd.pid}/environ').read_bytes()
    assert b'LEAT_PUBLISH' not in pathlib.Path(f'/proc/{pid}/environ').read_bytes()
    assert 'top-secret' not in w.log_text() + w.ctl('--json', 'channels').stdout + w.ctl('--json', 'status').stdout


@case
def bad_usage(w):
    w.config.write_text('http:\n  listne: 1\n')
    for args, status, text in [
            (['--config', str(w.config)], 2, 'leat.yaml:2: http.listne: there is no such key; the nearest is listen'),
            (['--config', '/nonexistent'], 2, 'No such file'),
            (['--publish', 'nokey-but-secret'], 2, 'want NAME=KEY'),
            (['--publish', 'a/b=secret'], 2, 'a name is'),
            (['--publsh=a=secret'], 2, 'unknown option'),
            (['secret'], 2, 'unexpected argument'),
            (['--run-dir', '/nonexistent/x'], 1, 'run directory'),
            (['--run-dir', '/tmp'], 1, 'of our own')]:
        result = subprocess.run([LEATD, *args], capture_output=True, text=True, timeout=10)
        assert result.returncode == status and text in result.stderr, (args, result)
        assert 'secret' not in result.stderr, result.stderr
    for args, status in [([], 2), (['nope'], 2), (['--socket', '/nonexistent', 'status'], 3), (['status', 'x'], 2),
                         (['--leave-dataplane', 'status'], 2), (['--help'], 0)]:
        assert subprocess.run([LEATCTL, *args], capture_output=True, timeout=10).returncode == status, args


@case
def control_socket(w):
    w.start()
    path = w.run_dir / 'leatd.sock'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(w.run_dir.stat().st_mode) == 0o700
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.sendall(b'{"jsonrpc":"2.0","id":1,"method":"stop","params":{"nope":1}}\n{"jsonrpc":"2.0","id":2,"method":"stop","params":{"leave_dataplane":1}}\n')
        lines = s.makefile()
        for _ in range(2):
            assert json.loads(lines.readline())['error']['code'] == -32602
    if os.geteuid() == 0:
        # Someone else who could reach the socket is turned away by its credentials.
        other = 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.makefile().readline())'
        os.chmod(w.base, 0o755)
        os.chmod(w.run_dir, 0o755)
        os.chmod(path, 0o666)
        result = subprocess.run(['/usr/bin/python3', '-c', other, str(path)], user=65534, capture_output=True, text=True, timeout=10)
        assert 'only root' in result.stdout, result


def main():
    failed = 0
    wanted = sys.argv[4:]
    for run in CASES:
        if wanted and run.__name__ not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix='leat-supervision-') as directory:
            world = World(directory)
            try:
                run(world)
                print(f'ok {run.__name__}', flush=True)
            except Exception as error:  # every case is run
                failed += 1
                print(f'not ok {run.__name__}: {type(error).__name__}: {error}\n{world.log_text()[-4000:]}', flush=True)
            finally:
                world.end()
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
