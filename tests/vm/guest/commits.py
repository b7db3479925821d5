"""Watches the outbox: when how many readings of each device were committed."""

import json
import sqlite3
import time

OUTBOX = "file:/site/data/outbox.sqlite?mode=ro"
LOOK_EVERY_S = 0.002
# Each spot reading leaves its identity there, in the same transaction.
BY_DEVICE = "SELECT device, count(*) FROM identity GROUP BY device"


def by_device():
    """Nothing, where there is no outbox yet."""
    try:
        with sqlite3.connect(OUTBOX, uri=True) as outbox:
            return dict(outbox.execute(BY_DEVICE))
    except sqlite3.OperationalError:
        return {}


def stored():
    return sum(by_device().values())


def watch(file):
    known = {}
    version = None
    outbox = None
    while True:
        time.sleep(LOOK_EVERY_S)
        try:
            outbox = outbox or sqlite3.connect(OUTBOX, uri=True)
            before, version = version, outbox.execute("PRAGMA data_version").fetchone()
            if before == version:
                continue
            at_ns = time.monotonic_ns()
            now = dict(outbox.execute(BY_DEVICE))
        except sqlite3.OperationalError:
            continue
        for device, count in now.items():
            if known.get(device) != count:
                print(json.dumps({"at_ns": at_ns, "device": device, "count": count}), file=file, flush=True)
        known = now


if __name__ == "__main__":
    watch(open("/out/commits.jsonl", "w"))
