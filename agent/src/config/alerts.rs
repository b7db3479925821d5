//! `[alerts]` and `[local_page]`: how the box warns, and who may read its page.

use config_reader::{Placed, Section};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// Where the page is when nobody said otherwise: on the box alone.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8480);
/// A lamp takes no longer; a sound that is played to its end may.
const HOOK_LIMIT_S: u64 = 10;
/// Arguments of a command.
const ARGUMENTS_MAX: usize = 32;
/// People of a township clinic who may be on duty.
const PEOPLE_MAX: usize = 64;
/// Letters of a name.
const NAME_MAX: usize = 32;

/// The command that is run for each signal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HookConfig {
    pub(crate) command: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) limit: Duration,
}

/// The page of the box.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PageConfig {
    pub(crate) listen: SocketAddr,
    /// Who may acknowledge.
    pub(crate) people: Vec<String>,
    /// Where the PIN is that they know; without one only the box itself may acknowledge.
    pub(crate) pin_file: Option<PathBuf>,
}

impl PageConfig {
    /// What is allowed and yet worth a thought.
    pub(super) fn warnings(&self) -> Vec<String> {
        let Self { listen, people, pin_file } = self;
        let mut warnings = Vec::new();
        if !listen.ip().is_loopback() {
            warnings.push(format!(
                "whoever reaches {listen} can read the values of the devices, and a PIN that is \
                 typed can be listened to (HTTP); keep that network to the clinic's own computers"
            ));
        }
        if people.is_empty() {
            warnings.push(
                "nobody can acknowledge at the box; name the people on duty in local_page.people"
                    .to_owned(),
            );
        } else if !listen.ip().is_loopback() && pin_file.is_none() {
            warnings.push(
                "the page can be read from the network and nobody can acknowledge there; write a \
                 PIN into a file and name it in local_page.pin_file"
                    .to_owned(),
            );
        }
        warnings
    }
}

pub(super) fn hook(section: Option<Section<'_>>) -> Option<HookConfig> {
    let mut section = section?;
    let texts = section.texts("hook");
    let limit_s = section.optional_integer("hook_limit_s", 1..=60);
    let mut words = texts.iter();
    let command = words.next().map(|command| {
        if !command.value.starts_with('/') {
            let text = format!(
                "\"{}\" is no full path; write one such as /usr/local/bin/clinic-lamp",
                command.value
            );
            section.note(&command.place, text);
        }
        command.value.to_owned()
    });
    let arguments: Vec<String> = words.map(|word| word.value.to_owned()).collect();
    if arguments.len() > ARGUMENTS_MAX {
        let text = format!("more than {ARGUMENTS_MAX} arguments; put them into a script");
        section.note(&section.place(), text);
    }
    section.finish();
    let limit = Duration::from_secs(limit_s.unwrap_or(HOOK_LIMIT_S));
    Some(HookConfig { command: command?, arguments, limit })
}

pub(super) fn page(section: Option<Section<'_>>, beside: &Path) -> Option<PageConfig> {
    let Some(mut section) = section else {
        return Some(PageConfig { listen: LISTEN, people: Vec::new(), pin_file: None });
    };
    let listen = section.optional_parsed("listen", |text| match text {
        "off" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            format!("\"{text}\" is no address; write one such as {LISTEN}, or \"off\"")
        }),
    });
    let people = people(&mut section);
    let pin_file = section.optional_text("pin_file").map(|file| beside.join(file.value));
    section.finish();
    let listen = listen.map_or(Some(LISTEN), |listen| listen.value)?;
    Some(PageConfig { listen, people, pin_file })
}

fn people(section: &mut Section<'_>) -> Vec<String> {
    let mut people: Vec<String> = Vec::new();
    for Placed { value, place } in section.texts("people") {
        let name = value.trim();
        let long = name.chars().count() > NAME_MAX || name.chars().any(char::is_control);
        if name.is_empty() || long {
            let text = format!("\"{value}\" is no name; write at most {NAME_MAX} letters");
            section.note(&place, text);
        } else if people.iter().any(|known| known == name) {
            section.note(&place, format!("\"{name}\" stands there twice; tell the two apart"));
        } else if people.len() >= PEOPLE_MAX {
            section.note(&place, format!("more than {PEOPLE_MAX} people; leave some out"));
        } else {
            people.push(name.to_owned());
        }
    }
    people
}

#[cfg(test)]
mod tests {
    use super::super::{AgentConfig, parse};
    use super::*;
    use config_reader::Mistake;

    const GOOD: &str = "site = \"heping-01\"\ndata_dir = \"data\"\n[uplink]\n\
        broker = \"broker.county.example:8883\"\nca = \"ca.crt\"\ncert = \"c\"\nkey = \"k\"\n";

    fn read(text: &str) -> Result<AgentConfig, Vec<Mistake>> {
        parse(&format!("{GOOD}{text}"), Path::new("/etc/clinic-edge"))
    }

    #[test]
    fn a_box_that_says_nothing_has_a_page_for_itself_and_no_hook() {
        let config = read("").unwrap();
        assert_eq!(config.hook, None);
        let page = config.page.clone().unwrap();
        assert_eq!(page.listen.to_string(), "127.0.0.1:8480");
        assert!(config.warnings()[0].starts_with("nobody can acknowledge"));
        assert_eq!(read("[local_page]\nlisten = \"off\"\n").unwrap().page, None);
    }

    #[test]
    fn a_page_for_the_network_needs_people_and_a_pin() {
        let open = "[local_page]\nlisten = \"192.168.1.10:8480\"\npeople = [\"李秀兰\"]\n";
        let config = read(open).unwrap();
        let warnings = config.warnings();
        assert!(warnings[0].starts_with("whoever reaches 192.168.1.10:8480"), "{warnings:?}");
        assert!(warnings[1].contains("local_page.pin_file"), "{warnings:?}");
        let config = read(&format!("{open}pin_file = \"page.pin\"\n")).unwrap();
        let file = config.page.clone().unwrap().pin_file;
        assert_eq!(file.as_deref(), Some(Path::new("/etc/clinic-edge/page.pin")));
        assert_eq!(config.warnings().len(), 1);
    }

    #[test]
    fn a_hook_is_a_command_with_its_arguments() {
        let hook = read("[alerts]\nhook = [\"/usr/local/bin/lamp\", \"on\"]\n").unwrap().hook;
        let expected = HookConfig {
            command: "/usr/local/bin/lamp".to_owned(),
            arguments: vec!["on".to_owned()],
            limit: Duration::from_secs(10),
        };
        assert_eq!(hook, Some(expected));
    }

    #[test]
    fn each_mistake_is_told() {
        let wrong = "[alerts]\nhook = [\"lamp\"]\nhook_limit_s = 900\nbell = 1\n\
            [local_page]\nlisten = \"everywhere\"\npeople = [\"王强\", \"王强\", \"\"]\n";
        let told = read(wrong).unwrap_err();
        let told: Vec<_> = told.iter().map(|mistake| mistake.text.as_str()).collect();
        let expected = [
            "\"lamp\" is no full path",
            "alerts.hook_limit_s is 900; use a number from 1 to 60",
            "alerts.bell is not a setting",
            "local_page.listen: \"everywhere\" is no address",
            "\"\" is no name",
            "\"王强\" stands there twice",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
