// A night on an invented ward, for the pictures: two clinics, six patients, everything that a nurse
// meets. Nobody is called so.

import * as make from './browser/fixtures.mjs';
import { morning, RULES } from './browser/office.mjs';

const HOUR_MS = 3_600_000;
const HZ = 250;

/** A second of a heart that beats `rate` times a minute, in µV. */
function beats(rate, fromMs) {
  const waves = [[0.18, 0.025, 120], [0.265, 0.01, -90], [0.29, 0.012, 1100], [0.32, 0.012, -220],
    [0.42, 0.026, 260]];
  return Array.from({ length: HZ }, (_, index) => {
    const beat = (((fromMs / 1000) + index / HZ) * rate) / 60;
    const phase = (beat % 1) * (60 / rate);
    return Math.round(waves.reduce((sum, [at, width, height]) => (
      sum + height * Math.exp(-(((phase - at) / width) ** 2) / 2)), 0));
  });
}

export class Night {
  /** Fills a scripted county; `role` is that of who looks. */
  constructor(county, role = 'nurse') {
    this.county = county;
    this.office = morning(county, role);
    this.patients();
    this.devices();
    this.numbers();
    if (role === 'system_admin') this.upkeep();
    else this.alerts();
  }

  patients() {
    const { county } = this;
    const [HEPING, DONGFENG] = [make.HEPING.clinic, make.DONGFENG.clinic];
    const key = (number) => `p-${String(number).padStart(32, '0')}`;
    county.patients = [
      ['张**', '1', HEPING, { age_months: 864, groups: ['elderly'], diabetes: true }],
      ['李**', '2', HEPING, { age_months: 768, sex: 'female' }],
      ['王**', '3', HEPING, { age_months: 108, groups: ['child'] }],
      ['陈**', '4', HEPING, { age_months: 348, sex: 'female', groups: ['pregnant'] }],
      ['赵**', '1', DONGFENG, { age_months: 972, groups: ['elderly'], sex: 'female' }],
    ].map(([name, bed, clinic, more], index) => make.patient(key(index + 1), name, bed, clinic, more));
    county.beds = [{ clinic: HEPING, bed: '5' }, { clinic: DONGFENG, bed: '2' }];
    const [own] = Object.keys(county.more).filter((path) => path.endsWith('/limits'));
    const some = county.more[own];
    county.more[`/patients/${county.patients[0].patient}/limits`] = some;
    [this.zhang, this.li, this.wang, this.chen, this.zhao] = county.patients;
  }

  devices() {
    const { county } = this;
    const device = (place, name, kind) => make.device(place, name, kind, county.ms);
    const [H, D] = [make.HEPING, make.DONGFENG];
    this.ecg = [county.monitor, device(H, 'heping-monitor-02', 'monitor'), device(H, 'heping-monitor-03', 'monitor')];
    this.pump = device(H, 'heping-pump-01', 'pump');
    this.strap = device(H, 'heping-oximeter-01', 'oximeter');
    this.meter = device(H, 'heping-glu-01', 'glucose_meter');
    county.devices.push(...this.ecg.slice(1), this.pump, this.strap, this.meter,
      device(D, 'dongfeng-pump-01', 'pump'));
    county.bindings = [];
    [[this.ecg[0], this.zhang], [this.ecg[1], this.li], [this.ecg[2], this.wang],
      [this.strap, this.chen], [this.pump, this.li], [this.meter, this.zhang],
      [county.oximeter, this.zhao],
    ].forEach(([of, patient]) => county.bind(of, patient.patient, patient.bed));
    const [heping, dongfeng] = county.sites;
    Object.assign(heping, { holds_s: 9 * 86_400 + 4 * 3_600 });
    const lost = (times, seconds) => ({ lost_24h: { times, seconds, at_least: false } });
    Object.assign(dongfeng, lost(3, 41 * 60));
    Object.assign(this.ecg[1], lost(7, 12 * 60));
    const second = { ...dongfeng, site: 'dongfeng-02' };
    Object.assign(dongfeng, { online: true, last_seen: make.at(county.ms), clock: 'synchronised' });
    county.sites.push(second);
  }

  numbers() {
    const { county, ecg } = this;
    const say = (of, values) => {
      Object.entries(values).forEach(([metric, value], index) => {
        const pressure = metric.startsWith('nibp');
        county.measure(of, metric, value, pressure ? { group: 'cuff', index, seq: county.ms } : {});
      });
    };
    say(ecg[0], { hr: '118', spo2: '94', rr: '24', nibp_sys: '186', nibp_dia: '104', nibp_mean: '131', temp: '37.9' });
    say(ecg[1], { hr: '96', spo2: '97', rr: '18', nibp_sys: '84', nibp_dia: '48', nibp_mean: '60', temp: '36.8' });
    say(ecg[2], { hr: '92', spo2: '98', rr: '22', temp: '38.6' });
    say(this.strap, { spo2: '96', hr: '88' });
    say(county.oximeter, { spo2: '82', hr: '101' });
    say(this.meter, { glucose: '3.4' });
  }

  alerts() {
    const { county, ecg } = this;
    const ago = (minutes) => county.ms - minutes * 60_000;
    const step = (level, seconds) => ({
      at: make.at(county.ms + seconds * 1000), level, person: level === 'second' ? '王' : '李',
    });
    const { clinic } = make.HEPING;
    const of = (patient, fields) => ({ patient: patient.patient, ...fields });
    this.low = county.raise(county.oximeter, 'high', of(this.zhao, {
      metric: 'spo2', value: '82', message_zh: '血氧极低', message_en: 'Very low oxygen saturation',
      limit: '< 85', started_ms: ago(1), clinic: make.DONGFENG.clinic, next_step: step('second', 12),
    }));
    county.raise(ecg[1], 'high', of(this.li, {
      metric: 'nibp_sys', value: '84', message_zh: '收缩压低', message_en: 'Systolic low', limit: '< 90',
      started_ms: ago(0.5), next_step: step('township_doctor', 90),
    }));
    county.raise(ecg[0], 'medium', of(this.zhang, {
      metric: 'nibp_sys', value: '186', message_zh: '收缩压≥180,请立即复测',
      message_en: 'Systolic ≥ 180, recheck now', limit: '≥ 180', started_ms: ago(2),
      next_step: step('second', 170),
    }));
    county.raise(this.meter, 'medium', of(this.zhang, {
      metric: 'glucose', value: '3.4', message_zh: '低血糖1级', message_en: 'Hypoglycaemia level 1',
      limit: '< 3.9', started_ms: ago(14), state: 'active_ack', condition: 'active_ack',
      acknowledged_by: 'wang', acknowledged_at: make.at(ago(12)), reason: 'at_bedside', owner: 'wang',
      timeline: [make.step('raised', ago(14), { detail: 'GLU-AD-L' }),
        make.step('acknowledged', ago(12), { by: 'wang', reason: 'at_bedside', note: '已给糖水' })],
    }));
    county.raise(this.pump, 'high', of(this.li, {
      metric: null, value: null, message_zh: '管路阻塞(下游)', message_en: 'Downstream occlusion', limit: null,
      started_ms: ago(31), state: 'cleared_unack', condition: 'cleared_unack', cleared_at: make.at(ago(28)),
    }));
    county.raise(ecg[2], 'low', of(this.wang, {
      metric: null, value: null, message_zh: '导联脱落,未在监护', message_en: 'Leads off, NOT monitored',
      limit: null, started_ms: ago(0.4), next_step: step('township_doctor', 28_700),
    }));
    county.raise(this.strap, 'medium', of(this.chen, {
      metric: 'spo2', value: '92', message_zh: '血氧低', message_en: 'Low oxygen saturation', limit: '< 94',
      started_ms: ago(9), state: 'shelved', condition: 'active_unack', shelved_by: 'li',
      shelved_until: make.at(county.ms + 6 * 60_000), shelf_reason: '正在吸氧',
    }));
    county.duty[0].township = clinic;
  }

  /** While the board was away: one that holds, one that is over, seen by somebody elsewhere. */
  meanwhile() {
    const { county, ecg } = this;
    county.raise(ecg[0], 'high', {
      patient: this.zhang.patient, metric: 'hr', value: '152', message_zh: '心率过快',
      message_en: 'Heart rate high', limit: '> 130', started_ms: county.ms - 12_000,
    });
    county.raise(ecg[1], 'medium', {
      patient: this.li.patient, metric: 'rr', value: '26', message_zh: '呼吸过快',
      message_en: 'Respiratory rate high', limit: '> 24', started_ms: county.ms - 20_000,
      state: 'closed', condition: 'closed', cleared_at: make.at(county.ms - 4_000),
    });
  }

  /** What an administrator is told in place of patients: boxes that need somebody. */
  upkeep() {
    const { county } = this;
    const low = (family, id, value, limit) => {
      const { message_zh, message_en } = RULES.rules.find((rule) => rule.id === id);
      county.raise({ site: 'county', clinic: null, device: 'heping-01' }, 'low', {
        metric: null, family, rules: [id], value, limit, message_zh, message_en,
      });
    };
    low('tech_cert', 'TECH-CERT', '10', '< 14');
    low('tech_storage', 'TECH-STORAGE', '9', '< 10');
  }

  /** The last 24 h of the drawer that is opened. */
  day() {
    const { county } = this;
    const [of] = this.ecg;
    // A point a minute, two hours of them late, one hour of them never.
    const points = (base, swing, most) => Array.from({ length: 24 * 60 }, (_, index) => {
      const ms = county.ms - (24 * 60 - index) * 60_000;
      const middle = Math.round(base + swing * Math.sin(index / 115) + (index % 5) / 2
        + Math.max(0, index - 1350) * swing * 0.03);
      const at = (more) => String(Math.min(most, middle + more));
      return {
        at: make.at(ms), min: at(-3), median: at(0), max: at(4),
        count: 60, backfilled: index > 500 && index < 620, doubted: false,
      };
    }).filter((_, index) => index < 700 || index > 760);
    county.series = [['hr', '/min', 84, 9, 300], ['spo2', '%', 95, -1, 100], ['rr', '/min', 17, 3, 100]]
      .map(([metric, unit, base, swing, most]) => ({
        site: of.site, device: of.device, channel: '', metric, unit, points: points(base, swing, most),
      }));
    const cuff = (hours, sys, dia) => ({
      readings: [['nibp_sys', sys], ['nibp_dia', dia]].map(([metric, value], index) => make.reading(
        of, metric, value, county.ms - hours * HOUR_MS, { group: `n${hours}`, index, patient: this.zhang.patient },
      )),
      moves: [],
    });
    county.results = [cuff(20, '152', '88'), cuff(12, '146', '84'), cuff(6, '158', '92'), cuff(0, '186', '104')];
    county.limits = [['HR-AD-H', '130', 'afraid of needles'], ['GLU-AD-DKA', '13.9', 'insulin changed']].map(([rule, value, reason], index) => ({
      id: index + 1, rule, off: false, applies: true, value, until: make.at(county.ms + 8 * HOUR_MS), reason,
      made_by: 'li', made_at: make.at(county.ms - HOUR_MS),
    }));
    county.news2 = null;
  }

  /** Seconds of ECG and of everything that streams, as they pass. */
  async pass(page, seconds) {
    const rates = [118, 96, 92];
    for (let second = 0; second < seconds; second += 1) {
      this.ecg.forEach((of, index) => this.county.wave(of, [
        make.block(of, beats(rates[index], this.county.ms - 1000), this.county.ms - 1000, { hz: HZ }),
      ]));
      await page.pass(1000);
    }
    this.numbers();
    await page.pass(1000);
  }
}
