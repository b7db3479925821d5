"""The story of one boot: devices are paired, the agent starts, devices come by again and again.

The kernel's command line has `story=`, what else happens, and `visits=`, how often each cuff comes.
What devices and agent did is written to /out, which leaves with the outbox.
"""

import asyncio
import contextlib
import json
import logging
import os
import random
import subprocess
import time
from pathlib import Path

import commits
import radio
from devices import Cuff, Meter

PROGRAM = "/vm/clinic-agent"
CONFIG = Path("/site/agent.toml")
OUT = Path("/out")
# bluetoothd knows no value any more that the agent has not committed by then.
SETTLED_S = 5
# A boot is over in 100 s of the guest's clock. One that hangs ends then, with this status, so that
# its logs leave the machine.
LIMIT_S = 300
HUNG = 75
# The agent ends at any moment of a cuff's five readings, or soon after.
END_WITHIN_S = 0.3


class Log:
    """What happened, a JSON object a line."""

    def __init__(self, file):
        self.file = file
        self.phase = "pairing"
        self.confirmed = asyncio.Event()
        self.count = 0

    def __call__(self, **line):
        if line["what"] == "confirmed":
            self.count += 1
            self.confirmed.set()
        line = {"at_ns": time.monotonic_ns(), "phase": self.phase, **line}
        print(json.dumps(line), file=self.file, flush=True)
        print(line, flush=True)


class Bluetoothctl:
    """Another program that connects devices."""

    async def __aenter__(self):
        self.program = await asyncio.create_subprocess_exec(
            "stdbuf", "-oL", "bluetoothctl", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.heard = b""
        await self.hear("Agent registered")
        return self

    async def __aexit__(self, *_):
        await self.say("quit")
        await self.program.wait()

    async def say(self, line):
        self.program.stdin.write(line.encode() + b"\n")
        await self.program.stdin.drain()

    async def ask(self, line, answer):
        await self.say(line)
        await self.hear(answer)

    async def hear(self, answer):
        while answer.encode() not in self.heard:
            more = await self.program.stdout.read(4096)
            assert more, "bluetoothctl ended"
            self.heard += more
        self.heard = self.heard.partition(answer.encode())[2]

    async def connect(self, device):
        await self.ask("scan on", f"Device {device.address}")
        await self.ask(f"connect {device.address}", "Connection successful")
        await self.ask("scan off", "Discovery stopped")


class Bluetoothd:
    """The real one."""

    async def start(self):
        with (OUT / "bluetoothd.log").open("ab") as file:
            self.program = await asyncio.create_subprocess_exec(
                "/usr/libexec/bluetooth/bluetoothd", stdout=file, stderr=file
            )

    async def sees_controller(self):
        known = b""
        while not known:
            await asyncio.sleep(0.1)
            look = await asyncio.create_subprocess_exec(
                "bluetoothctl", "list", stdout=subprocess.PIPE
            )
            known, _ = await look.communicate()

    async def restart(self):
        self.program.terminate()
        await self.program.wait()
        await self.start()


class Agent:
    """Ours."""

    def __init__(self, log):
        self.log = log
        self.program = None
        self.minding = None

    async def pair(self, device):
        code = [] if device.passkey is None else ["--passkey", f"{device.passkey:06}"]
        pairing = await asyncio.create_subprocess_exec(
            PROGRAM, "devices", "pair", device.address, *code, "--config", CONFIG
        )
        assert await pairing.wait() == 0, f"{device.name} is not paired"
        self.log(what="paired", device=device.name)

    async def start(self):
        with (OUT / "agent.log").open("ab") as file:
            self.program = await asyncio.create_subprocess_exec(
                PROGRAM, "run", "--config", CONFIG, stdout=file, stderr=file,
                env={**os.environ, "RUST_LOG": "error,agent::bluetooth=debug"},
            )
        self.log(what="agent starts")
        self.minding = asyncio.create_task(self.mind())

    async def mind(self):
        """One that ends by itself is the end of the story."""
        status = await self.program.wait()
        print(f"the agent ended with {status}", flush=True)
        os._exit(1)

    async def stop(self):
        await self.end(self.program.terminate)

    async def kill(self):
        await self.end(self.program.kill)

    async def end(self, how):
        self.minding.cancel()
        self.log(what="agent ends")
        how()
        await self.program.wait()


def configure(devices):
    with CONFIG.open("a") as file:
        for device in devices:
            print(
                f'\n[[bluetooth]]\nid = "{device.name}"\ndriver = "{device.DRIVER}"\n'
                f'address = "{device.address}"', file=file,
            )


async def visits(devices, times):
    """Every device comes by; the meter half as often, for it is the box that sends it away."""
    await asyncio.gather(
        *(device.visit(times if isinstance(device, Cuff) else (times + 1) // 2) for device in devices)
    )


async def settled(log):
    """What bluetoothd has told is in the outbox, or will never be."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLED_S):
            while commits.stored() < log.count:
                await asyncio.sleep(0.05)


async def interrupt(agent, log, end, coming):
    """Ends the agent again and again, each time when a device has just had something confirmed."""
    while not coming.done():
        log.confirmed.clear()
        confirmed = asyncio.create_task(log.confirmed.wait())
        await asyncio.wait([coming, confirmed], return_when=asyncio.FIRST_COMPLETED)
        confirmed.cancel()
        await asyncio.sleep(random.uniform(0, END_WITHIN_S))
        await end()
        await agent.start()


async def late(devices, agent, bluetoothd, log):
    """A cuff comes by when nobody has asked bluetoothd yet for what it says."""
    cuff, remembering, _ = devices
    await settled(log)
    await agent.stop()
    log.phase = "no agent"
    async with Bluetoothctl() as person:
        coming = asyncio.create_task(remembering.visit(1))
        await person.connect(remembering)
        await coming
        log.phase = "agent starts on a link that stands"
        coming = asyncio.create_task(cuff.visit(1))
        await person.connect(cuff)
        await agent.start()
        await coming
    log.phase = "first visit to an agent that restarted"
    await remembering.visit(1)
    log.phase = "later visits"
    await visits(devices, 2)
    await settled(log)
    log.phase = "first visit to a bluetoothd that restarted"
    await bluetoothd.restart()
    await remembering.visit(1)
    log.phase = "later visits"
    await visits(devices, 2)


async def main():
    try:
        async with asyncio.timeout(LIMIT_S) as limit:
            await tell()
    except TimeoutError:
        if not limit.expired():
            raise
        os._exit(HUNG)


async def tell():
    words = (word.partition("=") for word in Path("/proc/cmdline").read_text().split())
    told = {name: value for name, _, value in words}
    log = Log((OUT / "devices.jsonl").open("w"))
    air = radio.Air()
    passkeys = [random.randrange(10**6) for _ in range(2)]
    devices = [
        Cuff("cuff", "C0:26:DA:00:00:01", air, log, remembers=False),
        Cuff("cuff-2", "C0:26:DA:00:00:02", air, log, remembers=True, passkey=passkeys[0]),
        Meter("meter", "C0:26:DA:00:00:03", air, log, passkey=passkeys[1]),
    ]
    configure(devices)
    unpaired = [asyncio.create_task(device.be_paired()) for device in devices]
    bluetoothd = Bluetoothd()
    await bluetoothd.start()
    vhci, box = await radio.attach(air)
    agent = Agent(log)
    await bluetoothd.sees_controller()
    for device in devices:
        await agent.pair(device)
        device.is_paired = True
    log.phase = "agent listens"
    box.swallows = told["story"] == "jammed"
    await agent.start()
    await asyncio.gather(*unpaired)
    watch = await asyncio.create_subprocess_exec("python3", "/vm/commits.py")
    coming = asyncio.create_task(visits(devices, int(told["visits"])))
    match told["story"]:
        case "kills" | "stops" as story:
            log.phase = "the agent ends again and again"
            await interrupt(agent, log, agent.kill if story == "kills" else agent.stop, coming)
        case "late":
            await coming
            await late(devices, agent, bluetoothd, log)
    await coming
    await settled(log)
    await agent.stop()
    watch.terminate()
    await watch.wait()
    await vhci.close()


logging.basicConfig(level=logging.ERROR)
asyncio.run(main())
