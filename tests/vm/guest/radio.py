"""A radio without air: one controller for the kernel, one for each virtual device."""

import asyncio

from bumble.controller import Controller
from bumble.core import PhysicalTransport
from bumble.device import Device, DeviceConfiguration
from bumble.hci import Address, LeFeatureMask
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport import open_transport
from bumble.transport.common import AsyncPipeSink

BOX = "F0:F1:F2:00:00:01"
# The kernel believes these, and then waits for events that bumble does not send.
NOT_SPOKEN = LeFeatureMask.LL_PRIVACY | LeFeatureMask.LE_EXTENDED_ADVERTISING


class Air(LocalLink):
    """Carries data under the address its connection was made with.

    bumble takes the sender's random address, and the kernel connects with its public one.
    """

    def send_acl_data(self, sender_controller, destination_address, transport, data):
        assert transport == PhysicalTransport.LE
        connection = sender_controller.le_connections.get(destination_address)
        receiver = self.find_le_controller(destination_address)
        if connection and receiver:
            asyncio.get_running_loop().call_soon(
                receiver.on_link_acl_data, connection.self_address, transport, data
            )


def controller(name, air, **ends):
    made = Controller(name, link=air, **ends)
    made.le_features &= ~NOT_SPOKEN
    return made


def device(name, address, air):
    """The device's own side of its controller; to be switched on when it is complete."""
    own = controller(name, air)
    config = DeviceConfiguration(
        name=name, address=Address(address, Address.RANDOM_DEVICE_ADDRESS)
    )
    return Device(config=config, host=Host(own, AsyncPipeSink(own)))


async def attach(air):
    """Gives the kernel its controller: last, for the kernel allows 2 s for each answer."""
    vhci = await open_transport("vhci")
    controller("box", air, host_source=vhci.source, host_sink=vhci.sink, public_address=BOX)
    return vhci
