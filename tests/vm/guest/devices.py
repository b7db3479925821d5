"""A cuff and a meter, from the protocol sheets of their services alone.

Each keeps what it has until the box has confirmed it.
"""

import asyncio
import contextlib
import datetime
import struct
from collections import deque

from bumble.att import ATT_Error, Attribute
from bumble.core import UUID, AdvertisingData
from bumble.gatt import Characteristic, CharacteristicValue, Descriptor, Service
from bumble.pairing import PairingConfig, PairingDelegate

import radio

INDICATE = Characteristic.Properties.INDICATE
NOTIFY = Characteristic.Properties.NOTIFY
READ = Characteristic.Properties.READ
WRITE = Characteristic.Properties.WRITE
ONLY_PAIRED = (
    Attribute.READABLE
    | Attribute.WRITEABLE
    | Attribute.READ_REQUIRES_ENCRYPTION
    | Attribute.WRITE_REQUIRES_ENCRYPTION
)
CCCD = UUID.from_16_bits(0x2902)
ADVERTISED_EVERY_MS = 100
FIRST_TIME = datetime.datetime(2026, 11, 1, 8, 0, 0)


def date_time(time):
    """Date Time: year, month, day, hour, minute, second."""
    return struct.pack("<H5B", time.year, time.month, time.day, time.hour, time.minute, time.second)


class Label(PairingDelegate):
    """Six digits on the device's display or label."""

    def __init__(self, digits):
        super().__init__(PairingDelegate.DISPLAY_OUTPUT_ONLY)
        self.digits = digits

    async def generate_passkey(self):
        return self.digits


class Peripheral:
    """What cuff and meter share: they are paired once, and come by when they have something."""

    DRIVER = ""
    SERVICE = 0

    def __init__(self, name, address, air, log, passkey=None):
        self.name, self.address, self.passkey = name, address, passkey
        self.log = lambda what, **more: log(device=name, what=what, **more)
        self.is_paired = False
        self.subscribed = {}
        self.device = radio.device(name, address, air)
        self.device.add_service(Service(UUID.from_16_bits(self.SERVICE), self.characteristics()))
        # A kernel takes the key of a random address only if it is called random.
        self.device.pairing_config_factory = lambda _: PairingConfig(
            mitm=passkey is not None,
            delegate=PairingDelegate() if passkey is None else Label(passkey),
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )

    async def be_paired(self):
        """Is switched on, and comes by with nothing to say; once more when it is paired."""
        await self.device.power_on()
        while not self.is_paired:
            await self.come_by()

    async def visit(self, times):
        """Comes by so often with something new, each time until all of it is confirmed."""
        for _ in range(times):
            self.measure()
            while self.has_something():
                await self.come_by()

    async def come_by(self):
        """Advertises, is connected, says what it has; back when the connection is gone."""
        arrived = asyncio.get_running_loop().create_future()
        self.device.once("connection", arrived.set_result)
        service = struct.pack("<H", self.SERVICE)
        await self.device.start_advertising(
            advertising_data=bytes(AdvertisingData([
                (AdvertisingData.FLAGS, b"\x06"),
                (AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS, service),
                (AdvertisingData.COMPLETE_LOCAL_NAME, self.name.encode()),
            ])),
            advertising_interval_min=ADVERTISED_EVERY_MS,
            advertising_interval_max=ADVERTISED_EVERY_MS,
        )
        connection = await arrived
        self.log("connected")
        gone = asyncio.Event()
        connection.on("disconnection", lambda _: gone.set())
        self.begin()
        speaking = asyncio.create_task(self.speak(connection))
        await gone.wait()
        speaking.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await speaking
        self.log("gone")

    def begin(self):
        """A connection begins: who subscribed in the last one is forgotten."""
        for subscribed in self.subscribed.values():
            subscribed.clear()

    def characteristic(self, uuid, properties, value=b""):
        """One that only a paired box may use."""
        descriptors = []
        if properties & (INDICATE | NOTIFY):
            subscribed = self.subscribed[uuid] = asyncio.Event()

            def write(_, value):
                subscribed.set() if any(value) else subscribed.clear()

            value_of_cccd = CharacteristicValue(read=lambda _: b"\x00\x00", write=write)
            descriptors = [Descriptor(CCCD, ONLY_PAIRED, value_of_cccd)]
        uuid = UUID.from_16_bits(uuid)
        return Characteristic(uuid, properties, ONLY_PAIRED, value, descriptors)

    async def indicate(self, connection, characteristic, value):
        """Back when the box has confirmed it."""
        server = self.device.gatt_server
        await server.indicate_subscriber(connection, characteristic, value, force=True)


class Cuff(Peripheral):
    """Has five readings each time; deletes what was confirmed; goes when it has said all.

    One that remembers its subscriber speaks as soon as the link is encrypted. It stays then: "drops
    an idle link after about 5 s". The other goes at once, if it had something to say.
    """

    DRIVER = "blood-pressure"
    SERVICE = 0x1810
    READINGS = 5
    IDLE_S = 5

    def __init__(self, *identity, remembers, **more):
        self.remembers = remembers
        self.queue = deque()
        self.number = 0
        super().__init__(*identity, **more)

    def characteristics(self):
        self.measurement = self.characteristic(0x2A35, INDICATE)
        feature = self.characteristic(0x2A49, READ, struct.pack("<H", 0x17))
        return [self.measurement, feature]

    def measure(self):
        for _ in range(self.READINGS):
            self.number += 1
            time = FIRST_TIME + datetime.timedelta(minutes=self.number)
            systolic, diastolic = 110 + self.number % 40, 60 + self.number % 25
            mean, pulse = (systolic + 2 * diastolic) // 3, 55 + self.number % 30
            # mmHg, with time, pulse, user and status.
            value = struct.pack("<B3H", 0x1E, systolic, diastolic, mean)
            value += date_time(time) + struct.pack("<HBH", pulse, 1, 0)
            said = f"{time.isoformat()} {systolic} {diastolic} {mean} {pulse}"
            self.queue.append((value, said))

    def has_something(self):
        return bool(self.queue)

    def begin(self):
        if not self.remembers:
            super().begin()

    async def speak(self, connection):
        encrypted = asyncio.Event()
        connection.on("connection_encryption_change", encrypted.set)
        if not connection.encryption:
            await encrypted.wait()
        stays = self.remembers or not self.queue
        while self.queue:
            await self.subscribed[0x2A35].wait()
            value, said = self.queue[0]
            await self.indicate(connection, self.measurement, value)
            self.queue.popleft()
            self.log("confirmed", said=said)
        if stays:
            await asyncio.sleep(self.IDLE_S)
        await connection.disconnect()


class Meter(Peripheral):
    """Keeps its records; has 50 at first, three more each time; the box sends it away."""

    DRIVER = "glucose"
    SERVICE = 0x1808
    RECORDS, MORE = 50, 3

    def __init__(self, *identity, **more):
        self.records = []
        self.confirmed = set()
        self.asked = asyncio.Queue()
        super().__init__(*identity, **more)

    def characteristics(self):
        self.measurement = self.characteristic(0x2A18, NOTIFY)
        write = CharacteristicValue(write=lambda _, value: self.ask(bytes(value)))
        self.control_point = self.characteristic(0x2A52, WRITE | INDICATE, write)
        feature = self.characteristic(0x2A51, READ, b"\x00\x00")
        return [self.measurement, feature, self.control_point]

    def ask(self, command):
        if not all(subscribed.is_set() for subscribed in self.subscribed.values()):
            raise ATT_Error(0x81)
        self.asked.put_nowait(command)

    def measure(self):
        for _ in range(self.MORE if self.records else self.RECORDS):
            sequence = len(self.records) + 1
            time = FIRST_TIME + datetime.timedelta(hours=sequence)
            mg_per_dl = 70 + sequence % 200
            # kg/L, so mg/dL with an exponent of -5; capillary whole blood, finger.
            value = struct.pack("<BH", 0x02, sequence) + date_time(time)
            value += struct.pack("<HB", 0xB000 | mg_per_dl, 0x11)
            self.records.append((sequence, value, f"{time.isoformat()} {sequence} {mg_per_dl}"))

    def has_something(self):
        return len(self.confirmed) < len(self.records)

    async def speak(self, connection):
        while True:
            command = await self.asked.get()
            found = self.matching(command[1:])
            match command[0]:
                case 4:
                    await self.answer(connection, struct.pack("<BBH", 5, 0, len(found)))
                case 1:
                    for _, value, _ in found:
                        await self.device.gatt_server.notify_subscriber(
                            connection, self.measurement, value, force=True
                        )
                    await self.answer(connection, bytes([6, 0, 1, 1 if found else 6]))
                    self.confirm(found)
                case 3:
                    await self.answer(connection, bytes([6, 0, 3, 1]))

    def matching(self, operand):
        """All, from a number on, or the newest."""
        match operand[0]:
            case 1:
                return list(self.records)
            case 3:
                first = int.from_bytes(operand[2:4], "little")
                return [record for record in self.records if record[0] >= first]
            case 6:
                return self.records[-1:]
        return []

    async def answer(self, connection, response):
        await self.indicate(connection, self.control_point, response)

    def confirm(self, records):
        """The box has confirmed the end of a report, and with it each record before."""
        for sequence, _, said in records:
            if sequence not in self.confirmed:
                self.confirmed.add(sequence)
                self.log("confirmed", said=said)
