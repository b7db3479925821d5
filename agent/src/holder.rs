//! Which program holds a port, as far as the system tells.
//!
//! Whose files are open only their user and root may see; names of programs everybody may.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What mostly holds a serial port that the agent wants.
const USUAL: [&str; 8] =
    ["ModemManager", "brltty", "gpsd", "ser2net", "minicom", "picocom", "screen", "clinic-agent"];

/// Who holds the port, in words that can follow "it is in use by".
pub(crate) fn told(port: &Path) -> String {
    let usual = || list(others().filter(|(_, name)| USUAL.contains(&name.as_str())));
    known(port).unwrap_or_else(|| match usual() {
        Some(usual) => format!("another program, perhaps {usual}"),
        None => "another program (ModemManager or a terminal?)".to_owned(),
    })
}

/// Who has the port open, where the system shows it.
pub(crate) fn known(port: &Path) -> Option<String> {
    list(others().filter(|(id, _)| holds(*id, port)))
}

fn list(found: impl Iterator<Item = (u32, String)>) -> Option<String> {
    let shown: Vec<_> = found.map(|(id, name)| format!("{name} (process {id})")).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

fn others() -> impl Iterator<Item = (u32, String)> {
    let ours = std::process::id();
    processes().into_iter().filter(move |&(id, _)| id != ours)
}

/// Process ids and names.
fn processes() -> Vec<(u32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: u32| {
        // It may have ended meanwhile.
        let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
        Some((id, name.trim_end().to_owned()))
    })
    .collect()
}

fn holds(id: u32, port: &Path) -> bool {
    // A name in /dev/serial is a symlink, and what is open is its target.
    let Ok(port) = fs::canonicalize(port) else { return false };
    let has_open = files(id).any(|(_, target)| target == port);
    has_open && !plays(id, &port)
}

/// Whether it is the device: of a pty the other side is open too, with the number of this side.
fn plays(id: u32, port: &Path) -> bool {
    let number = port.strip_prefix("/dev/pts").ok().and_then(Path::to_str);
    let Some(line) = number.map(|number| format!("tty-index:\t{number}")) else { return false };
    let mut others = files(id).filter(|(_, target)| target.ends_with("ptmx"));
    others.any(|(file, _)| {
        let about = fs::read_to_string(format!("/proc/{id}/fdinfo/{file}")).unwrap_or_default();
        about.lines().any(|known| known == line)
    })
}

/// Numbers of the files a process has open, and what they are.
fn files(id: u32) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let number = entry.file_name().into_string().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::File,
        io::{Read as _, Write as _},
        process::{Command, Stdio},
    };

    #[test]
    fn a_program_that_has_the_port_open_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (port, link) = (folder.path().join("ttyUSB0"), folder.path().join("by-id"));
        File::create(&port).unwrap();
        std::os::unix::fs::symlink(&port, &link).unwrap();
        let mut tee = Command::new("tee");
        tee.arg(&port).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut tee = tee.spawn().unwrap();
        let (mut stdin, mut stdout) = (tee.stdin.take().unwrap(), tee.stdout.take().unwrap());
        // What answers has its name and its files: a process that only starts has its parent's.
        stdin.write_all(b"x").unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        let told = told(&link);
        drop(stdin);
        tee.wait().unwrap();
        assert_eq!(told, format!("tee (process {})", tee.id()));
    }
}
