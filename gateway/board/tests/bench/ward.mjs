// Two hundred beds at the scripted county, in real time: what they say, and what happens to them.

import { County } from '../browser/county.mjs';
import * as make from '../browser/fixtures.mjs';
import { morning } from '../browser/office.mjs';

const BEDS = 200;
const CLINICS = 20;
const HZ = 250;
const DAY_MS = 24 * 3_600_000;
/** Alerts that are open at the same time. */
const ALERTS = 30;
const CLINIC_NAMES = '和平 东风 新华 红旗 胜利 解放 建设 光明 前进 团结'.split(' ');
const FAMILY_NAMES = '王李张刘陈杨赵黄周吴'.split('');
/** What an adult says in bed, and by how much it swings. */
const SAYS = [
  ['hr', 78, 6], ['spo2', 97, 2], ['rr', 16, 3], ['nibp_sys', 128, 9], ['nibp_dia', 76, 6],
  ['temp', 36.8, 0.3],
];
/** The last ones are said when a cuff or probe was used. */
const STREAMS = 3;
const SPOT_EVERY_S = 600;

export class Ward {
  static async start() {
    const county = await County.start();
    return new Ward(county);
  }

  constructor(county) {
    // Its clock is the computer's.
    Object.defineProperty(county, 'ms', { get: () => Date.now(), set() {} });
    morning(county);
    Object.assign(this, { county, second: 0, spoken: 0 });
    const places = Array.from({ length: CLINICS }, (_, index) => ({
      site: `clinic-${index + 1}`,
      clinic: `${CLINIC_NAMES[index % 10]}${index < 10 ? '镇' : '乡'}卫生院`,
    }));
    county.sites = places.map((place) => make.site(place, county.ms));
    this.monitors = Array.from({ length: BEDS }, (_, index) => (
      make.device(places[index % CLINICS], `monitor-${index + 1}`, 'monitor', county.ms)));
    county.devices = this.monitors;
    county.patients = this.monitors.map((of, index) => make.patient(
      (index + 1).toString(16).padStart(32, '0'), `${FAMILY_NAMES[index % 10]}*`,
      String(Math.floor(index / CLINICS) + 1), of.clinic, { groups: index % 3 ? [] : ['elderly'] },
    ));
    county.bindings = this.monitors.map((of, index) => (
      make.binding(of, county.patients[index].patient, null, index + 1, county.ms)));
    county.beds = county.patients.map(({ clinic, bed }) => ({ clinic, bed }));
    county.series = this.monitors.slice(0, 1).flatMap((of) => SAYS.slice(0, STREAMS)
      .map(([metric, middle, swing]) => this.day(of, metric, middle, swing)));
    this.monitors.forEach((_, index) => this.latest(index, SAYS));
  }

  /** A trend of a day, minute by minute. */
  day(of, metric, middle, swing) {
    const begin = Math.floor((this.county.ms - DAY_MS) / 60_000) * 60_000;
    const points = Array.from({ length: 1440 }, (_, minute) => {
      const median = Math.round(middle + swing * Math.sin(minute / 40));
      return {
        at: make.at(begin + minute * 60_000),
        min: String(median - 2),
        median: String(median),
        max: String(median + 2),
        count: 60,
        backfilled: false,
        doubted: false,
      };
    });
    return {
      site: of.site, device: of.device, channel: '', metric, unit: '/min', points,
    };
  }

  /** What a monitor measures now. */
  latest(index, says) {
    const of = this.monitors[index];
    const { patient } = this.county.patients[index];
    const readings = says.map(([metric, middle, swing]) => {
      const value = middle + swing * Math.sin(this.second / 7 + index);
      const text = metric === 'temp' ? value.toFixed(1) : String(Math.round(value));
      const group = metric.startsWith('nibp') ? `${index}-${this.second}` : null;
      return make.reading(of, metric, text, this.county.ms, {
        patient, bound_patient: patient, group,
      });
    });
    const said = new Set(says.map(([metric]) => metric));
    of.latest = [...of.latest.filter(({ metric }) => !said.has(metric)), ...readings];
    return readings;
  }

  /** All beds once: a word of each clinic, spread over `ms`. */
  async speak(ms) {
    const began = Date.now();
    this.second += 1;
    for (let clinic = 0; clinic < CLINICS; clinic += 1) {
      const readings = [];
      for (let index = clinic; index < BEDS; index += CLINICS) {
        const spot = (this.second + index) % SPOT_EVERY_S === 0;
        readings.push(...this.latest(index, spot ? SAYS : SAYS.slice(0, STREAMS)));
      }
      this.spoken += readings.length;
      this.county.say('reading', { readings });
      await until(began + (ms * (clinic + 1)) / CLINICS);
    }
    this.county.asked = [];
  }

  /** A second of ECG of a bed: spikes and waves, so that the pen has something to draw. */
  wave(index) {
    const of = this.monitors[index];
    const samples = Array.from({ length: HZ }, (_, at) => {
      const phase = ((at + HZ * this.second) % 200) / 200;
      const spike = Math.exp(-(((phase - 0.3) / 0.012) ** 2)) * 1100;
      return Math.round(spike + 120 * Math.exp(-(((phase - 0.55) / 0.05) ** 2)));
    });
    this.county.wave(of, [make.block(of, samples, this.county.ms - 1000, { hz: HZ })]);
  }

  /** An alert begins, and the oldest ends where there are enough. */
  raise() {
    const { alerts, patients } = this.county;
    const index = (this.second * 17) % BEDS;
    const priority = ['medium', 'low', 'high'][this.second % 3];
    this.county.raise(this.monitors[index], priority, {
      patient: patients[index].patient, metric: ['spo2', 'hr', 'rr'][this.second % 3],
    });
    if (alerts.size <= ALERTS) return;
    const [oldest] = alerts.keys();
    const cleared = { cleared_at: make.at(this.county.ms) };
    this.county.change(oldest, { ...cleared, state: 'cleared_unack', condition: 'cleared_unack' });
    this.county.change(oldest, { state: 'closed', condition: 'closed' });
    alerts.delete(oldest);
  }
}

export function until(ms) {
  return new Promise((done) => {
    setTimeout(done, Math.max(0, ms - Date.now()));
  });
}
