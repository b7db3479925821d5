// Who is on duty: by township, level and hour of the week. A doctor changes it.

import * as api from '../api.js';
import * as clock from '../clock.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import {
  Page, choice, field, form, table,
} from './page.js';

const LEVELS = ['first', 'second', 'township_doctor', 'county_on_call'];
const WEEK_H = 168;
/** The week of the duty plan is the county's; 1970 began on a Thursday. */
const ZONE_MS = 8 * 3_600_000;
const MONDAY_H = 72;

/** The hour of the week, 0 on Monday at 0:00 in Asia/Shanghai. */
export function hourOfWeek(ms) {
  return (Math.floor((ms + ZONE_MS) / 3_600_000) + MONDAY_H) % WEEK_H;
}

export class DutyPage extends Page {
  static get key() {
    return 'duty';
  }

  static get actions() {
    return ['see_alerts'];
  }

  async fetch() {
    const [duty, sites] = await Promise.all([api.ask('/duty'), api.sites()]);
    const clinics = [...new Set(sites.sites.map((site) => site.clinic).filter(Boolean))];
    return { plans: duty.plans, clinics };
  }

  fill() {
    const hour = hourOfWeek(clock.serverNow());
    const { plans, clinics } = this.answer;
    const names = [...clinics, null];
    this.body.replaceChildren(
      h('p', { class: 'quiet' }, t('duty.explain')),
      ...names.map((township) => this.plan(
        township, plans.find((plan) => plan.township === township) || { township, shifts: [] }, hour,
      )),
    );
  }

  plan(township, plan, hour) {
    const rows = plan.shifts.map((shift) => {
      const now = hour >= shift.from_hour && hour < shift.until_hour;
      return [t(`level.${shift.level}`), this.hours(shift),
        h('strong', {}, shift.person), now ? t('duty.now') : ''];
    });
    return h('section', { class: 'page-card', 'data-township': township || '' },
      h('h3', {}, township || t('duty.county')),
      rows.length ? table(['level', 'hours', 'person', 'present'].map((one) => t(`duty.${one}`)), rows,
        township || t('duty.county')) : h('p', { class: 'empty' }, t('duty.none')),
      this.may('change_duty') ? this.editor(township, plan) : null);
  }

  hours({ from_hour: from, until_hour: until }) {
    const at = (hour) => t('duty.at', {
      day: t(`duty.day.${Math.floor(hour / 24) % 7}`), hour: String(hour % 24).padStart(2, '0'),
    });
    return from === 0 && until === WEEK_H ? t('duty.always') : `${at(from)} – ${at(until)}`;
  }

  /** One shift more, or one less; the plan is sent whole. */
  editor(township, plan) {
    const save = (shifts) => this.act(() => api.tell('PUT', '/duty', { township, shifts }));
    const days = [0, 1, 2, 3, 4, 5, 6].map((day) => [String(day * 24), t(`duty.day.${day}`)]);
    const number = (name, value, max) => h('input', {
      name, type: 'number', min: 0, max, value, required: true,
    });
    const remove = plan.shifts.map((shift, index) => h('button', {
      type: 'button',
      onclick: () => save(plan.shifts.filter((_, at) => at !== index)),
    }, t('duty.remove', { person: shift.person, hours: this.hours(shift) })));
    return this.fold(`duty ${township ?? ''}`, {}, t('duty.change'), ...remove,
      form((element) => {
        const fields = new FormData(element);
        const hour = (day, at) => Number(fields.get(day)) + Number(fields.get(at));
        return save([...plan.shifts, {
          level: fields.get('level'),
          person: fields.get('person').trim(),
          from_hour: hour('from_day', 'from_hour'),
          until_hour: hour('until_day', 'until_hour'),
        }]);
      },
      field(t('duty.level'), choice(LEVELS.map((level) => [level, t(`level.${level}`)]), 'first', { name: 'level' })),
      field(t('duty.person'), h('input', { name: 'person', maxlength: 64, required: true })),
      field(t('duty.from'), h('span', {}, choice(days, '0', { name: 'from_day' }), number('from_hour', 8, 23))),
      field(t('duty.until'), h('span', {}, choice(days, '0', { name: 'until_day' }), number('until_hour', 20, 24))),
      h('button', { class: 'primary' }, t('duty.add'))));
  }
}
