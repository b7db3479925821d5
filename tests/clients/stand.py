"""A virtual device on a pty, and what it says it said."""

import json
import os
import signal
import subprocess
import tempfile
import time
from datetime import datetime, timedelta, timezone

# Virtual devices keep Chinese local time.
DEVICE_ZONE = timezone(timedelta(hours=8))
PATIENCE_S = 10


class Stand:
    """Plays one virtual device while the `with` block runs; afterwards `truth` is complete."""

    def __init__(self, program, name, seed=1, scenario=None):
        self._folder = tempfile.TemporaryDirectory()
        self.port = os.path.join(self._folder.name, "port")
        self._truth = os.path.join(self._folder.name, "truth.jsonl")
        self._command = [program, "device", name, "--seed", str(seed), "--pty-link", self.port]
        self._command += ["--truth", self._truth]
        if scenario and "\n" in scenario:
            path = os.path.join(self._folder.name, "scenario.toml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(scenario)
            self._command += ["--scenario", path]
        elif scenario:
            self._command += ["--scenario", scenario]
        self.truth = []

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while not os.path.exists(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._command} did not start")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        with open(self._truth, encoding="utf-8") as file:
            self.truth = [json.loads(line) for line in file]
        self._folder.cleanup()


def local(moment):
    """RFC 3339 of the truth as the device's own wall clock, without a zone."""
    return datetime.fromisoformat(moment).astimezone(DEVICE_ZONE).replace(tzinfo=None)


def compare(what, read, truth):
    """Prints one line; says whether both lists are the same."""
    differ = [pair for pair in zip(read, truth) if pair[0] != pair[1]]
    same = len(read) == len(truth) and not differ
    print(f"{what}: read {len(read)}, truth {len(truth)}, {'equal' if same else 'NOT EQUAL'}")
    for pair in differ[:5]:
        print("  read %s, truth %s" % pair)
    return same
