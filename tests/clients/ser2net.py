#!/usr/bin/env python3
"""A clinic behind ser2net: virtual devices on ptys, ser2net in front of each, one real agent that
reads them by its TCP client, a real county; ser2net is killed (-9) twice and started again.

    tests/clients/ser2net.py FOLDER [SECONDS]

FOLDER has clinic-sim, clinic-agent and clinic-gateway (target/release); ser2net is in the PATH or
in /usr/sbin. Everything listens at 127.0.0.1 only. Ends with what `clinic-sim verify` says: the
truth of the devices against what the county stored.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SITE = "heping-01"
# A driver and the speed of its device. Devices that are asked or keep a memory: what a monitor says
# while no serial server is there to hear it is lost, behind any of them.
DEVICES = (("bcc", 9600), ("asena", 38400), ("ultraeasy", 9600), ("td42xx", 19200))
OUT_OF_ORDER_S = (3, 12)
ANSWER_S = 30


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


class Clinic:
    def __init__(self, programs, folder):
        self.programs, self.folder, self.running = programs, folder, []

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def start(self, *command, log):
        with open(self.path(log), "ab") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file)
        self.running.append(process)
        return process

    def program(self, name):
        return os.path.join(self.programs, name)

    def county(self):
        http, broker = free_port(), free_port()
        config = write(
            self.path("gateway.toml"),
            f'data_dir = "{self.path("county")}"\n'
            f'[http]\naddress = "127.0.0.1:{http}"\ntls = "off"\n'
            f'[broker]\nembedded = true\naddress = "127.0.0.1:{broker}"\n'
            f'[pki]\ndir = "{self.path("pki")}"\n'
            f'[[clinic]]\nname = "Heping"\nsites = ["{SITE}"]\n',
        )

        def gateway(*words):
            command = [self.program("clinic-gateway"), *words, "--config", config]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout

        gateway("pki", "init")
        token = gateway("token", "create", "--role", "engineer").strip()
        gateway("pki", "issue", SITE, "--out", self.path("box"))
        self.start(self.program("clinic-gateway"), "run", "--config", config, log="gateway.log")
        return f"http://127.0.0.1:{http}", token, broker

    def devices(self):
        """Ptys, and the port of ser2net in front of each."""
        connections, ports = "%YAML 1.1\n---\n", {}
        for name, speed in DEVICES:
            pty = self.path(f"{name}.pty")
            words = ["device", name, "--id", name, "--pty-link", pty]
            words += ["--truth", self.path(f"{name}.truth")]
            self.start(self.program("clinic-sim"), *words, log="devices.log")
            ports[name] = free_port()
            connections += (
                f"connection: &{name}\n  accepter: tcp,127.0.0.1,{ports[name]}\n"
                f"  connector: serialdev,{pty},{speed}n81,local\n"
                "  options:\n    kickolduser: true\n"
            )
        write(self.path("ser2net.yaml"), connections)
        return ports

    def ser2net(self):
        found = shutil.which("ser2net") or "/usr/sbin/ser2net"
        return self.start(found, "-n", "-d", "-c", self.path("ser2net.yaml"), log="ser2net.log")

    def agent(self, broker, ports):
        config = (
            f'site = "{SITE}"\ndata_dir = "{self.path("box", "data")}"\n'
            f'[uplink]\nbroker = "127.0.0.1:{broker}"\nca = "ca.crt"\n'
            f'cert = "{SITE}.crt"\nkey = "{SITE}.key"\n'
        )
        for name, port in ports.items():
            config += f'[[device]]\nid = "{name}"\ndriver = "{name}"\n'
            config += f'port = "tcp://127.0.0.1:{port}"\n'
        path = write(self.path("box", "agent.toml"), config)
        self.start(self.program("clinic-agent"), "run", "--config", path, log="agent.log")

    def stop(self, *processes):
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(ANSWER_S)


def main():
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 120
    with tempfile.TemporaryDirectory() as folder:
        clinic = Clinic(sys.argv[1], folder)
        url, token, broker = clinic.county()
        ports = clinic.devices()
        devices = clinic.running[-len(DEVICES) :]
        time.sleep(2)
        server = clinic.ser2net()
        clinic.agent(broker, ports)
        for pause in OUT_OF_ORDER_S:
            time.sleep(seconds / (len(OUT_OF_ORDER_S) + 1))
            server.kill()
            server.wait()
            time.sleep(pause)
            server = clinic.ser2net()
        time.sleep(seconds / (len(OUT_OF_ORDER_S) + 1))
        with open(clinic.path("agent.log"), encoding="utf-8") as log:
            text = log.read()
        # Before the devices go: ser2net hangs up then, too.
        lost, back = text.count("Port is lost."), text.count("Port is back.")
        print("ports lost", lost, "and back", back)
        good = lost == back == len(DEVICES) * len(OUT_OF_ORDER_S)
        clinic.stop(*devices)
        time.sleep(10)
        for name in ports:
            verify = ["verify", "--truth", clinic.path(f"{name}.truth"), "--gateway", url]
            verify += ["--token", token, "--json"]
            asked = subprocess.run([clinic.program("clinic-sim"), *verify], stdout=subprocess.PIPE)
            good &= asked.returncode == 0
            print(name, asked.stdout.decode().strip())
        server.kill()
        clinic.stop(*reversed(clinic.running))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
