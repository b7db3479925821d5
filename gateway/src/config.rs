//! `gateway.toml`: as written, and as meant. Every mistake is told at once; nothing is opened.

mod escalation;
mod notify;

use crate::{disk::FREE_MIN, notify::Sink, retention::Retention};
use config_reader::{Mistake, Section};
use model::id::SiteId;
use rules::ladder::{Times, TimesBySite};
use rustls::pki_types::ServerName;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

/// `gateway.toml`, as meant.
#[derive(Clone, Debug)]
pub(crate) struct GatewayConfig {
    /// Where the database is.
    pub(crate) data_dir: PathBuf,
    /// Bytes that are kept free on its disk.
    pub(crate) free_min: u64,
    /// How long what is kept.
    pub(crate) retention: Retention,
    pub(crate) http: HttpConfig,
    pub(crate) broker: BrokerConfig,
    /// Keys and certificates.
    pub(crate) pki_dir: PathBuf,
    /// The rule set; `None`: the one that comes with the program.
    pub(crate) rules: Option<PathBuf>,
    /// How long people have until the next one is told.
    pub(crate) times: TimesBySite,
    /// Site → name of its township clinic.
    pub(crate) clinics: BTreeMap<SiteId, String>,
    /// As it is written.
    pub(crate) text: String,
    /// Who is told of alerts beside the board.
    pub(crate) notify: Vec<Sink>,
}

/// Where board and API are.
#[derive(Clone, Debug)]
pub(crate) struct HttpConfig {
    pub(crate) address: SocketAddr,
    /// HTTPS with a certificate of the county's CA; plain HTTP only on loopback.
    pub(crate) tls: bool,
    /// Names and addresses of this service, for its certificates.
    pub(crate) hosts: Vec<String>,
}

/// Who listens for MQTT.
#[derive(Clone, Debug)]
pub(crate) enum BrokerConfig {
    /// The gateway itself.
    Embedded(SocketAddr),
    /// A broker of its own.
    Outside { host: String, port: u16 },
}

/// Turns the text of `gateway.toml` into what is meant; relative paths are beside the file.
///
/// # Errors
/// Every mistake, with its line.
pub(crate) fn parse(text: &str, beside: &Path) -> Result<GatewayConfig, Vec<Mistake>> {
    let config = config_reader::read(text, |root| meant(root, beside))?;
    Ok(GatewayConfig { text: text.to_owned(), ..config })
}

fn meant(root: &mut Section<'_>, beside: &Path) -> Option<GatewayConfig> {
    let data_dir =
        root.text("data_dir", "/var/lib/clinic-gateway").map(|dir| beside.join(dir.value));
    let http = root.section("http").and_then(http);
    let broker = root.section("broker").and_then(broker);
    let pki = root.section("pki").and_then(|mut section| {
        let dir = section.text("dir", "/etc/clinic-edge/pki").map(|dir| beside.join(dir.value));
        section.finish();
        dir
    });
    let free_min = root.optional_section("disk").and_then(|mut section| {
        let mib = section.optional_integer("free_min_mib", 1..=1 << 20);
        section.finish();
        mib.map(|mib| mib << 20)
    });
    let retention = root.optional_section("retention").map(retention);
    let rules = root.optional_section("rules").and_then(|mut section| {
        let file = section.text("file", "rules.json").map(|file| beside.join(file.value));
        section.finish();
        file
    });
    let specified = Times::default();
    let county = root.optional_section("escalation");
    let county = county.map_or(specified, |section| escalation::times(section, specified));
    let (clinics, own) = clinics(root.sections("clinic"), county);
    let notify = notify::sinks(root.sections("notify"), beside, &clinics);
    Some(GatewayConfig {
        data_dir: data_dir?,
        free_min: free_min.unwrap_or(FREE_MIN),
        retention: retention.unwrap_or_default(),
        http: http?,
        broker: broker?,
        pki_dir: pki?,
        rules,
        times: TimesBySite { county, own },
        clinics,
        text: String::new(),
        notify,
    })
}

fn retention(mut section: Section<'_>) -> Retention {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    /// A hundred years.
    const DAYS_MAX: u64 = 36_500;
    let mut days = |key| {
        let days = section.optional_integer(key, 1..=DAYS_MAX)?;
        Some(i64::try_from(days).ok()?.saturating_mul(DAY_MS))
    };
    let retention = Retention {
        waveforms_ms: days("waveforms_days"),
        streams_ms: days("streams_days"),
        spots_ms: days("spots_days"),
        alarms_ms: days("alarms_days"),
    };
    section.finish();
    retention
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "\"{text}\" is no address; write one such as 0.0.0.0:8443, with port 0 for any free one"
        )
    })
}

/// A name or address that a certificate can be for; an IPv6 address may stand in brackets.
fn host_name(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match ServerName::try_from(bare) {
        Ok(_) => Ok(bare.to_owned()),
        Err(_) => Err(format!(
            "\"{text}\" is no host; write a name such as county.example, or an IP address"
        )),
    }
}

fn http(mut section: Section<'_>) -> Option<HttpConfig> {
    let listen = section.parsed("address", "0.0.0.0:8443", address);
    let tls = section.optional_parsed("tls", |text| match text {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("\"{other}\" is unknown; write \"on\" or \"off\"")),
    });
    let mut hosts = Vec::new();
    for host in section.texts("hosts") {
        match host_name(host.value) {
            Ok(name) => hosts.push(name),
            Err(mistake) => section.note(&host.place, format!("http.hosts: {mistake}")),
        }
    }
    let open = listen.as_ref().is_some_and(|address| !address.value.ip().is_loopback());
    if let (true, Some(tls)) = (open, tls.as_ref().filter(|tls| !tls.value)) {
        let text = "http.tls is off, and the address is not loopback; write tls = \"on\", \
                    or put a proxy with HTTPS in front and listen at 127.0.0.1";
        section.note(&tls.place, text);
    }
    section.finish();
    Some(HttpConfig { address: listen?.value, tls: tls.is_none_or(|tls| tls.value), hosts })
}

fn broker(mut section: Section<'_>) -> Option<BrokerConfig> {
    let embedded = section.optional_switch("embedded").unwrap_or(false);
    let found = if embedded {
        section
            .parsed("address", "0.0.0.0:8883", address)
            .map(|listen| BrokerConfig::Embedded(listen.value))
    } else {
        let outside = section.parsed("address", "broker.county.example:8883", |text| {
            let parts = text.rsplit_once(':');
            match parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) {
                Some((host, port)) if port > 0 => Ok((host_name(host)?, port)),
                _ => {
                    Err(format!("\"{text}\" is no address; write host:port, mostly with port 8883"))
                }
            }
        });
        outside.map(|found| BrokerConfig::Outside { host: found.value.0, port: found.value.1 })
    };
    section.finish();
    found
}

/// The clinic of each site, and the times of those whose clinic has its own.
fn clinics(
    sections: Vec<Section<'_>>,
    county: Times,
) -> (BTreeMap<SiteId, String>, BTreeMap<SiteId, Times>) {
    let (mut clinics, mut own) = (BTreeMap::new(), BTreeMap::new());
    for mut section in sections {
        let name = section.text("name", "和平镇卫生院").map(|name| name.value.to_owned());
        let times = section.optional_section("escalation");
        let times = times.map(|section| escalation::times(section, county));
        for site in section.texts("sites") {
            match SiteId::new(site.value) {
                Ok(id) if clinics.contains_key(&id) => {
                    section
                        .note(&site.place, format!("site {id} belongs to another clinic already"));
                }
                Ok(id) => {
                    own.extend(times.map(|times| (id.clone(), times)));
                    clinics.insert(id, name.clone().unwrap_or_default());
                }
                Err(error) => section.note(&site.place, error.to_string()),
            }
        }
        section.finish();
    }
    (clinics, own)
}

impl GatewayConfig {
    /// Names and addresses that the service's certificates are for.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let listens = match &self.broker {
            BrokerConfig::Embedded(address) => Some(address.ip()),
            BrokerConfig::Outside { host, .. } => {
                hosts.push(host.clone());
                None
            }
        };
        let known = [Some(self.http.address.ip()), listens].into_iter().flatten();
        hosts.extend(known.filter(|ip: &IpAddr| !ip.is_unspecified()).map(|ip| ip.to_string()));
        hosts.extend(self.http.hosts.iter().cloned());
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// Address of the board, which listens at that port; `None` where the configuration does not say.
    pub(crate) fn board(&self, port: u16) -> Option<String> {
        let named = self.http.hosts.first().cloned();
        let listens = Some(self.http.address.ip()).filter(|ip| !ip.is_unspecified());
        let host = named.or_else(|| listens.map(|ip| ip.to_string()))?;
        let scheme = if self.http.tls { "https" } else { "http" };
        Some(format!("{scheme}://{}/", host_port(&host, port)))
    }

    /// Where boxes find the broker; `None` where the configuration does not say.
    pub(crate) fn broker_for_boxes(&self) -> Option<String> {
        match &self.broker {
            BrokerConfig::Outside { host, port } => Some(host_port(host, *port)),
            BrokerConfig::Embedded(address) => {
                let named = self.http.hosts.first().cloned();
                let listens = Some(address.ip()).filter(|ip| !ip.is_unspecified());
                let host = named.or_else(|| listens.map(|ip| ip.to_string()))?;
                Some(host_port(&host, address.port()))
            }
        }
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn host_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::{Step, Via};
    use model::alarm::Priority;

    const GOOD: &str = "data_dir = \"data\"\n[http]\naddress = \"127.0.0.1:0\"\ntls = \"off\"\n\
        [broker]\nembedded = true\naddress = \"0.0.0.0:8883\"\n[pki]\ndir = \"pki\"\n\
        [[clinic]]\nname = \"和平镇卫生院\"\nsites = [\"heping\"]\n";

    #[test]
    fn a_good_configuration_says_what_is_meant() {
        let config = parse(GOOD, Path::new("/etc/clinic-edge")).unwrap();
        assert_eq!(config.pki_dir, Path::new("/etc/clinic-edge/pki"));
        assert!(matches!(config.broker, BrokerConfig::Embedded(address) if address.port() == 8883));
        assert_eq!(config.free_min, FREE_MIN);
        let spare = parse(&format!("{GOOD}[disk]\nfree_min_mib = 3\n"), Path::new("")).unwrap();
        assert_eq!(spare.free_min, 3 << 20);
        assert!(config.retention.keeps_all());
        let text = format!("{GOOD}[retention]\nwaveforms_days = 2\nspots_days = 3\n");
        let days = parse(&text, Path::new("")).unwrap().retention;
        assert_eq!((days.waveforms_ms, days.streams_ms), (Some(172_800_000), None));
        assert_eq!((days.spots_ms, days.alarms_ms), (Some(259_200_000), None));
        let none = format!("{GOOD}[retention]\nwaveforms_days = 0\n");
        assert_eq!(parse(&none, Path::new("")).unwrap_err().len(), 1);
        assert_eq!(config.clinics[&SiteId::new("heping").unwrap()], "和平镇卫生院");
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_line_and_a_remedy() {
        let bad = GOOD
            .replace("127.0.0.1:0", "0.0.0.0:80")
            .replace("0.0.0.0:8883", "here")
            .replace("\"heping\"", "\"Heping\", \"a\", \"a\"")
            .replace("[pki]\ndir", "[pki]\nfolder");
        let mistakes = parse(&bad, Path::new("")).unwrap_err();
        let lines: Vec<usize> = mistakes.iter().map(|mistake| mistake.line).collect();
        assert_eq!(lines, [4, 7, 8, 9, 12, 12], "{mistakes:#?}");
    }

    #[test]
    fn how_long_people_have_is_as_specified_unless_it_is_said() {
        const MINUTE_MS: i64 = 60_000;
        let none = parse(GOOD, Path::new("")).unwrap().times.county;
        assert_eq!(none, Times::default());
        assert_eq!(none.ladder.high.county_on_call, Some(5 * MINUTE_MS));
        let text = format!(
            "{GOOD}[escalation.high]\nsecond_s = 90\nrealarm_s = 180\n\
             [escalation.low]\ncounty_on_call_s = 36000\n"
        );
        let times = parse(&text, Path::new("")).unwrap().times.county;
        assert_eq!(times.ladder.high.second, Some(90_000));
        assert_eq!(times.ladder.high.township_doctor, none.ladder.high.township_doctor);
        assert_eq!((times.realarm.high, times.realarm.low), (3 * MINUTE_MS, 60 * MINUTE_MS));
        assert_eq!(times.ladder.low.county_on_call, Some(600 * MINUTE_MS));
        assert_eq!((times.ladder.medium, times.remind), (none.ladder.medium, none.remind));
    }

    #[test]
    fn a_township_has_its_own_times_and_those_of_the_county_where_it_says_nothing() {
        let text = format!(
            "{GOOD}[clinic.escalation.high]\nsecond_s = 90\n\
             [[clinic]]\nname = \"东风镇卫生院\"\nsites = [\"dongfeng\"]\n\
             [escalation.high]\ntownship_doctor_s = 240\n"
        );
        let times = parse(&text, Path::new("")).unwrap().times;
        let [heping, dongfeng] =
            ["heping", "dongfeng"].map(|id| times.of(&SiteId::new(id).unwrap()));
        assert_eq!(dongfeng, &times.county);
        assert_eq!(heping.ladder.high.second, Some(90_000));
        assert_eq!(heping.ladder.high.township_doctor, Some(240_000));
        assert_eq!(dongfeng.ladder.high.second, Some(60_000));
        assert_eq!(
            (heping.ladder.medium, heping.realarm),
            (dongfeng.ladder.medium, dongfeng.realarm)
        );
    }

    #[test]
    fn times_that_nobody_can_mean_are_told_with_their_bounds() {
        for (lines, word) in [
            ("[escalation.high]\nsecond_s = 9\n", "use a number from 10 to 3600"),
            ("[escalation.high]\nrealarm_s = 3601\n", "use a number from 10 to 3600"),
            ("[escalation.medium]\ncounty_on_call_s = 30000\n", "from 10 to 28800"),
            ("[escalation.high]\nsecond_s = 120\n", "the steps are at 120, 120, 300 s"),
            ("[escalation.high]\ncounty_on_call_s = 61\n", "are at 60, 120, 61 s"),
            ("[escalation.urgent]\nsecond_s = 60\n", "known here: high, low, medium"),
            ("[escalation.high]\nsecond = 60\n", "known here: county_on_call_s"),
            ("[clinic.escalation.high]\nsecond_s = 120\n", "the steps are at 120, 120, 300 s"),
            ("[clinic.escalation.low]\nsecond_s = 9\n", "use a number from 10 to 86400"),
            ("[clinic.escalation.urgent]\nsecond_s = 60\n", "known here: high, low, medium"),
        ] {
            let mistakes = parse(&format!("{GOOD}{lines}"), Path::new("")).unwrap_err();
            let told = mistakes.iter().any(|mistake| mistake.text.contains(word));
            assert!(told && mistakes.len() == 1, "{lines}{mistakes:#?}");
        }
    }

    #[test]
    fn sinks_are_told_what_they_ask_for() {
        let text = format!(
            "{GOOD}[[notify]]\nname = \"duty-phone\"\nkind = \"webhook\"\n\
             url = \"https://hooks.example/a?b=c\"\nsecret_file = \"secret\"\n\
             [[notify]]\nname = \"lamp\"\nkind = \"command\"\nprogram = \"/bin/lamp\"\n\
             arguments = [\"--on\"]\npriorities = [\"high\"]\nsteps = [\"raised\", \"cleared\"]\n\
             clinics = [\"和平镇卫生院\"]\nlanguage = \"en\"\n"
        );
        let sinks = parse(&text, Path::new("/etc")).unwrap().notify;
        let [phone, lamp] = sinks.as_slice() else { panic!("{sinks:?}") };
        let Via::Webhook(webhook) = &phone.via else { panic!("{phone:?}") };
        assert_eq!(webhook.secret_file, Path::new("/etc/secret"));
        assert_eq!(phone.priorities, [Priority::Medium, Priority::High]);
        assert!(phone.sites.is_none() && !phone.steps.contains(&Step::Cleared));
        let Via::Command(command) = &lamp.via else { panic!("{lamp:?}") };
        assert_eq!(command.arguments, ["--on"]);
        assert_eq!(lamp.sites, Some([SiteId::new("heping").unwrap()].into()));
        assert_eq!((lamp.steps.len(), lamp.language.name()), (2, "en"));
    }

    #[test]
    fn every_mistake_of_a_sink_is_told() {
        let text = format!(
            "{GOOD}[[notify]]\nname = \"Duty Phone\"\nkind = \"webhook\"\nurl = \"http://far.example/\"\n\
             priorities = [\"urgent\"]\nsteps = [\"closed\"]\nclinics = [\"nowhere\"]\nlanguage = \"de\"\n\
             [[notify]]\nname = \"a\"\nkind = \"command\"\nprogram = \"lamp --on\"\n\
             [[notify]]\nname = \"a\"\nkind = \"pigeon\"\n\
             [[notify]]\nname = \"b\"\nkind = \"webhook\"\nsecret_file = \"s\"\nurl = \"https://me:pw@host/\"\n"
        );
        let lines: Vec<usize> =
            parse(&text, Path::new("")).unwrap_err().iter().map(|mistake| mistake.line).collect();
        assert_eq!(lines, [13, 14, 16, 17, 18, 19, 20, 24, 26, 27, 32], "{lines:?}");
        let good = |url: &str| {
            let sink = format!(
                "{GOOD}[[notify]]\nname = \"a\"\nkind = \"webhook\"\nsecret_file = \"s\"\nurl = \"{url}\"\n"
            );
            parse(&sink, Path::new("")).is_ok()
        };
        assert!(
            good("http://127.0.0.1:9000/x") && good("http://[::1]/") && good("http://localhost")
        );
        assert!(!good("http://127.0.0.1.far.example/") && !good("ftp://host/") && !good("/path"));
    }

    #[test]
    fn hosts_are_names_a_certificate_can_be_for() {
        let bad =
            GOOD.replace("tls =", "hosts = [\"county.example\", \"https://x\", \"县\"]\ntls =");
        let mistakes = parse(&bad, Path::new("")).unwrap_err();
        let lines: Vec<usize> = mistakes.iter().map(|mistake| mistake.line).collect();
        assert_eq!(lines, [4, 4], "{mistakes:#?}");
    }

    #[test]
    fn the_certificates_are_for_an_outside_broker_too() {
        let outside = GOOD
            .replace("embedded = true", "embedded = false")
            .replace("0.0.0.0:8883", "broker.county.example:8883");
        let config = parse(&outside, Path::new("")).unwrap();
        assert!(config.hosts().contains(&"broker.county.example".to_owned()));
        assert_eq!(config.broker_for_boxes().as_deref(), Some("broker.county.example:8883"));
    }

    #[test]
    fn boxes_are_told_an_address_that_leads_somewhere() {
        let told = |address: &str, hosts: &str| {
            let text = GOOD
                .replace("0.0.0.0:8883", address)
                .replace("tls =", &format!("hosts = [{hosts}]\ntls ="));
            parse(&text, Path::new("")).unwrap().broker_for_boxes()
        };
        assert_eq!(told("0.0.0.0:8883", ""), None);
        assert_eq!(told("[::]:8883", ""), None);
        assert_eq!(told("10.0.0.7:8883", "").as_deref(), Some("10.0.0.7:8883"));
        assert_eq!(told("[fd00::7]:8883", "").as_deref(), Some("[fd00::7]:8883"));
        assert_eq!(told("0.0.0.0:8883", "\"fd00::8\"").as_deref(), Some("[fd00::8]:8883"));
    }
}
