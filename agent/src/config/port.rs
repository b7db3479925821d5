//! Where a device is: a serial port of the box, a serial server, or a place where it comes to.
//!
//! Not here: whether it is there. Nothing is opened.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
};

const CONNECT: &str = "tcp://";
const LISTEN: &str = "tcp-listen://";

/// `port` of a device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Port {
    /// A serial port: `/dev/…`
    Serial(PathBuf),
    /// A serial server or device that listens: `tcp://host:port`
    Connect { host: String, port: u16 },
    /// The device connects to the box: `tcp-listen://address:port`
    Listen(SocketAddr),
}

impl Port {
    /// The port as written; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(address) = text.strip_prefix(CONNECT) {
            let (host, port) = host_and_port(address).ok_or_else(|| {
                format!("\"{address}\" is no address; write {CONNECT}192.168.1.20:4001")
            })?;
            return Ok(Self::Connect { host, port });
        }
        if let Some(address) = text.strip_prefix(LISTEN) {
            let at = address.parse::<SocketAddr>().ok().filter(|at| at.port() > 0);
            return at.map(Self::Listen).ok_or_else(|| {
                format!(
                    "\"{address}\" is no address of this box in numbers; write {LISTEN}192.168.1.10:4100"
                )
            });
        }
        let scheme = ["tcp:", "tcp-listen:", "udp:"].iter().any(|start| text.starts_with(start));
        if text.is_empty() || scheme || text.contains("://") {
            return Err(format!(
                "\"{text}\" is no port; write /dev/…, {CONNECT}host:port or {LISTEN}address:port"
            ));
        }
        Ok(Self::Serial(text.into()))
    }

    /// Whether only one of the two can be used.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Listen(one), Self::Listen(two)) => {
                let every = one.ip().is_unspecified() || two.ip().is_unspecified();
                one.port() == two.port() && (every || one.ip() == two.ip())
            }
            _ => self == other,
        }
    }

    /// Whether speed and parity are somebody else's: a serial server has its own.
    pub(crate) const fn is_network(&self) -> bool {
        !matches!(self, Self::Serial(_))
    }

    /// Where speed and parity are set, if not in `agent.toml`.
    pub(crate) const fn place_of_settings(&self) -> &'static str {
        match self {
            Self::Serial(_) => "",
            Self::Connect { .. } => " at the serial server",
            Self::Listen(_) => " at the device or its adapter",
        }
    }

    /// What a person looks at when the link was lost.
    pub(crate) const fn advice(&self) -> &'static str {
        match self {
            Self::Serial(_) => "check the cable and the adapter",
            Self::Connect { .. } => "check network and power of the serial server",
            Self::Listen(_) => "check network and power of the device",
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(path) => path.display().fmt(out),
            Self::Connect { host, port } if host.contains(':') => {
                write!(out, "{CONNECT}[{host}]:{port}")
            }
            Self::Connect { host, port } => write!(out, "{CONNECT}{host}:{port}"),
            Self::Listen(at) => write!(out, "{LISTEN}{at}"),
        }
    }
}

/// A name or an address, IPv6 in brackets.
fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|&port| port > 0)?;
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|host| (host.to_string(), port));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (!host.is_empty() && host.bytes().all(allowed)).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_reads_back_as_it_was_written() {
        let ports = [
            "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A1000001-if00-port0",
            "tcp://192.168.1.20:4001",
            "tcp://moxa-2.clinic.example:4001",
            "tcp://[fe80::1]:4001",
            "tcp-listen://0.0.0.0:4100",
            "tcp-listen://[::1]:4100",
        ];
        for text in ports {
            assert_eq!(Port::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_port_is_told_with_what_to_write() {
        let wrong = [
            ("", "write /dev/…"),
            ("tcp:192.168.1.20:4001", "write /dev/…"),
            ("udp://192.168.1.20:4001", "write /dev/…"),
            ("tcp://192.168.1.20", "write tcp://192.168.1.20:4001"),
            ("tcp://:4001", "write tcp://192.168.1.20:4001"),
            ("tcp://host:0", "write tcp://192.168.1.20:4001"),
            ("tcp://host:4001/", "write tcp://192.168.1.20:4001"),
            ("tcp://fe80::1:4001", "write tcp://192.168.1.20:4001"),
            ("tcp-listen://:4100", "write tcp-listen://192.168.1.10:4100"),
            ("tcp-listen://box:4100", "write tcp-listen://192.168.1.10:4100"),
            ("tcp-listen://0.0.0.0:0", "write tcp-listen://192.168.1.10:4100"),
        ];
        for (text, remedy) in wrong {
            let error = Port::parse(text).unwrap_err();
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }

    #[test]
    fn a_listener_on_every_address_takes_the_port_from_the_others() {
        let port = |text| Port::parse(text).unwrap();
        let every = port("tcp-listen://0.0.0.0:4100");
        assert!(every.excludes(&port("tcp-listen://127.0.0.1:4100")));
        assert!(!every.excludes(&port("tcp-listen://127.0.0.1:4101")));
        let one = port("tcp-listen://10.0.0.1:4100");
        assert!(!one.excludes(&port("tcp-listen://10.0.0.2:4100")));
        assert!(port("/dev/ttyUSB0").excludes(&port("/dev/ttyUSB0")));
    }
}
