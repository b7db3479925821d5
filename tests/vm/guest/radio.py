"""A radio without air: one controller for the kernel, one for each virtual device."""

import asyncio

from bumble.controller import Controller
from bumble.core import PhysicalTransport
from bumble.device import Device, DeviceConfiguration
from bumble.hci import (
    Address,
    HCI_ErrorCode,
    HCI_LE_Connection_Complete_Event,
    HCI_StatusReturnParameters,
    LeFeatureMask,
    Role,
)
from bumble.host import Host
from bumble.link import LocalLink
from bumble.ll import TerminateInd
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


class Radio(Controller):
    """A controller that can be told to give a connection up.

    bumble says yes and goes on; the kernel waits for the end, and connects nothing meanwhile.
    """

    def __init__(self, name, air, **ends):
        super().__init__(name, link=air, **ends)
        self.le_features &= ~NOT_SPOKEN

    # Of the next connection the kernel never hears.
    swallows = False

    def create_le_connection(self, peer_address):
        if not self.swallows:
            super().create_le_connection(peer_address)
            return
        self.swallows = False
        send, self.send_hci_packet = self.send_hci_packet, lambda _: None
        super().create_le_connection(peer_address)
        self.send_hci_packet = send

    def on_hci_reset_command(self, command):
        """bumble keeps the connections; a controller that is reset has none."""
        for connection in list(self.le_connections.values()):
            connection.send_ll_control_pdu(
                TerminateInd(HCI_ErrorCode.REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_POWER_OFF_ERROR)
            )
        self.le_connections.clear()
        self.pending_le_connection = None
        return super().on_hci_reset_command(command)

    def on_hci_le_create_connection_cancel_command(self, _):
        given_up, self.pending_le_connection = self.pending_le_connection, None
        if given_up is None:
            return HCI_StatusReturnParameters(HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        end = HCI_LE_Connection_Complete_Event(
            status=HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
            connection_handle=0,
            role=Role.CENTRAL,
            peer_address_type=given_up.peer_address_type,
            peer_address=given_up.peer_address,
            connection_interval=0,
            peripheral_latency=0,
            supervision_timeout=0,
            central_clock_accuracy=0,
        )
        asyncio.get_running_loop().call_soon(self.send_hci_packet, end)
        return HCI_StatusReturnParameters(HCI_ErrorCode.SUCCESS)


def device(name, address, air):
    """The device's own side of its controller; to be switched on when it is complete."""
    own = Radio(name, air)
    config = DeviceConfiguration(
        name=name, address=Address(address, Address.RANDOM_DEVICE_ADDRESS)
    )
    return Device(config=config, host=Host(own, AsyncPipeSink(own)))


async def attach(air):
    """Gives the kernel its controller: last, for the kernel allows 2 s for each answer."""
    vhci = await open_transport("vhci")
    box = Radio("box", air, host_source=vhci.source, host_sink=vhci.sink, public_address=BOX)
    return vhci, box
