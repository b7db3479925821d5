//! Why something was refused, in a word that programs and the board go by: a sentence may be written
//! otherwise tomorrow, and a nurse reads it in her own language.

use axum::http::StatusCode;

macro_rules! codes {
    ($($code:ident: $name:literal, $status:ident, $title:literal;)+) => {
        /// A word for each refusal; the board has a text for every one of them.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Code {
            $($code,)+
        }

        impl Code {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$code,)+];

            const fn row(self) -> (&'static str, StatusCode, &'static str) {
                match self {
                    $(Self::$code => ($name, StatusCode::$status, $title),)+
                }
            }
        }
    };
}

codes! {
    Misunderstood: "misunderstood", BAD_REQUEST, "The request is not understood";
    TooLarge: "too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    WrongMethod: "wrong_method", METHOD_NOT_ALLOWED, "This path does not do that";
    NotFound: "not_found", NOT_FOUND, "There is no such thing";
    Unacceptable: "unacceptable", BAD_REQUEST, "The request is not understood";
    NoDatabase: "no_database", INTERNAL_SERVER_ERROR, "The county's database did not answer";
    Failed: "failed", INTERNAL_SERVER_ERROR, "It could not be done";
    Busy: "busy", SERVICE_UNAVAILABLE, "Too much is asked at once";
    DiskFull: "disk_full", SERVICE_UNAVAILABLE, "The disk is full";
    DatabaseUnwritten: "database_unwritten", SERVICE_UNAVAILABLE, "The database cannot be written";
    NoBroker: "no_broker", SERVICE_UNAVAILABLE, "The broker is out of reach";

    NotLoggedIn: "not_logged_in", UNAUTHORIZED, "Nobody is logged in";
    WrongLogin: "wrong_login", UNAUTHORIZED, "Name or password is wrong";
    LoggedOut: "logged_out", UNAUTHORIZED, "You were logged out meanwhile";
    TooManyProofs: "too_many_proofs", UNAUTHORIZED, "Too many wrong passwords or PINs";
    WrongProof: "wrong_proof", FORBIDDEN, "Password or PIN is wrong";
    TooManyLogins: "too_many_logins", TOO_MANY_REQUESTS, "Too many wrong passwords";
    LoginsBusy: "logins_busy", TOO_MANY_REQUESTS, "Too many people log in at once";
    NoSessionOpened: "no_session_opened", INTERNAL_SERVER_ERROR, "The session could not be opened";
    GivenPassword: "given_password", FORBIDDEN, "Set a password of your own first";
    Confirm: "confirm", FORBIDDEN, "Say that it is still you";
    Role: "role", FORBIDDEN, "This role does not do that";
    Program: "program", FORBIDDEN, "A program does not do that";
    NoSession: "no_session", FORBIDDEN, "A program has no session";
    WholeCounty: "whole_county", FORBIDDEN, "This is for the whole county";
    OtherTownship: "other_township", FORBIDDEN, "This plan is of another township";

    NoAlert: "no_alert", NOT_FOUND, "There is no such thing";
    NoDevice: "no_device", NOT_FOUND, "There is no such thing";
    AlertOver: "alert_over", CONFLICT, "It is over";
    Acknowledged: "acknowledged", CONFLICT, "Somebody was first";
    Shelved: "shelved", CONFLICT, "Somebody was first";
    OutOfService: "out_of_service", CONFLICT, "Somebody was first";
    NotYours: "not_yours", CONFLICT, "Somebody else did it";
    NotShelved: "not_shelved", CONFLICT, "There is nothing to do";
    InService: "in_service", CONFLICT, "There is nothing to do";
    NotAsked: "not_asked", CONFLICT, "There is nothing to do";
    NotOfDevice: "not_of_device", CONFLICT, "There is nothing to do";
    AtTheTop: "at_the_top", CONFLICT, "There is nothing to do";
    NothingToUndo: "nothing_to_undo", CONFLICT, "There is nothing to do";
    ShelfOver: "shelf_over", BAD_REQUEST, "It may not be shelved so";
    ShelfTooLong: "shelf_too_long", BAD_REQUEST, "It may not be shelved so";
    SecondNeeded: "second_needed", BAD_REQUEST, "It may not be shelved so";
    Nobody: "nobody", BAD_REQUEST, "The request is not understood";
    MomentOver: "moment_over", BAD_REQUEST, "The request is not understood";
    WordsMissing: "words_missing", BAD_REQUEST, "The request is not understood";
    TextTooLong: "text_too_long", BAD_REQUEST, "The request is not understood";
    Named: "named", UNPROCESSABLE_ENTITY, "A patient's name must not stand there";

    NoPatient: "no_patient", NOT_FOUND, "There is no such thing";
    PatientChanged: "patient_changed", CONFLICT, "Somebody was first";
    Discharged: "discharged", BAD_REQUEST, "The request is not understood";
    OtherClinic: "other_clinic", BAD_REQUEST, "The request is not understood";
    Bound: "bound", CONFLICT, "Somebody was first";
    BindingEnded: "binding_ended", CONFLICT, "Somebody was first";
    ResultMoved: "result_moved", CONFLICT, "Somebody was first";
    ThereAlready: "there_already", BAD_REQUEST, "The request is not understood";
    Reason: "reason", BAD_REQUEST, "The request is not understood";
    LimitEnd: "limit_end", BAD_REQUEST, "The request is not understood";
    LimitRange: "limit_range", BAD_REQUEST, "The request is not understood";
    LimitsMax: "limits_max", BAD_REQUEST, "The request is not understood";
    NoRule: "no_rule", BAD_REQUEST, "The request is not understood";
    RuleOfOthers: "rule_of_others", BAD_REQUEST, "The request is not understood";
    LimitRefused: "limit_refused", BAD_REQUEST, "The request is not understood";
    TooMuch: "too_much", BAD_REQUEST, "The request is not understood";
    TwoBoxes: "two_boxes", BAD_REQUEST, "The request is not understood";

    PlanLong: "plan_long", BAD_REQUEST, "The request is not understood";
    PlanHours: "plan_hours", BAD_REQUEST, "The request is not understood";
    PlanPerson: "plan_person", BAD_REQUEST, "The request is not understood";
    PlanOverlap: "plan_overlap", BAD_REQUEST, "The request is not understood";

    PasswordLength: "password_length", BAD_REQUEST, "The request is not understood";
    SamePassword: "same_password", BAD_REQUEST, "The request is not understood";
    Pin: "pin", BAD_REQUEST, "The request is not understood";
    PersonName: "person_name", BAD_REQUEST, "The request is not understood";
    NoRole: "no_role", BAD_REQUEST, "The request is not understood";
    NameTaken: "name_taken", CONFLICT, "Somebody has this name";
    NoPerson: "no_person", NOT_FOUND, "There is no such thing";
    NothingPending: "nothing_pending", NOT_FOUND, "There is no such thing";
    RequestChanged: "request_changed", CONFLICT, "Somebody was first";
    Own: "own", FORBIDDEN, "Another administrator does that";

    NoVersion: "no_version", NOT_FOUND, "There is no such thing";
    NoPreview: "no_preview", NOT_FOUND, "There is no such thing";
    RuleMistakes: "rule_mistakes", UNPROCESSABLE_ENTITY, "The rule set has mistakes";
    NotApproved: "not_approved", CONFLICT, "It cannot be approved";
    PreviewBusy: "preview_busy", TOO_MANY_REQUESTS, "One at a time";
    PreviewFailed: "preview_failed", INTERNAL_SERVER_ERROR, "The preview failed";
}

impl Code {
    pub(crate) const fn name(self) -> &'static str {
        self.row().0
    }

    pub(crate) const fn status(self) -> StatusCode {
        self.row().1
    }

    pub(crate) const fn title(self) -> &'static str {
        self.row().2
    }
}
