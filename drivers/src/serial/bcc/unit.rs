//! Unit codes of the BCC protocol as UCUM units.
//!
//! Not here: codes that are neither an amount, nor a concentration, nor a dose rate (times,
//! lengths, electrical units); a value with one of those is no dose. Nor 91 to 93: three kinds of
//! carbohydrate exchange that the vendor prints alike, so that one cannot be told from another.

use model::units::Unit;

/// "Unit codes (INDCONU, INDORTU, …)", §8. 36 is printed as "IE/ml" by the vendor.
const CODES: &[(u8, &str)] = &[
    (1, "mL/h"),
    (2, "mL"),
    (15, "%"),
    (22, "kg"),
    (23, "ng"),
    (24, "mg"),
    (25, "ug"),
    (26, "g"),
    (27, "mmol"),
    (28, "meq"),
    (29, "[IU]"),
    (30, "ng/mL"),
    (31, "mg/mL"),
    (32, "ug/mL"),
    (33, "g/mL"),
    (34, "mmol/mL"),
    (35, "meq/mL"),
    (36, "[IU]/mL"),
    (37, "ng/kg"),
    (38, "mg/kg"),
    (39, "ug/kg"),
    (40, "g/kg"),
    (41, "mmol/kg"),
    (42, "meq/kg"),
    (43, "[IU]/kg"),
    (44, "ng/min"),
    (45, "ng/h"),
    (46, "ng/d"),
    (47, "mg/min"),
    (48, "mg/h"),
    (49, "mg/d"),
    (50, "ug/min"),
    (51, "ug/h"),
    (52, "ug/d"),
    (53, "g/min"),
    (54, "g/h"),
    (55, "g/d"),
    (56, "mmol/min"),
    (57, "mmol/h"),
    (58, "mmol/d"),
    (59, "meq/min"),
    (60, "meq/h"),
    (61, "meq/d"),
    (62, "[IU]/min"),
    (63, "[IU]/h"),
    (64, "[IU]/d"),
    (65, "ng/kg/min"),
    (66, "ng/kg/h"),
    (67, "ng/kg/d"),
    (68, "mg/kg/min"),
    (69, "mg/kg/h"),
    (70, "mg/kg/d"),
    (71, "ug/kg/min"),
    (72, "ug/kg/h"),
    (73, "ug/kg/d"),
    (74, "g/kg/min"),
    (75, "g/kg/h"),
    (76, "g/kg/d"),
    (77, "mmol/kg/min"),
    (78, "mmol/kg/h"),
    (79, "mmol/kg/d"),
    (80, "meq/kg/min"),
    (81, "meq/kg/h"),
    (82, "meq/kg/d"),
    (83, "[IU]/kg/min"),
    (84, "[IU]/kg/h"),
    (85, "[IU]/kg/d"),
    (89, "mmol/L"),
    (90, "mg/dL"),
    (97, "ng/m2"),
    (98, "ng/m2/min"),
    (99, "ng/m2/h"),
    (100, "ng/m2/d"),
    (101, "ug/m2"),
    (102, "ug/m2/min"),
    (103, "ug/m2/h"),
    (104, "ug/m2/d"),
    (105, "mg/m2"),
    (106, "mg/m2/min"),
    (107, "mg/m2/h"),
    (108, "mg/m2/d"),
    (109, "g/m2"),
    (110, "g/m2/min"),
    (111, "g/m2/h"),
    (112, "g/m2/d"),
    (113, "[IU]/m2"),
    (114, "[IU]/m2/min"),
    (115, "[IU]/m2/h"),
    (116, "[IU]/m2/d"),
    (117, "m[IU]"),
    (118, "m[IU]/mL"),
    (119, "m[IU]/kg"),
    (120, "m[IU]/m2"),
    (121, "m[IU]/min"),
    (122, "m[IU]/h"),
    (123, "m[IU]/d"),
    (124, "m[IU]/kg/min"),
    (125, "m[IU]/kg/h"),
    (126, "m[IU]/kg/d"),
    (127, "m[IU]/m2/min"),
    (128, "m[IU]/m2/h"),
    (129, "m[IU]/m2/d"),
    (130, "k[IU]"),
    (131, "k[IU]/mL"),
    (132, "k[IU]/kg"),
    (133, "k[IU]/h"),
    (134, "k[IU]/d"),
    (135, "k[IU]/kg/h"),
    (136, "k[IU]/kg/d"),
    (137, "M[IU]"),
    (138, "M[IU]/mL"),
    (139, "M[IU]/kg"),
    (140, "M[IU]/h"),
    (141, "M[IU]/d"),
    (142, "M[IU]/kg/h"),
    (143, "M[IU]/kg/d"),
    (144, "meq/m2"),
    (145, "meq/m2/min"),
    (146, "meq/m2/h"),
    (147, "meq/m2/d"),
    (148, "kcal"),
    (149, "kcal/kg"),
    (150, "kcal/mL"),
    (151, "kcal/d"),
    (152, "kcal/kg/d"),
    (153, "mL/kg"),
    (154, "mL/mL"),
    (155, "mL/kg/h"),
];

/// The unit with that code, as sent.
pub(super) fn unit(code: &str) -> Option<Unit> {
    let code: u8 = code.parse().ok()?;
    let (_, ucum) = CODES.iter().find(|(known, _)| *known == code)?;
    Unit::new(ucum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_specification() {
        let named = |code| unit(code).map(|unit| unit.to_string());
        for (code, ucum) in [
            ("1", "mL/h"),
            ("15", "%"),
            ("31", "mg/mL"),
            ("36", "[IU]/mL"),
            ("48", "mg/h"),
            ("71", "ug/kg/min"),
            ("72", "ug/kg/h"),
            ("90", "mg/dL"),
            ("102", "ug/m2/min"),
            ("124", "m[IU]/kg/min"),
            ("155", "mL/kg/h"),
        ] {
            assert_eq!(named(code).as_deref(), Some(ucum), "{code}");
        }
        for none in ["0", "3", "14", "91", "92", "93", "156", "157", "256", "x", "", "_NV"] {
            assert_eq!(named(none), None, "{none}");
        }
    }

    #[test]
    fn every_unit_is_one() {
        assert!(CODES.iter().all(|(_, ucum)| Unit::new(ucum).is_some()));
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
