"""runner.py - runs cases in processes of their own, some side by side, and prints a line for each."""
import argparse
import concurrent.futures
import fnmatch
import json
import pathlib
import subprocess
import sys
import threading
import time

import harness

PRINT_LOCK = threading.Lock()


def run_one(case, build):
    """One case in a process of its own; one that hangs or dies has failed. Returns the verdict."""
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, sys.argv[0], '--build', build, '--child', case.name],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        verdict, text = json.loads(child.communicate(timeout=harness.CASE_SECONDS_MAX)[0])
    except subprocess.TimeoutExpired:
        child.kill()
        verdict, text = 'fail', f'no verdict within {harness.CASE_SECONDS_MAX} s'
    except ValueError:
        verdict, text = 'fail', f'died without a verdict, status {child.returncode}'
    report(case.name, verdict, text, time.monotonic() - began)
    return verdict


def report(name, verdict, text, seconds):
    first, _, rest = text.partition('\n')
    with PRINT_LOCK:
        if verdict == 'ok':
            print(f'ok {name} ({seconds:.1f} s)' + (f': {first}' if first else ''), flush=True)
        elif verdict == 'skip':
            print(f'skip {name}: {first}', flush=True)
        else:
            print(f'not ok {name} ({seconds:.1f} s): {first}', flush=True)
        for line in rest.splitlines():
            print(f'    {line}', flush=True)


def arguments_of(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('patterns', nargs='*', help='names or patterns of cases, e.g. "publish_*.uring"')
    parser.add_argument('--list', action='store_true', help='list the cases')
    parser.add_argument('--jobs', type=int, default=3, help='cases side by side (default 3: they mostly wait)')
    parser.add_argument('--net', choices=['uring', 'dpdk'], help='only this transport')
    parser.add_argument('--build', default=str(harness.TOP / 'build'), help='where leatd and leat-dp are')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    return parser.parse_args()


def matches(case, arguments):
    if arguments.net and case.net != arguments.net:
        return False
    return not arguments.patterns or any(
        fnmatch.fnmatch(case.name, p) or fnmatch.fnmatch(case.name, f'{p}.*') for p in arguments.patterns)


def run_cases(description, prepare=lambda cases: None):
    """The command line of tests/integration/run and tests/fault/run. 'prepare' makes what the chosen cases share."""
    arguments = arguments_of(description)
    if arguments.child:
        case = next(case for case in harness.CASES if case.name == arguments.child)
        print(json.dumps(case.run(arguments.build)))
        return 0

    chosen = [case for case in harness.CASES if matches(case, arguments)]
    if arguments.list:
        print('\n'.join(case.name for case in chosen))
        return 0
    if not chosen:
        print('no such case', file=sys.stderr)
        return 1
    if not harness.program(arguments.build, 'leatd').exists():
        print(f'no leatd in {arguments.build}: run ./leat build', file=sys.stderr)
        return 1
    prepare(chosen)

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        verdicts = list(pool.map(lambda case: run_one(case, arguments.build), (c for c in chosen if not c.alone)))
    verdicts += [run_one(case, arguments.build) for case in chosen if case.alone]
    skipped = f', {verdicts.count("skip")} skipped' if 'skip' in verdicts else ''
    print(f'{verdicts.count("ok")} passed, {verdicts.count("fail")} failed{skipped}', flush=True)
    return 1 if 'fail' in verdicts else 0
