//! Real `BlueZ`, without a radio: our agent in a virtual machine with the real bluetoothd, a virtual
//! controller and virtual devices; what the devices saw confirmed against what the agent stored.
//!
//! ```text
//! clinic-vm FOLDER [STORY [BOOTS]]
//! ```
//!
//! `FOLDER` is what `tests/vm/image` made; the agent is the `clinic-agent` beside this program. The
//! stories are told in `guest/story.py`:
//!
//! - `visits`: two cuffs and a meter come by again and again (the default)
//! - `kills`, `stops`: meanwhile the agent is killed, or told to stop, and started again
//! - `late`: cuffs connect while no agent listens
//! - `jammed`: the kernel does not hear of one connection, and makes no other from then on
//!
//! A reading that was confirmed while an agent listened all the time must be stored, once. Of the
//! others it is counted how many are. One JSON object a boot goes to the standard output.

mod evidence;
mod machine;

use anyhow::{Context as _, bail, ensure};
use machine::{Ended, Machine};
use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

/// So often a story is begun that hangs: an emulated controller and a kernel may stop each other,
/// and a boot that did not come to its end says nothing about readings. Its console is shown.
const BOOTS_MAX: u32 = 3;
/// How often each cuff comes by in one boot.
const VISITS: u32 = 8;

fn main() -> ExitCode {
    e2e::run_program("clinic-vm", run)
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    let (image, story, boots) = match *words {
        [image] => (image, "visits", 1),
        [image, story] => (image, story, 1),
        [image, story, boots] => (image, story, boots.parse().context("BOOTS")?),
        _ => bail!("write: clinic-vm FOLDER [STORY [BOOTS]]"),
    };
    ensure!(
        ["visits", "kills", "stops", "late", "jammed"].contains(&story),
        "{story:?} is no story; write visits, kills, stops, late or jammed"
    );
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(boot(Path::new(image), story, boots))
}

async fn come_to_its_end(image: &Path, story: &str) -> anyhow::Result<Ended> {
    for _ in 0..BOOTS_MAX {
        if let Some(ended) = Machine::prepare(image).await?.run(story, VISITS).await? {
            return Ok(ended);
        }
    }
    bail!("{story} hung {BOOTS_MAX} times")
}

async fn boot(image: &Path, story: &str, boots: u32) -> anyhow::Result<()> {
    for number in 1..=boots {
        let ended = come_to_its_end(image, story).await?;
        let account = evidence::account(&ended)?;
        let mut out = io::stdout().lock();
        writeln!(out, "{}", account.shown(story, number))?;
        out.flush().context("telling a figure")?;
        account.judge().with_context(|| format!("boot {number}"))?;
    }
    Ok(())
}
