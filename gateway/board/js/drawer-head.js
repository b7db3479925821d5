// Who it is: bed, masked name (whole for half a minute), age, rules, early warning score.

import * as api from './api.js';
import * as clock from './clock.js';
import {
  giveWay, h, put, set,
} from './dom.js';
import { nobody } from './alert-words.js';
import { shortTime, wordOf } from './format.js';
import { either, t } from './i18n.js';
import { may, store } from './store.js';
import { drawTags } from './tile.js';
import { aboutText } from './who.js';

export const REVEALED_MS = 30_000;
/** The county counts it anew each time that it is asked, which is each minute. */
const SCORE_OLD_MS = 120_000;

export class DrawerHead {
  constructor({ isLost, onProblem }) {
    Object.assign(this, { isLost, onProblem });
    this.revealed = null;
    const span = (name) => h('span', { class: name });
    [this.bed, this.name, this.about, this.tags, this.rules] = [
      'bed', 'name', 'about', 'tags', 'rules',
    ].map(span);
    // It has the focus while it is whole and what was pressed for it is gone.
    set(this.name, 'tabindex', '-1');
    this.score = h('span', { class: 'news2' });
    this.reveal = h('button', { class: 'reveal', onclick: () => this.unmask() });
    this.element = h('header', { class: 'drawer-head' },
      h('h2', {}, this.bed, this.name), this.reveal, this.about, this.tags, this.score, this.rules);
  }

  clear() {
    this.revealed = null;
    for (const part of [this.bed, this.name, this.about, this.rules, this.score]) put(part, '');
    this.tags.replaceChildren();
  }

  async unmask() {
    const key = this.patient;
    try {
      const told = await api.unmask(key);
      if (this.patient !== key) return;
      this.revealed = { key, name: told.name };
      clock.after(REVEALED_MS, () => {
        this.revealed = null;
        if (this.patient === key) this.drawName(store.patients.get(key));
      });
      this.drawName(store.patients.get(key));
    } catch (failure) {
      this.onProblem(failure);
    }
  }

  drawName(patient) {
    const whole = this.revealed && this.revealed.key === this.patient ? this.revealed.name : null;
    put(this.name, patient ? whole || patient.name || t('tiles.unnamed') : '');
    giveWay(this.reveal, !patient?.name || Boolean(whole) || !may('see_names'), this.name);
    put(this.reveal, t('drawer.reveal'));
  }

  draw(place, whole) {
    this.patient = place.patient;
    const patient = store.patients.get(place.patient) || null;
    const [device] = place.devices;
    const what = !place.bed && device
      ? `${wordOf('kind', device.kind, t)} ${device.device}` : '';
    put(this.bed, place.bed ? t('tiles.bed', { bed: place.bed }) : what);
    this.drawName(patient);
    const none = device ? nobody(device) : t('patient.none');
    put(this.about, patient ? aboutText(patient) : `${none} · ${t('tiles.adult_rules')}`);
    drawTags(this.tags, patient);
    put(this.rules, whole?.ruled ? t('drawer.rules', { version: whole.ruled.version }) : '');
    this.drawScore(whole?.news2);
  }

  /**
   * NEWS2 as the county counted it and when; where something is missing it is at least so much. What
   * is old is no number any more.
   */
  drawScore(score) {
    set(this.score, 'hidden', !score);
    if (!score) return;
    const [atMs, nowMs] = [Date.parse(score.at), clock.serverNow()];
    if (this.isLost() || nowMs - atMs > SCORE_OLD_MS) {
      put(this.score, t('drawer.score_none'));
      return;
    }
    put(this.score, [either(score.text_zh, score.text_en), shortTime(atMs, nowMs)].join(' · '));
  }
}
