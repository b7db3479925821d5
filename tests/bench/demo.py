#!/usr/bin/env python3
"""Runs `clinic-sim demo` and prints one JSON object per figure: comparison, latency, and what the
agents, the county, the private bus and the virtual devices cost while all devices report.

    tests/bench/demo.py PATH/TO/clinic-sim [SECONDS]

CPU and memory are the kernel's own account (/proc) of these processes, over the last SECONDS - 20 s
of the run: the first seconds are the county's keys and the first connections.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

SETTLE_S = 20


def role(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            parts = file.read().split(b"\0")
    except OSError:
        return None
    if parts[0] == b"dbus-daemon":
        return "bus"
    name = parts[1].decode() if len(parts) > 1 else ""
    return name.removeprefix("__clinic-") if name.startswith("__clinic-") else None


def site_of(pid):
    """The site of an agent: its configuration stands in a folder of that name."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        parts = file.read().decode().split("\0")
    configs = [part for part in parts if part.endswith("agent.toml")]
    return os.path.basename(os.path.dirname(configs[0])) if configs else ""


def children(parent):
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        name = role(pid) if int(fields[1]) == parent else None
        if name in ("agent", "gateway", "bus"):
            found[int(pid)] = name
    return found


def cost(pid):
    """CPU seconds, resident KiB, peak resident KiB, bytes written to disk."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.split(":", 1) for line in file if ":" in line)
    kib = [int(status[key].split()[0]) for key in ("VmRSS", "VmHWM")]
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        io = dict(line.split(":") for line in file)
    return cpu, kib[0], kib[1], int(io["write_bytes"])


def figure(name, **values):
    print(json.dumps({"figure": name, **values}), flush=True)


def main():
    program, seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 120
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "demo", "--json", "--duration", f"{seconds}s"]
        command += ["--data", os.path.join(folder, "demo"), "--port", "0"]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(SETTLE_S)
        roles = children(demo.pid) | {demo.pid: "devices"}
        sites = {pid: site_of(pid) for pid in roles}
        before = {pid: cost(pid) for pid in roles}
        began = time.monotonic()
        time.sleep(max(1, seconds - SETTLE_S - 2))
        after = {pid: cost(pid) for pid in roles}
        elapsed = time.monotonic() - began
        report = json.loads(demo.communicate()[0].splitlines()[-1])
    figure("demo", seconds=seconds, exit_code=demo.returncode, **report)
    for pid, name in roles.items():
        (cpu0, _, _, wrote0), (cpu, rss, peak, wrote) = before[pid], after[pid]
        figure(
            name,
            site=sites[pid],
            over_s=round(elapsed, 1),
            cpu_percent_of_a_core=round(100 * (cpu - cpu0) / elapsed, 2),
            rss_mib=round(rss / 1024, 1),
            peak_rss_mib=round(peak / 1024, 1),
            written_kib_per_s=round((wrote - wrote0) / 1024 / elapsed, 1),
        )
    return demo.returncode


if __name__ == "__main__":
    sys.exit(main())
