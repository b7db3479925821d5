// Which tiles there are, and in which order: places of patients and beds, then devices that are on
// nobody. Pure.

const collator = new Intl.Collator('zh-CN', { numeric: true });

/** Names as people count them: bed 9 before bed 10. */
export function compareNames(a, b) {
  if (a === b) return 0;
  return collator.compare(a, b) || (a < b ? -1 : 1);
}

/**
 * Tiles by township, then bed; what has no bed comes after, devices on nobody come last.
 * `devices` are `{site, device, clinic}`, `bindings` the open ones, `beds` `{clinic, bed}`.
 * A place is `{key, kind, clinic, bed, patient, devices}`; `kind` is `patient`, `bed` (a device
 * stands there without a patient), `empty` or `device`; `devices` are those of the list.
 */
export function placesOf({
  devices, patients, bindings, beds = [],
}) {
  const places = new Map();
  const byDevice = new Map(bindings.map((one) => [`${one.site}:${one.device}`, one]));
  const byKey = new Map(patients.map((patient) => [patient.patient, patient]));
  const put = (key, facts) => {
    if (!places.has(key)) places.set(key, { key, devices: [], ...facts });
    return places.get(key);
  };
  const ofPatient = (patient, bed = null) => put(patient.patient, {
    kind: 'patient', clinic: patient.clinic, bed: patient.bed || bed, patient: patient.patient,
  });
  for (const patient of patients) if (patient.bed && !patient.discharged_at) ofPatient(patient);
  for (const device of devices) {
    const clinic = device.clinic || device.site;
    const binding = byDevice.get(`${device.site}:${device.device}`);
    const patient = binding && byKey.get(binding.patient);
    let place;
    if (patient) place = ofPatient(patient, binding.bed);
    else if (binding && binding.bed) {
      place = put(`bed/${clinic}/${binding.bed}`, {
        kind: 'bed', clinic, bed: binding.bed, patient: null,
      });
    } else {
      place = put(`${device.site}:${device.device}`, {
        kind: 'device', clinic, bed: '', patient: null,
      });
    }
    place.devices.push(device);
  }
  const taken = new Set([...places.values()].map((place) => `${place.clinic}/${place.bed}`));
  for (const { clinic, bed } of beds) {
    if (taken.has(`${clinic}/${bed}`)) continue;
    put(`bed/${clinic}/${bed}`, {
      kind: 'empty', clinic, bed, patient: null,
    });
  }
  const all = [...places.values()];
  for (const place of all) place.devices.sort(compareInTile);
  return all.sort(comparePlaces);
}

/** The kinds of devices by how soon somebody must see them. */
const KINDS = [
  'monitor', 'ecg_strap', 'oximeter', 'pump', 'cuff', 'thermometer', 'glucose_meter', 'scale',
];

function compareInTile(a, b) {
  return KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || compareNames(a.device, b.device);
}

function comparePlaces(a, b) {
  const last = (place) => Number(place.kind === 'device') * 2 + Number(!place.bed);
  return compareNames(a.clinic, b.clinic) || last(a) - last(b)
    || compareNames(a.bed || '', b.bed || '') || compareNames(a.key, b.key);
}

/** Tags of the rules a patient has: pregnant, child, elderly, else adult. */
export function ruleTags(patient) {
  const groups = patient?.groups || [];
  const tags = ['pregnant', 'child', 'elderly'].filter((group) => groups.includes(group));
  return groups.includes('child') || tags.length ? tags : ['adult'];
}

/** An age in years, of the smallest in months; `null` where nobody knows. */
export function ageParts(months) {
  if (months === null || months === undefined) return null;
  return months < 24 ? { unit: 'months', n: months } : { unit: 'years', n: Math.floor(months / 12) };
}

/**
 * Whether a value is looked at by no rule: `ruled` is what the county says of a patient,
 * `classes` are those of the numbers that are shown together.
 */
export function isWithoutRule(classes, ruled) {
  const known = classes.filter(Boolean);
  return Boolean(ruled) && known.length > 0
    && !known.some((name) => ruled.classes.includes(name));
}

/**
 * The places whose tiles are drawn next: who waits already comes first, as it is now. A slow computer
 * that never gets through all of them would else draw the first again and again, and an old number
 * would stay in the last as if it were live.
 */
export function inTurn(waiting, wanted, places) {
  const present = new Map(places.map((place) => [place.key, place]));
  const keys = new Set([...waiting, ...wanted].map((place) => place.key));
  return [...keys].map((key) => present.get(key)).filter(Boolean);
}
