// The one place where the tests' sites, devices, readings and alerts are made.

export const HEPING = { site: 'heping-01', clinic: '和平镇卫生院' };
export const DONGFENG = { site: 'dongfeng-01', clinic: '东风乡卫生院' };

/** What roles do, as far as the board asks. */
export const MAY = {
  nurse: ['see_sites', 'see_readings', 'see_alerts', 'act_on_alerts', 'see_names', 'write_patients',
    'care_for_patients', 'reassign_readings', 'set_limits', 'preview_rules', 'read_ledger'],
  doctor: ['see_sites', 'see_readings', 'see_alerts', 'act_on_alerts', 'see_names', 'write_patients',
    'care_for_patients', 'reassign_readings', 'set_limits', 'preview_rules', 'change_duty',
    'edit_rules', 'approve_rules', 'read_ledger'],
  engineer: ['see_sites', 'see_readings', 'see_alerts', 'edit_rules', 'preview_rules', 'read_ledger'],
  kiosk: ['see_sites', 'see_readings', 'see_alerts', 'read_ledger'],
  system_admin: ['see_sites', 'see_service_alerts', 'see_people', 'add_people', 'confirm_rights',
    'read_ledger'],
  security_admin: ['see_sites', 'see_service_alerts', 'see_people', 'manage_people'],
  audit_admin: ['see_service_alerts', 'see_people', 'confirm_rights', 'read_audit'],
};

/** Rules of an adult. */
export const RULED = {
  version: '7', populations: ['adult'], classes: ['glucose', 'hr', 'nibp_dia', 'nibp_sys', 'rr', 'spo2', 'temp'],
};

export const LIMITS = [
  ['HR-AD-LL', 'hr', '<', '40', 'high'], ['HR-AD-H', 'hr', '>', '120', 'medium'],
  ['SPO2-AD-LL', 'spo2', '<', '85', 'high'],
  ['GLU-AD-DKA', 'glucose', '≥', '11.1', 'high', {
    class: 'ketone', op: '≥', value: '3', within_s: 3600,
  }],
].map(([rule, name, op, value, priority, also = null]) => ({
  rule, class: name, op, value, priority, also,
}));

/** As the catalogue of metrics calls them: nurses have words of their own for most. */
const METRICS = [
  ['hr', '心率', 'Heart rate (ECG)', 'hr', 'stream', 0, '/min'],
  ['pulse_oxim', '脉率(血氧)', 'Pulse rate from oximeter', 'hr', 'stream', 0, '/min'],
  ['spo2', '血氧饱和度', 'SpO2 (pulse oximetry)', 'spo2', 'stream', 0, '%'],
  ['rr', '呼吸频率', 'Respiratory rate, method not stated', 'rr', 'stream', 0, '/min'],
  ['nibp_sys', '收缩压', 'NIBP systolic', 'nibp_sys', 'spot', 0, 'mm[Hg]'],
  ['nibp_dia', '舒张压', 'NIBP diastolic', 'nibp_dia', 'spot', 0, 'mm[Hg]'],
  ['nibp_mean', '平均压', 'NIBP mean', 'nibp_mean', 'spot', 0, 'mm[Hg]'],
  ['nibp', '无创血压', 'NIBP compound', 'nibp', 'spot', null, null],
  ['temp', '体温', 'Temperature, site not stated', 'temp', 'spot', 1, 'Cel'],
  ['glucose', '血糖', 'Blood glucose', 'glucose', 'spot', 1, 'mmol/L'],
  ['ketone', '血酮', 'Blood ketone', 'ketone', 'spot', 1, 'mmol/L'],
  ['pump_drug', '药物名称', 'Drug label on the pump', 'pump_drug', 'state', null, null],
  ['batt_pct', '电池电量', 'Battery charge', 'batt_pct', 'stream', 0, '%'],
  ['weight', '体重', 'Body weight', 'weight', 'spot', 1, 'kg'],
  ['ecg_wave_ii', '心电波形 II', 'ECG waveform lead II', 'ecg_wave', 'wave', null, 'mV'],
  ['ecg_wave', '心电波形(导联不详)', 'ECG waveform, lead not stated', 'ecg_wave', 'wave', null, 'mV'],
  ['ecg_wave_i', '心电波形 I', 'ECG waveform lead I', 'ecg_wave', 'wave', null, 'mV'],
];

export const catalogue = METRICS.map((fields) => Object.fromEntries(
  ['metric', 'name_zh', 'name_en', 'class', 'kind', 'decimals', 'canonical_unit']
    .map((name, index) => [name, fields[index]]),
));
const unitOf = (metric) => catalogue.find((one) => one.metric === metric).canonical_unit;

export const at = (ms) => new Date(ms).toISOString();

export function site(place, nowMs) {
  return {
    ...place,
    time_zone: 'Asia/Shanghai',
    online: true,
    last_seen: at(nowMs),
    agent_version: '0.1.0',
    clock: 'synchronised',
    clock_evidence: 'ntp',
    clock_changes: [],
    outbox: '00000000000000000000000000000001',
    backlog: { urgent: 0, trend: 0, wave: 0 },
    holds_s: null,
    replay: null,
    lost_24h: { times: 0, seconds: 0, at_least: false },
    late: null,
  };
}

export function device(place, name, kind, nowMs) {
  return {
    ...place,
    device: name,
    kind,
    driver: 'json-lines',
    state: 'online',
    state_reason: '',
    about: {},
    changed_at: at(nowMs),
    last_observed: at(nowMs),
    latest: [],
    actions: [],
    lost_24h: { times: 0, seconds: 0, at_least: false },
    out_of_service: null,
    expected_interval_ms: null,
  };
}

let seq = 0;

/** A reading of a device as it was just measured; `fields` say what is otherwise. */
export function reading(of, metric, value, nowMs, fields = {}) {
  seq += 1;
  const moment = at(nowMs);
  return {
    site: of.site,
    device: of.device,
    channel: '',
    group: null,
    metric,
    value,
    comparator: null,
    unit: unitOf(metric),
    canonical_value: value,
    canonical_unit: unitOf(metric),
    no_data: null,
    validity: 'valid',
    context: {},
    device_time: null,
    observed_time: moment,
    placed_time: moment,
    received_time: moment,
    measured_time: moment,
    time_suspect: false,
    freshness: 'fresh',
    backfilled: false,
    device_seq: null,
    duplicate_of: null,
    patient: null,
    bound_patient: null,
    outbox: '00000000000000000000000000000001',
    lane: 'trend',
    seq,
    index: 0,
    ...fields,
  };
}

/** A second of an ECG lead or so; without a scale nobody verified how tall a millivolt is. */
export function block(of, samples, startMs, { hz = 250, scale = '0.001', ...fields } = {}) {
  return {
    site: of.site,
    device: of.device,
    channel: '',
    metric: 'ecg_wave_ii',
    start: at(startMs),
    box_start: at(startMs),
    period: { num: 1, den: hz },
    scale,
    offset: scale === null ? null : 0,
    unit: scale === null ? null : 'mV',
    samples,
    flags: [],
    ...fields,
  };
}

const WORDS = {
  hr: ['心率过快', 'Heart rate high', '150', '> 130'],
  spo2: ['血氧过低', 'Oxygen saturation low', '82', '< 85'],
  rr: ['呼吸过慢', 'Respiratory rate low', '6', '< 8'],
  glucose: ['血糖过高', 'Blood glucose high', '17.2', '> 16.7'],
  nibp_sys: ['收缩压≥180,请立即复测', 'Systolic ≥180, recheck now', '186', '≥ 180'],
};
let last = 0;

/** An alert that was just raised; `fields` say what is otherwise. */
export function alert(of, priority, nowMs, fields = {}) {
  last += 1;
  const { metric = 'spo2' } = fields;
  const [zh, en, value, limit] = WORDS[metric] ?? ['设备无数据', 'Device silent', null, null];
  return {
    id: last.toString(16).padStart(32, '0'),
    family: `${metric ?? 'tech'}_${last}`,
    rules: [metric ? `${metric.toUpperCase()}-1` : 'TECH-SILENT'],
    priority,
    state: 'active_unack',
    condition: 'active_unack',
    site: of.site,
    clinic: of.clinic,
    device: of.device,
    patient: null,
    metric,
    value,
    comparator: null,
    unit: metric ? unitOf(metric) : null,
    limit,
    message_zh: zh,
    message_en: en,
    started_at: at(nowMs),
    raised_at: at(nowMs),
    cleared_at: null,
    acknowledged_by: null,
    acknowledged_at: null,
    reason: null,
    owner: null,
    assigned_to: null,
    shelved_by: null,
    shelved_until: null,
    shelf_reason: null,
    suppressed_by: null,
    escalation_level: 'first',
    next_step: null,
    realarm_count: 0,
    retro: false,
    quiet: false,
    late_row: null,
    asks_danger_signs: false,
    danger_signs: null,
    time_suspect: false,
    recheck_at: null,
    not_rechecked: false,
    recurrences: 0,
    revision: 1,
    timeline: [step('raised', nowMs, { detail: 'SPO2-1' })],
    ...fields,
  };
}

/** A line of an alert's story. */
export function step(what, nowMs, fields = {}) {
  return {
    at: at(nowMs), what, by: null, detail: '', reason: null, note: '', to: null, until: null, ...fields,
  };
}

export function patient(key, name, bed, clinic, fields = {}) {
  return {
    patient: key,
    name,
    clinic,
    bed,
    born: '1956-03',
    sex: 'male',
    monitored: true,
    cuff_on_other_limb: false,
    elderly: false,
    hypertension: false,
    diabetes: false,
    pregnancy: null,
    scale2: null,
    appointment: null,
    age_months: 848,
    groups: [],
    pregnant_until: null,
    discharged_at: null,
    version: 1,
    changed_by: 'li',
    changed_at: '2026-11-25T00:00:00Z',
    ruled: RULED,
    ...fields,
  };
}

export function binding(of, patient, bed, id, nowMs) {
  return {
    id,
    site: of.site,
    device: of.device,
    patient,
    bed,
    from: at(nowMs),
    until: null,
    version: id,
    made_by: 'li',
    made_at: at(nowMs),
    reason: 'put on',
    ended_by: null,
    ended_at: null,
    ended_reason: null,
  };
}
