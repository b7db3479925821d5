//! How small waveforms become: the uplink's codec beside `flac -8` on the same blocks of a second.

use anyhow::{Context as _, ensure};
use serde_json::json;
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};
use uplink_proto::samples;
use virtual_devices::ecg::wfdb::Record;

/// Seconds of each signal, from the beginning.
const SECONDS: usize = 60;
/// What a FLAC file has before its frames: the marker, and blocks of metadata. Highest bit of a
/// block's first byte: it is the last one; then three bytes of length (FLAC format, "METADATA
/// BLOCK HEADER").
const FLAC_MARKER_LEN: usize = 4;

/// A figure for each signal of these WFDB records.
pub(crate) fn run(headers: &[&str]) -> anyhow::Result<()> {
    ensure!(!headers.is_empty(), "name the header of a WFDB record: clinic-bench waves 100.hea");
    for header in headers {
        let path = Path::new(header);
        let text = fs::read_to_string(path).with_context(|| format!("reading {header}"))?;
        let signals = path.with_file_name(Record::signal_file(&text)?);
        let bytes = fs::read(&signals).with_context(|| format!("reading {}", signals.display()))?;
        let record = Record::parse(&text, &bytes).with_context(|| (*header).to_owned())?;
        let rate = usize::try_from(record.rate_hz()).context("the rate")?;
        for (name, samples) in record.signals() {
            signal(header, name, rate, samples)?;
        }
    }
    Ok(())
}

fn signal(record: &str, name: &str, rate: usize, samples: &[i16]) -> anyhow::Result<()> {
    let (mut count, mut ours, mut flac) = (0, 0, 0);
    for block in samples.chunks_exact(rate).take(SECONDS) {
        let wide: Vec<i32> = block.iter().copied().map(i32::from).collect();
        let bytes = samples::encode(&wide);
        ensure!(samples::decode(&bytes).as_ref() == Some(&wide), "{name} did not come back");
        count += block.len();
        ours += bytes.len();
        flac += flac_len(rate, block)?;
    }
    let part = |len: usize, of: usize| -> anyhow::Result<f64> {
        Ok(f64::from(u32::try_from(len)?) / f64::from(u32::try_from(of)?))
    };
    super::figure(
        "waves",
        &json!({
            "record": record, "signal": name, "rate_hz": rate, "samples": count,
            "bytes": ours, "bytes_per_sample": part(ours, count)?,
            "flac_bytes": flac, "of_flac": part(ours, flac)?,
        }),
    )
}

/// Bytes of the frames of a file with this block alone.
fn flac_len(rate: usize, block: &[i16]) -> anyhow::Result<usize> {
    let options = "-8 --lax --no-padding --no-seektable --silent --force-raw-format \
                   --endian=little --sign=signed --channels=1 --bps=16 --stdout";
    let mut flac = Command::new("flac")
        .args(options.split_whitespace())
        .args([format!("--sample-rate={rate}"), format!("--blocksize={rate}"), "-".to_owned()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting flac; on Debian: apt install flac")?;
    let bytes: Vec<u8> = block.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    // Dropped after it: the end of what is to be encoded.
    flac.stdin.take().context("flac takes nothing")?.write_all(&bytes)?;
    let output = flac.wait_with_output()?;
    ensure!(output.status.success(), "flac failed");
    let mut rest = output.stdout.get(FLAC_MARKER_LEN..).context("flac wrote nothing")?;
    loop {
        let (&[kind, high, mid, low], body) = rest.split_first_chunk().context("no frames")?;
        let len = u32::from_be_bytes([0, high, mid, low]);
        rest = body.get(usize::try_from(len)?..).context("metadata without an end")?;
        if kind & 0x80 != 0 {
            return Ok(rest.len());
        }
    }
}
