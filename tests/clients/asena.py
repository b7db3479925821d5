#!/usr/bin/env python3
"""Reads the virtual Alaris/Asena pump with infupy (PyPI, `infupy.backends.alaris`).

    tests/clients/asena.py PATH/TO/clinic-sim [SECONDS [SEED]]

infupy keeps a pump under remote control by a thread of its own. That thread is not started here:
this client asks, as ours does, and the truth has a line for each command that is no question.
"""

import sys
import threading
import time

from infupy.backends.alaris import AlarisComm, AlarisSyringe
from stand import Stand, compare

# "24+": the truth has the limit, 24 h, and that it is more.
LONG = "24"
METRICS = ("pump_rate", "pump_vi", "pump_press", "pump_time_rem")


class Reader(AlarisSyringe):
    def launchKeepAlive(self):
        pass


def seconds(clock):
    if clock == "24+":
        return LONG
    hours, minutes, rest = map(int, clock.split(":"))
    return str(hours * 3600 + minutes * 60 + rest)


def main():
    program = sys.argv[1]
    duration = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    # Its reader thread meets the end of the port when the pump is switched off.
    threading.excepthook = lambda _: None
    status, odd, alarms = [], [], []
    with Stand(program, "asena", seed, "clinic-day") as stand:
        pump = Reader(AlarisComm(stand.port))
        print("serial number", pump.execRawCommand(b"INST_SERIALNO").value.decode())
        end = time.monotonic() + duration
        while time.monotonic() < end:
            rate, volume = pump.readRate().decode(), pump.readVolume().decode()
            # infupy joins the fields with spaces; without a drug name its place is empty.
            fields = pump.execRawCommand(b"INF").value.decode().split()
            _, _, _, all_rate, _, all_volume, _, pressure, _, remaining = fields[:10]
            now = (all_rate, all_volume, pressure, seconds(remaining))
            before = status[-1] if status else now
            # Asked a moment earlier than the status: the pump may have gone on meanwhile.
            lone = (rate.split()[0], volume.split()[0])
            if lone[0] not in (before[0], all_rate) or float(lone[1]) > float(all_volume):
                odd.append((lone, now))
            status.append(now)
            alarm = pump.execRawCommand(b"ALARM").value.decode().split()[0]
            if not alarms or alarms[-1] != alarm:
                alarms.append(alarm)
            time.sleep(0.5)
    said = {metric: [] for metric in METRICS}
    for fact in stand.truth:
        if fact.get("metric") in said:
            said[fact["metric"]].append(fact["value"])
    truth = list(zip(*(said[metric] for metric in METRICS)))
    good = compare("status", status, truth)
    good &= compare("rate and volume alone that do not fit the status", odd, [])
    told = [fact["alarm"] for fact in stand.truth if fact.get("phase") == "start"]
    good &= compare("alarms", [alarm for alarm in alarms if alarm != "AL_NOALM"], told)
    forbidden = [fact["forbidden"] for fact in stand.truth if "forbidden" in fact]
    good &= compare("commands that are no question", forbidden, [])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
