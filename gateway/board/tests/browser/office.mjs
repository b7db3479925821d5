// What the pages beside the board show: an invented county on a morning.

import { readFileSync } from 'node:fs';
import * as make from './fixtures.mjs';

export const RULES = JSON.parse(readFileSync(
  new URL('../../../../configs/rules/default.json', import.meta.url), 'utf8',
));
const HOUR_MS = 3_600_000;

/** Puts a morning's work into a scripted county, for somebody of that role. */
export function morning(county, role = 'nurse') {
  county.people = { li: role, wang: 'nurse' };
  const at = (hours) => make.at(county.ms - hours * HOUR_MS);
  const [first, second] = [
    make.patient('p1'.padEnd(32, '0'), '张*', '1', make.HEPING.clinic, { groups: ['elderly'] }),
    make.patient('p2'.padEnd(32, '0'), '李*', '2', make.HEPING.clinic),
  ];
  county.patients = [first, second];
  const cuff = make.device(make.HEPING, 'heping-bp-01', 'cuff', county.ms - HOUR_MS);
  county.devices.push(cuff);
  county.bindings = [bound(county.monitor, first, at(20))];
  const [away] = county.sites.slice(1);
  Object.assign(away, {
    online: false, last_seen: at(3), holds_s: 9 * 86_400 + 4 * 3_600, clock: 'holding_over',
  });
  const pressure = ['nibp_sys', 'nibp_dia'].map((metric, index) => make.reading(
    cuff, metric, ['186', '112'][index], county.ms - HOUR_MS, { group: 'g1', index },
  ));
  county.waiting = [{
    ...make.HEPING,
    device: cuff.device,
    measured_time: at(1),
    readings: pressure,
    candidates: [{
      patient: first.patient, name: first.name, bed: first.bed, why: ['appointment', 'last_reading'],
    }],
  }];
  const lane = (name, missing) => ({
    site: make.HEPING.site, outbox: '1'.padStart(32, '0'), in_use: true, lane: name, watermark: 1,
    highest: 9, ranges: [[1, 1]], gaps: [], dropped: [], quarantined: [], waiting: 12, missing,
  });
  county.more = {
    '/tray': () => ({ waiting: county.waiting, next_cursor: null }),
    '/followup': () => ({
      target_set: RULES.meta.version,
      targets: [{ rule: 'FU-BP-S', message_zh: '收缩压未达标', message_en: 'Systolic off target' }],
      people: [{
        patient: first.patient,
        name: first.name,
        age_months: first.age_months,
        sex: first.sex,
        clinic: first.clinic,
        groups: ['elderly'],
        programme: 'hypertension',
        since: at(24 * 20),
        refer_by: at(24 * 6),
        overdue: true,
        visits: ['2026-11-06', '2026-10-09'].map((day) => ({
          day, missed: ['FU-BP-S'], readings: pressure,
        })),
      }],
      once: [{
        patient: 'f00d',
        name: '赵**',
        age_months: 762,
        sex: 'female',
        clinic: first.clinic,
        groups: [],
        programme: 'hypertension',
        since: null,
        refer_by: null,
        overdue: false,
        visits: [{ day: '2026-11-20', missed: ['FU-BP-S'], readings: pressure }],
      }],
    }),
    '/ledger': () => ({
      county: { generation: '4f2c61d80a9e7b35', copied_at: null, restored_at: null },
      outboxes: [lane('urgent', []), lane('trend', [
        { first: 2, last: 3, state: 'gap', cause: 'awaited', since: at(2), until: null },
        { first: 5, last: 8, state: 'dropped', cause: 'outbox_full', since: at(9), until: at(8) },
      ])],
      aside: [],
      aside_left_out: 0,
    }),
    '/figures': () => ({
      from: at(168), to: at(0), townships: [township(make.HEPING.clinic), township(make.DONGFENG.clinic)],
    }),
    '/rules': () => ({
      live: 1,
      rules: RULES,
      versions: [
        version(2, { author: 'zhao', created_at: at(5), note: '心率上限 125' }),
        version(1, { live: true, approved_by: 'zhao', approved_at: at(200), created_at: at(201) }),
      ],
    }),
    '/people': () => ({
      people: [
        person('wang', 'nurse', [make.HEPING.clinic]),
        { ...person('zhao', 'nurse', null), pending: county.pending ?? null, pending_password: county.pendingPassword },
        { ...person('chen', null, null), disabled: true },
        person('qian', null, null),
      ],
    }),
    '/tokens': () => ({
      tokens: [{
        id: 'ab12cd34', name: 'export', role: 'engineer', clinics: null, created_at: at(500),
        last_used_at: at(1), revoked_at: null, made_by: 'sun', pending_until: null,
      }],
    }),
    '/audit': () => ({
      entries: [1, 2].map((id) => ({
        id, at: at(3 - id), who: 'wang', action: 'acknowledge', what: '0'.repeat(32),
        detail: { reason: 'at_bedside' }, hash: 'ab'.repeat(32), body: '[1]',
      })),
      next_cursor: null,
    }),
    '/audit/head': () => ({ id: 2, hash: 'ab'.repeat(32) }),
    [`/patients/${first.patient}/limits`]: () => ({
      limits: [{
        id: 1, rule: 'HR-AD-H', off: false, applies: true, value: '130', until: make.at(county.ms + 5 * HOUR_MS),
        reason: '医生要求', made_by: 'zhao', made_at: at(2),
      }],
    }),
  };
  county.duty = [{
    township: make.HEPING.clinic,
    shifts: [
      { level: 'first', from_hour: 72, until_hour: 96, person: 'wang' },
      { level: 'township_doctor', from_hour: 0, until_hour: 168, person: 'zhao' },
    ],
  }];
  return { first, second, cuff };
}

function bound(of, patient, from) {
  return {
    id: 1, site: of.site, device: of.device, patient: patient.patient, bed: patient.bed, from,
    until: null, version: 1, made_by: 'li', made_at: from, reason: '入院', ended_by: null,
    ended_at: null, ended_reason: null,
  };
}

function township(name) {
  return {
    township: name,
    alerts: {
      all: 39, high: 3, medium: 14, low: 22,
    },
    patient_days: 14,
    of_patients: 30,
    alerts_per_patient_day: 2.1,
    monitored_days: 10,
    of_monitored: 25,
    alerts_per_monitored_day: 2.5,
    device_days: 21,
    of_devices: 10,
    alerts_per_device_day: 1.9,
    to_answer: 17,
    acknowledged_in_time_percent: 88,
    acted_on_percent: 70,
    retro: 1,
    late: 0,
    noisy_rules: [{ rule: 'SPO2-AD-L', alerts: 9 }],
    noisy_beds: [{ bed: '3', alerts: 11 }],
    noisy_devices: [{ site: 'heping-01', device: 'heping-monitor-01', alerts: 12 }],
  };
}

function version(number, fields) {
  return {
    version: number, live: false, sha256: 'ab'.repeat(32), author: 'program', created_at: null,
    note: '', approved_by: null, approved_at: null, ...fields,
  };
}

function person(name, role, clinics) {
  return {
    name, role, clinics, disabled: false, pending: null, pending_password: null, sessions: 1,
  };
}
