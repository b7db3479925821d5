//! Names of topics, and who may use which.
//!
//! # Invariants
//! - a site reads and writes only under its own name, wills included
//! - no wildcard widens the rights of a site

use model::id::{Lane, SiteId};

/// Every topic of protocol version 1 begins with this.
const ROOT: &str = "clinic/v1/";
/// Common name and client id of the county's own service.
pub const COUNTY: &str = "county";

/// A topic of one site.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Topic {
    /// Envelopes, agent to county.
    Up(SiteId, Lane),
    /// Online or offline, retained; also the will.
    State(SiteId),
    /// What the county has committed.
    Ack(SiteId),
    /// What the box is to go by, retained.
    Config(SiteId),
}

impl Topic {
    /// The topic of that name, if it is one of ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (site, rest) = split(name)?;
        let site = SiteId::new(site).ok()?;
        match rest {
            "state" => Some(Self::State(site)),
            "ack" => Some(Self::Ack(site)),
            "config" => Some(Self::Config(site)),
            _ => Some(Self::Up(site, Lane::from_name(rest.strip_prefix("up/")?)?)),
        }
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Up(site, lane) => format!("{ROOT}{site}/up/{lane}"),
            Self::State(site) => format!("{ROOT}{site}/state"),
            Self::Ack(site) => format!("{ROOT}{site}/ack"),
            Self::Config(site) => format!("{ROOT}{site}/config"),
        }
    }
}

/// What the county's service subscribes to.
#[must_use]
pub fn county_filters() -> [String; 2] {
    [format!("{ROOT}+/up/+"), format!("{ROOT}+/state")]
}

/// Whether the bearer of a certificate with that common name may publish there.
#[must_use]
pub fn may_publish(name: &str, topic: &str) -> bool {
    let Some((site, rest)) = split(topic) else { return false };
    if name == COUNTY {
        return matches!(rest, "ack" | "config" | "cmd");
    }
    let own = SiteId::new(name).is_ok_and(|name| name.as_str() == site);
    let lane = rest.strip_prefix("up/").and_then(Lane::from_name);
    own && (lane.is_some() || matches!(rest, "state" | "reply"))
}

/// Whether the bearer of a certificate with that common name may subscribe to that filter.
#[must_use]
pub fn may_subscribe(name: &str, filter: &str) -> bool {
    let Some((site, rest)) = split(filter) else { return false };
    if name == COUNTY {
        return true;
    }
    let own = SiteId::new(name).is_ok_and(|name| name.as_str() == site);
    own && matches!(rest, "ack" | "config" | "cmd")
}

fn split(topic: &str) -> Option<(&str, &str)> {
    topic.strip_prefix(ROOT)?.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_read_back_from_its_name() {
        let site = SiteId::new("heping-01").unwrap();
        for topic in [
            Topic::Up(site.clone(), Lane::Wave),
            Topic::State(site.clone()),
            Topic::Ack(site.clone()),
            Topic::Config(site),
        ] {
            assert_eq!(Topic::parse(&topic.name()), Some(topic));
        }
        assert_eq!(Topic::parse("clinic/v1/heping-01/up/unknown"), None);
        assert_eq!(Topic::parse("clinic/v1/county/state"), None);
        assert_eq!(Topic::parse("clinic/v2/heping-01/state"), None);
    }

    #[test]
    fn a_site_publishes_only_under_its_own_name() {
        for topic in ["up/urgent", "up/trend", "up/wave", "state", "reply"] {
            assert!(may_publish("a", &format!("clinic/v1/a/{topic}")));
            assert!(!may_publish("a", &format!("clinic/v1/b/{topic}")));
        }
        for topic in
            ["clinic/v1/a/ack", "clinic/v1/a/config", "clinic/v1/a/up/other", "a", "$SYS/a"]
        {
            assert!(!may_publish("a", topic), "{topic}");
        }
    }

    #[test]
    fn no_wildcard_widens_the_rights_of_a_site() {
        assert!(may_subscribe("a", "clinic/v1/a/ack"));
        assert!(may_subscribe("a", "clinic/v1/a/config"));
        for filter in [
            "clinic/v1/+/ack",
            "clinic/v1/#",
            "#",
            "clinic/v1/a/#",
            "clinic/v1/a/+",
            "clinic/v1/b/ack",
            "clinic/v1/b/config",
            "clinic/v1/+/config",
        ] {
            assert!(!may_subscribe("a", filter), "{filter}");
        }
        assert!(!may_subscribe("+", "clinic/v1/+/ack"));
    }

    #[test]
    fn the_county_reads_everything_and_writes_only_what_is_its_own() {
        for filter in county_filters() {
            assert!(may_subscribe(COUNTY, &filter));
        }
        assert!(may_publish(COUNTY, "clinic/v1/a/ack"));
        assert!(may_publish(COUNTY, "clinic/v1/a/config"));
        assert!(!may_publish(COUNTY, "clinic/v1/a/up/trend"));
    }
}
