// What became of the alerts of a week, by township: which rules and beds make noise.

import * as api from '../api.js';
import { h } from '../dom.js';
import { either, t } from '../i18n.js';
import { Page, table } from './page.js';
import { moment } from './words.js';

const percent = (value) => (value === null ? '–' : `${value} %`);

export class FiguresPage extends Page {
  static get key() {
    return 'figures';
  }

  static get prints() {
    return true;
  }

  static get actions() {
    return ['see_alerts'];
  }

  async fetch() {
    const [figures, rules] = await Promise.all([
      api.ask('/figures'), this.may('preview_rules') ? api.ask('/rules') : null,
    ]);
    return { ...figures, rules: rules?.rules.rules ?? [] };
  }

  fill() {
    const { from, to, townships } = this.answer;
    this.body.replaceChildren(
      h('p', { class: 'quiet' }, t('figures.of', { from: moment(from), to: moment(to) })),
      townships.length ? table(
        ['township', 'high', 'medium', 'low', 'rate', 'in_time', 'acted', 'rules', 'beds', 'devices']
          .map((name) => t(`figures.${name}`)),
        townships.map((one) => this.township(one)),
        t('pages.figures'),
      ) : h('p', { class: 'empty' }, t('figures.none')),
    );
  }

  /** What a rule says, where the person may read the rules. */
  ruleName(id) {
    const rule = this.answer.rules.find((one) => one.id === id);
    return rule ? either(rule.message_zh, rule.message_en) : id;
  }

  township(one) {
    const list = (items, name) => h('ul', { class: 'visits' },
      ...items.map((item) => h('li', {}, `${name(item)}:\u00a0${item.alerts}`)));
    const rate = one.alerts_per_monitored_day;
    return [
      one.township, one.alerts.high, one.alerts.medium, one.alerts.low,
      rate === null ? '–' : rate.toFixed(1),
      percent(one.acknowledged_in_time_percent), percent(one.acted_on_percent),
      list(one.noisy_rules, (item) => this.ruleName(item.rule)),
      list(one.noisy_beds, (item) => t('patient.bed', { bed: item.bed })),
      list(one.noisy_devices, (item) => item.device),
    ];
  }
}
