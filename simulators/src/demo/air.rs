//! The Bluetooth LE devices of a clinic in the demonstration: a cuff, a meter and an ECG strap behind
//! a simulated BlueZ, on a bus of their own. No Bluetooth hardware, no privilege.

use crate::{
    process::Program,
    site::{BluetoothPlan, Site},
    stage::{
        bluez::{Bluez, Manners, PrivateBus},
        pty::StageTime,
    },
};
use virtual_devices::{Patient, StageClock};

/// Behind the site's name in an id, the virtual device, and the driver that reads it.
const CAST: [(&str, &str, &str); 3] = [
    ("ble-bp", "ble-cuff", "blood-pressure"),
    ("ble-glu", "ble-meter", "glucose"),
    ("ble-ecg", "ble-strap", "polar-ecg"),
];
/// Their seeds follow those of the serial devices.
const FIRST_SEED: u64 = 4;

/// The bus, and what is on the air.
pub(super) struct Air {
    bus: PrivateBus,
    devices: Vec<String>,
    stage: Option<Bluez>,
}

impl Air {
    /// Starts a bus on which nobody is yet.
    ///
    /// # Errors
    /// When there is no `dbus-daemon`, or it does not start.
    pub(super) async fn open(program: &Program) -> anyhow::Result<Self> {
        let bus = PrivateBus::start_by(program).await?;
        Ok(Self { bus, devices: Vec::new(), stage: None })
    }

    /// Where the site's agent finds its devices.
    pub(super) fn bus(&self) -> &str {
        self.bus.address()
    }

    /// Ids of its devices.
    pub(super) fn devices(&self) -> &[String] {
        &self.devices
    }

    /// Puts the devices of that site on the air and into its configuration; they were paired before.
    ///
    /// # Errors
    /// When the bus or a file fails.
    pub(super) async fn play(
        &mut self,
        site: &Site,
        seed: u64,
        patient: &Patient,
        clock: StageClock,
        time: StageTime,
    ) -> anyhow::Result<()> {
        let plans = CAST.into_iter().zip(FIRST_SEED..).map(|((id, name, driver), offset)| {
            // A random static address: its two highest bits are set.
            let address = format!("C0:26:DA:00:00:{offset:02X}");
            let id = format!("{}-{id}-01", site.name());
            let seed = seed.wrapping_mul(16).wrapping_add(offset);
            BluetoothPlan { id, name, driver, address, seed, patient: patient.clone() }
        });
        let plans: Vec<_> = plans.collect();
        site.add_bluetooth(&plans)?;
        let mut on_air = Vec::new();
        for plan in plans {
            self.devices.push(plan.id.clone());
            on_air.push(plan.on_air(clock)?);
        }
        let stage = Bluez::start(self.bus(), on_air, Manners::Nasty, time, &site.truth()).await?;
        self.stage = Some(stage);
        Ok(())
    }

    /// Switches the devices off and waits until their truth is written; the bus stays.
    ///
    /// # Errors
    /// When the bus failed meanwhile or the truth could not be written.
    pub(super) async fn switch_off(&mut self) -> anyhow::Result<()> {
        match self.stage.take() {
            Some(stage) => stage.stop().await,
            None => Ok(()),
        }
    }

    /// Ends the bus, with whatever is still on it.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        let off = self.switch_off().await;
        self.bus.stop().await?;
        off
    }
}
