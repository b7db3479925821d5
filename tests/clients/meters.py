#!/usr/bin/env python3
"""Reads a virtual glucose meter with glucometerutils (its own drivers `otultraeasy`, `td42xx`).

    tests/clients/meters.py PATH/TO/clinic-sim ultraeasy|td42xx [SEED]

glucometerutils is not on PyPI; it has to be installed from its authors' repository. Two things of
it are set right from outside, both found by comparing it with other programs and recordings:
its UltraEasy driver expects the count's answer without the leading 05 of every message, and its
TaiDoc driver opens a HID bridge, where here is a serial line.
"""

import sys
import time

import construct
import serial
from glucometerutils.drivers import otultraeasy, td42xx
from stand import Stand, compare, local

# 0 and 65535 are LO and HI of a scenario.
VALUES = [20, 21, 39, 54, 69, 70, 98, 99, 126, 180, 250, 399, 400, 599, 600, 0, 65535, 45, 333, 101]
LIMITS = {"<": 65534, ">": 65535}


def prepare():
    otultraeasy._READING_COUNT_RESPONSE = construct.Struct(
        const=construct.Const(b"\x05\x0f"), count=construct.Int16ul
    )
    opened = serial.serial_for_url
    serial.serial_for_url = lambda url, *rest, **named: opened(
        url.removeprefix("cp2110://"), *rest, **named
    )


def sent(fact):
    """What the meter put on the wire for a fact; a refused code only says that it was none."""
    value = LIMITS.get(fact.get("comparator")) or fact.get("value") or fact.get("no_data")
    return (local(fact["device_time"]).isoformat(), str(value))


def read(reading, name):
    value = int(reading.value)
    # How a TaiDoc meter codes LO and HI is not known: what the scenario says is sent as it is.
    refused = name == "td42xx" and value in (0, 65535)
    return (reading.timestamp.isoformat(), "rejected" if refused else str(value))


def main():
    program, name = sys.argv[1:3]
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    prepare()
    driver = {"ultraeasy": otultraeasy, "td42xx": td42xx}[name]
    scenario = 'about = { zh = "血糖", en = "glucose tests" }\nlength = "23:00:00"\nexact = true\n'
    for at, value in enumerate(VALUES):
        result = {0: 'reads = "LO"', 65535: 'reads = "HI"'}.get(value, f"mg_per_dl = {value}")
        scenario += f'[[event]]\nat = "00:00:{at + 1:02}"\nmeasure = "glucose"\n{result}\n'
    with Stand(program, name, seed, scenario) as stand:
        time.sleep(len(VALUES) + 1)
        meter = driver.Device(stand.port)
        meter.connect()
        print(meter.get_meter_info().model, "| clock", meter.get_datetime())
        first = [read(reading, name) for reading in meter.get_readings()]
        # Counted again: before, the virtual TaiDoc meter does not call a record told.
        second = [read(reading, name) for reading in meter.get_readings()]
        time.sleep(1)
    good = compare("records, second time", second, first)
    truth = sorted(sent(fact) for fact in stand.truth if "metric" in fact)
    good &= compare("records", sorted(first), truth)
    forbidden = [fact["forbidden"] for fact in stand.truth if "forbidden" in fact]
    good &= compare("commands that a gateway may not send", forbidden, [])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
