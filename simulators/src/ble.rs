//! `clinic-sim ble`: virtual Bluetooth LE devices behind a simulated BlueZ, on a bus that is there.

use crate::{
    command,
    signals::Signals,
    site::stage_clock,
    stage::{
        bluez::{Bluez, Manners, OnAir},
        pty::StageTime,
    },
};
use anyhow::Context as _;
use clap::Args;
use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};
use virtual_devices::{
    EcgSource, Patient, Scenario, Setup,
    gatt::{self, GattDevice, Pairing, faults::AirPlan},
};

/// Of four seeds of a device, two are polite and two are rude.
const SEEDS: u64 = 4;
const RUDE: u64 = 2;

/// The command's options.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Address of the bus: `dbus-daemon --session --nofork --print-address` prints one
    #[arg(long, value_name = "ADDRESS")]
    bus_address: String,
    /// Names, as `clinic-sim list` shows them; a device's id in the truth may stand behind a colon:
    /// `ble-cuff:bp-01`
    #[arg(required = true, value_name = "DEVICE")]
    devices: Vec<String>,
    /// A scenario file (TOML), or the name of one that is shipped
    #[arg(long, default_value = "clinic-day", value_parser = command::scenario)]
    scenario: Scenario,
    /// File to which what the devices said is appended
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// From which all that is the devices' own follows: how rude they are, their clocks
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// From which their patient follows
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    patient: u64,
    /// A BlueZ and devices that do what everybody expects, instead of the worst that is allowed
    #[arg(long)]
    polite: bool,
    /// Links are lost at every step, bluetoothd restarts and the adapter goes, by this seed;
    /// `clinic-sim list` shows the catalogue
    #[arg(long, value_name = "SEED")]
    faults: Option<u64>,
    /// One of so many links goes wrong
    #[arg(long, value_name = "LINKS", default_value_t = 2, requires = "faults",
        value_parser = clap::value_parser!(u64).range(1..))]
    fault_once_in: u64,
}

/// Plays until somebody ends it.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let (clock, time) = (stage_clock(), StageTime::start(1.0));
    let patient = Patient::new(options.patient, options.scenario, EcgSource::Recording);
    let mut devices = Vec::new();
    for (number, wanted) in (1_u64..).zip(&options.devices) {
        let (name, id) = wanted.split_once(':').unwrap_or((wanted, ""));
        let temper = if options.polite { 0 } else { RUDE };
        let setup = Setup {
            device: if id.is_empty() { format!("{name}-{number:02}") } else { id.to_owned() },
            seed: options.seed.wrapping_add(number).wrapping_mul(SEEDS).wrapping_add(temper),
            clock,
            patient: patient.clone(),
        };
        let device = gatt::create(name, setup).with_context(|| {
            format!("no virtual Bluetooth LE device is called {name:?}; see `clinic-sim list`")
        })?;
        devices.push(OnAir { address: address(number), device, is_bonded: false });
    }
    let mut out = io::stdout();
    for one in &devices {
        writeln!(out, "{}", described(&one.address, one.device.as_ref()))?;
    }
    let manners = if options.polite { Manners::Polite } else { Manners::Nasty };
    let truth = options.truth.unwrap_or_else(|| PathBuf::from("/dev/null"));
    let mut signals = Signals::watch()?;
    let mut stage = Bluez::start(&options.bus_address, devices, manners, time, &truth).await?;
    if let Some(seed) = options.faults {
        stage.let_go_wrong(AirPlan { seed, once_in: options.fault_once_in }).await?;
    }
    writeln!(out, "org.bluez is on the bus; Ctrl-C ends it")?;
    tokio::select! {
        failed = stage.failed() => failed?,
        () = signals.next() => stage.stop().await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A random static address: its two highest bits are set.
fn address(number: u64) -> String {
    let [.., high, low] = number.to_be_bytes();
    format!("C0:26:DA:00:{high:02X}:{low:02X}")
}

fn described(address: &str, device: &dyn GattDevice) -> String {
    let profile = device.profile();
    let pairing = match profile.pairing {
        Pairing::NotNeeded => "needs no pairing".to_owned(),
        Pairing::JustWorks => "is paired without a code".to_owned(),
        Pairing::Passkey(passkey) => format!("shows the code {passkey:06}"),
    };
    format!("{address} {:<20} {pairing}", profile.name)
}
