//! Who may do what, and where: the one place that decides.
//!
//! The table stands in `gateway/src/api/README.md`; a test asks the running API for each cell.
//!
//! # Invariants
//! - an administrator has nothing to do with patients, and none of the three does another's work
//! - what is the whole county's is done by somebody who has the whole county
//! - who acts is a person; a program reads, and writes down what other systems know

use crate::query::Clinics;
use std::collections::BTreeSet;

/// What somebody is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Nurse,
    Doctor,
    Engineer,
    /// A board on the wall.
    Kiosk,
    /// Looks after sites and sinks, and makes people known.
    SystemAdmin,
    /// Who may do what.
    SecurityAdmin,
    /// Reads who did what.
    AuditAdmin,
}

impl Role {
    pub(crate) const ALL: [Self; 7] = [
        Self::Nurse,
        Self::Doctor,
        Self::Engineer,
        Self::Kiosk,
        Self::SystemAdmin,
        Self::SecurityAdmin,
        Self::AuditAdmin,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nurse => "nurse",
            Self::Doctor => "doctor",
            Self::Engineer => "engineer",
            Self::Kiosk => "kiosk",
            Self::SystemAdmin => "system_admin",
            Self::SecurityAdmin => "security_admin",
            Self::AuditAdmin => "audit_admin",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// What can be done here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Sites: how their boxes are.
    SeeSites,
    /// Devices, what they say, and patients under masked names.
    SeeReadings,
    SeeAlerts,
    /// Acknowledge, shelve, assign, escalate, note.
    ActOnAlerts,
    /// Alerts about the county's own service.
    SeeServiceAlerts,
    ActOnServiceAlerts,
    /// Who is on duty when.
    ChangeDuty,
    /// A name without a mask.
    SeeNames,
    /// Who is a patient, and which device is on whom.
    WritePatients,
    /// What stands for a person's word: what a nurse saw, what ends or lessens a warning.
    CareForPatients,
    /// A reading is somebody else's.
    ReassignReadings,
    /// Limits of one patient.
    SetLimits,
    /// Write another version of the rules.
    EditRules,
    /// Put a version of the rules in force.
    ApproveRules,
    /// What a version of the rules would have raised.
    PreviewRules,
    /// Who was told of an alert beside the board.
    SeeNotifications,
    ReadLedger,
    ReadCounters,
    ReadAudit,
    /// Who is known here, and which programs.
    SeePeople,
    /// Make somebody known; what they may do is said by another.
    AddPeople,
    /// Roles, scopes, tokens, shutting out.
    ManagePeople,
    /// Put in force what another administrator has given.
    ConfirmRights,
}

impl Action {
    pub(crate) const ALL: [Self; 23] = [
        Self::SeeSites,
        Self::SeeReadings,
        Self::SeeAlerts,
        Self::ActOnAlerts,
        Self::SeeServiceAlerts,
        Self::ActOnServiceAlerts,
        Self::ChangeDuty,
        Self::SeeNames,
        Self::WritePatients,
        Self::CareForPatients,
        Self::ReassignReadings,
        Self::SetLimits,
        Self::EditRules,
        Self::ApproveRules,
        Self::PreviewRules,
        Self::SeeNotifications,
        Self::ReadLedger,
        Self::ReadCounters,
        Self::ReadAudit,
        Self::SeePeople,
        Self::AddPeople,
        Self::ManagePeople,
        Self::ConfirmRights,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SeeSites => "see_sites",
            Self::SeeReadings => "see_readings",
            Self::SeeAlerts => "see_alerts",
            Self::ActOnAlerts => "act_on_alerts",
            Self::SeeServiceAlerts => "see_service_alerts",
            Self::ActOnServiceAlerts => "act_on_service_alerts",
            Self::ChangeDuty => "change_duty",
            Self::SeeNames => "see_names",
            Self::WritePatients => "write_patients",
            Self::CareForPatients => "care_for_patients",
            Self::ReassignReadings => "reassign_readings",
            Self::SetLimits => "set_limits",
            Self::EditRules => "edit_rules",
            Self::ApproveRules => "approve_rules",
            Self::PreviewRules => "preview_rules",
            Self::SeeNotifications => "see_notifications",
            Self::ReadLedger => "read_ledger",
            Self::ReadCounters => "read_counters",
            Self::ReadAudit => "read_audit",
            Self::SeePeople => "see_people",
            Self::AddPeople => "add_people",
            Self::ManagePeople => "manage_people",
            Self::ConfirmRights => "confirm_rights",
        }
    }

    /// Who does it.
    pub(crate) const fn roles(self) -> &'static [Role] {
        const WARD: &[Role] = &[Role::Nurse, Role::Doctor, Role::Engineer, Role::Kiosk];
        const CARE: &[Role] = &[Role::Nurse, Role::Doctor];
        const ADMINS: &[Role] = &[Role::SystemAdmin, Role::SecurityAdmin, Role::AuditAdmin];
        match self {
            Self::SeeSites => &[
                Role::Nurse,
                Role::Doctor,
                Role::Engineer,
                Role::Kiosk,
                Role::SystemAdmin,
                Role::SecurityAdmin,
            ],
            Self::SeeReadings | Self::SeeAlerts => WARD,
            Self::ActOnAlerts
            | Self::SeeNames
            | Self::WritePatients
            | Self::CareForPatients
            | Self::ReassignReadings
            | Self::SetLimits => CARE,
            Self::SeeServiceAlerts | Self::ActOnServiceAlerts => ADMINS,
            Self::EditRules => &[Role::Doctor, Role::Engineer],
            Self::ChangeDuty | Self::ApproveRules => &[Role::Doctor],
            Self::PreviewRules => &[Role::Nurse, Role::Doctor, Role::Engineer],
            Self::SeeNotifications => {
                &[Role::Nurse, Role::Doctor, Role::Engineer, Role::SystemAdmin]
            }
            Self::ReadLedger => {
                &[Role::Nurse, Role::Doctor, Role::Engineer, Role::Kiosk, Role::SystemAdmin]
            }
            Self::ReadCounters => &[Role::Engineer, Role::SystemAdmin],
            Self::AddPeople => &[Role::SystemAdmin],
            Self::ReadAudit => &[Role::AuditAdmin],
            Self::SeePeople => ADMINS,
            Self::ManagePeople => &[Role::SecurityAdmin],
            Self::ConfirmRights => &[Role::SystemAdmin, Role::AuditAdmin],
        }
    }

    /// Whether it is done under one's own name only.
    pub(crate) const fn needs_person(self) -> bool {
        match self {
            Self::ActOnAlerts
            | Self::ActOnServiceAlerts
            | Self::ChangeDuty
            | Self::SeeNames
            | Self::CareForPatients
            | Self::ReassignReadings
            | Self::SetLimits
            | Self::EditRules
            | Self::ApproveRules
            | Self::AddPeople
            | Self::ManagePeople
            | Self::ConfirmRights => true,
            Self::SeeSites
            | Self::SeeReadings
            | Self::SeeAlerts
            | Self::SeeServiceAlerts
            | Self::WritePatients
            | Self::PreviewRules
            | Self::SeeNotifications
            | Self::ReadLedger
            | Self::ReadCounters
            | Self::ReadAudit
            | Self::SeePeople => false,
        }
    }

    /// Whether it is of no single clinic.
    pub(crate) const fn needs_county(self) -> bool {
        match self {
            Self::SeeServiceAlerts
            | Self::ActOnServiceAlerts
            | Self::EditRules
            | Self::ApproveRules
            | Self::ReadCounters
            | Self::ReadAudit
            | Self::SeePeople
            | Self::AddPeople
            | Self::ManagePeople
            | Self::ConfirmRights => true,
            Self::SeeSites
            | Self::SeeReadings
            | Self::SeeAlerts
            | Self::ActOnAlerts
            | Self::ChangeDuty
            | Self::SeeNames
            | Self::WritePatients
            | Self::CareForPatients
            | Self::ReassignReadings
            | Self::SetLimits
            | Self::PreviewRules
            | Self::SeeNotifications
            | Self::ReadLedger => false,
        }
    }
}

/// Where somebody does it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Scope {
    /// Everywhere.
    #[default]
    County,
    /// In some clinics, by their names, and so at these sites.
    Clinics { names: BTreeSet<String>, sites: BTreeSet<String> },
}

impl Scope {
    /// In these clinics of `gateway.toml`; a name that is none has no site.
    pub(crate) fn of_clinics(names: BTreeSet<String>, clinics: &Clinics) -> Self {
        let sites = clinics.iter().filter(|(_, clinic)| names.contains(*clinic));
        let sites = sites.map(|(site, _)| site.to_string()).collect();
        Self::Clinics { names, sites }
    }

    /// As it is stored; what cannot be read is nowhere.
    pub(crate) fn from_stored(stored: Option<&str>, clinics: &Clinics) -> Self {
        match stored {
            None => Self::County,
            Some(names) => {
                Self::of_clinics(serde_json::from_str(names).unwrap_or_default(), clinics)
            }
        }
    }

    /// A JSON list of clinics; `None`: the county.
    pub(crate) fn stored(&self) -> Option<String> {
        self.names().map(|names| serde_json::json!(names).to_string())
    }

    /// The clinics; `None`: the county.
    pub(crate) const fn names(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::County => None,
            Self::Clinics { names, .. } => Some(names),
        }
    }

    /// The sites as JSON, for questions:
    /// `?1 IS NULL OR site IN (SELECT value FROM json_each(?1))`.
    pub(crate) fn sites(&self) -> Option<String> {
        match self {
            Self::County => None,
            Self::Clinics { sites, .. } => Some(serde_json::json!(sites).to_string()),
        }
    }

    pub(crate) fn holds(&self, site: &str) -> bool {
        match self {
            Self::County => true,
            Self::Clinics { sites, .. } => sites.contains(site),
        }
    }
}

/// What asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CallerKind {
    /// Somebody who logged in under their own name.
    Person,
    /// Whoever has a token.
    Program,
}

/// Who asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) kind: CallerKind,
    pub(crate) scope: Scope,
    /// Somebody else knows the password: another one is set before anything is done.
    pub(crate) given_password: bool,
}

/// Why somebody may not do it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// The person sets a password of their own first.
    GivenPassword,
    /// Other roles do it.
    Role(Action),
    /// A person does it.
    Program(Action),
    /// Somebody does it who has the whole county.
    Scope(Action),
}

impl Caller {
    /// Whether the caller may do it at all; where, [`Caller::reaches`] says.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn may(&self, action: Action) -> Result<(), Refusal> {
        if self.given_password {
            return Err(Refusal::GivenPassword);
        }
        if !action.roles().contains(&self.role) {
            return Err(Refusal::Role(action));
        }
        if action.needs_person() && self.kind == CallerKind::Program {
            return Err(Refusal::Program(action));
        }
        if action.needs_county() && self.scope != Scope::County {
            return Err(Refusal::Scope(action));
        }
        Ok(())
    }

    /// Whether a site is one of the caller's. What is at another is not there for the caller.
    pub(crate) fn reaches(&self, site: &str) -> bool {
        self.scope.holds(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::SiteId;

    fn caller(role: Role, kind: CallerKind, scope: Scope) -> Caller {
        Caller { name: "wang".to_owned(), role, kind, scope, given_password: false }
    }

    fn heping() -> Scope {
        let clinics = ["heping-01", "heping-02", "dongfeng-01"].map(|site| {
            let clinic = if site.starts_with("heping") {
                "和平镇卫生院"
            } else {
                "东风镇卫生院"
            };
            (SiteId::new(site).unwrap(), clinic.to_owned())
        });
        Scope::of_clinics(BTreeSet::from(["和平镇卫生院".to_owned()]), &clinics.into())
    }

    #[test]
    fn no_administrator_has_to_do_with_patients_or_with_the_work_of_another() {
        const ADMINS: [Role; 3] = [Role::SystemAdmin, Role::SecurityAdmin, Role::AuditAdmin];
        let of = |role: Role| {
            Action::ALL.into_iter().filter(move |action| action.roles().contains(&role))
        };
        for admin in ADMINS {
            for action in of(admin) {
                let care =
                    [Role::Nurse, Role::Doctor].iter().all(|role| action.roles().contains(role));
                let seen = [Action::SeeSites, Action::ReadLedger, Action::SeeNotifications];
                let seen = seen.contains(&action);
                assert!(!care || seen, "{} {}", admin.name(), action.name());
            }
        }
        // What one of them changes no other does.
        for action in Action::ALL.into_iter().filter(|action| action.needs_person()) {
            let admins = ADMINS.iter().filter(|admin| action.roles().contains(admin)).count();
            let of_several = [Action::ActOnServiceAlerts, Action::ConfirmRights].contains(&action);
            assert!(admins <= 1 || of_several, "{}", action.name());
        }
        // Whoever gives rights does not confirm them.
        for role in Action::ManagePeople.roles() {
            assert!(!Action::ConfirmRights.roles().contains(role));
        }
        assert_eq!(of(Role::AuditAdmin).count(), 5);
    }

    #[test]
    fn a_program_reads_and_does_not_act() {
        for action in Action::ALL {
            for role in Role::ALL {
                let person = caller(role, CallerKind::Person, Scope::County).may(action);
                let program = caller(role, CallerKind::Program, Scope::County).may(action);
                let expected = match (person, action.needs_person()) {
                    (Ok(()), true) => Err(Refusal::Program(action)),
                    (other, _) => other,
                };
                assert_eq!(program, expected);
            }
        }
    }

    #[test]
    fn who_has_some_clinics_does_nothing_to_the_whole_county() {
        let doctor = caller(Role::Doctor, CallerKind::Person, heping());
        assert_eq!(doctor.may(Action::ActOnAlerts), Ok(()));
        assert_eq!(doctor.may(Action::ApproveRules), Err(Refusal::Scope(Action::ApproveRules)));
        assert!(doctor.reaches("heping-01") && doctor.reaches("heping-02"));
        assert!(!doctor.reaches("dongfeng-01") && !doctor.reaches("nowhere"));
    }

    #[test]
    fn a_scope_is_read_as_it_was_stored() {
        let clinics =
            Clinics::from([(SiteId::new("heping-01").unwrap(), "和平镇卫生院".to_owned())]);
        let scope = Scope::of_clinics(BTreeSet::from(["和平镇卫生院".to_owned()]), &clinics);
        assert_eq!(Scope::from_stored(scope.stored().as_deref(), &clinics), scope);
        assert_eq!(scope.sites().as_deref(), Some(r#"["heping-01"]"#));
        assert_eq!(Scope::from_stored(None, &clinics), Scope::County);
        assert!(!Scope::from_stored(Some("noise"), &clinics).holds("heping-01"));
    }
}
