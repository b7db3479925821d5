// What the top shows of the sound: its state, the gate to turn it on, pause and volume.

import { NAME_MAX, boardName, nameBoard } from './board-name.js';
import { h, put, set } from './dom.js';
import { countdown } from './format.js';
import { t } from './i18n.js';
import { VOLUME_MIN } from './sound.js';

const PERCENT = 100;

export class SoundBar {
  constructor(sound, notice) {
    Object.assign(this, { sound, notice });
    this.noticeButton = h('button', {
      class: 'notice-button',
      onclick: async () => {
        await notice.toggle();
        this.draw();
      },
    });
    this.button = h('button', { class: 'sound', onclick: () => this.pressed() });
    this.gate = h('button', { class: 'sound-gate', onclick: () => sound.enable() });
    this.trial = h('button', { onclick: () => sound.tryOut() });
    this.pause = h('button', { onclick: () => sound.togglePause() });
    this.volume = h('input', {
      type: 'range',
      min: VOLUME_MIN * PERCENT,
      max: PERCENT,
      id: 'volume',
      oninput: () => sound.setVolume(Number(this.volume.value) / PERCENT),
    });
    this.volumeName = h('label', { for: 'volume' });
    this.board = h('input', {
      id: 'board',
      maxlength: NAME_MAX,
      autocomplete: 'off',
      onchange: () => {
        nameBoard(this.board.value);
        sound.onState();
      },
    });
    this.boardWords = h('label', { for: 'board' });
    this.panel = h('section', { class: 'sound-panel', hidden: true },
      this.trial, this.pause, this.volumeName, this.volume, this.noticeButton, this.boardWords,
      this.board);
  }

  /** Turns it on where it is off, else shows what one can do with it. */
  pressed() {
    if (['off', 'blocked'].includes(this.sound.state())) this.sound.enable();
    else {
      set(this.panel, 'hidden', !this.panel.hidden);
      this.draw();
    }
  }

  /** Draws it; returns its state. */
  draw() {
    const state = this.sound.state();
    put(this.button, t(`sound.${state}`, { time: countdown(this.sound.pauseLeftMs()) }));
    set(this.button, 'data-sound-state', state);
    const silent = state === 'off' || state === 'blocked';
    set(this.gate, 'hidden', !silent);
    if (silent) put(this.gate, t(`sound.gate.${state}`));
    if (!this.panel.hidden) this.drawPanel(state);
    return state;
  }

  /** What one can do; only where it is open, for asking whether notices may be shown is slow. */
  drawPanel(state) {
    put(this.trial, t('sound.trial'));
    put(this.pause, t(state === 'paused' ? 'sound.resume' : 'sound.pause'));
    put(this.volumeName, t('sound.volume'));
    put(this.boardWords, t('boards.name'));
    if (document.activeElement !== this.board && this.board.value !== boardName()) {
      this.board.value = boardName();
    }
    const noticeState = this.notice.state();
    put(this.noticeButton, t(`notice.${noticeState}`));
    set(this.noticeButton, 'disabled', !['on', 'off'].includes(noticeState));
    const volume = String(Math.round(this.sound.volume * PERCENT));
    if (this.volume.value !== volume) this.volume.value = volume;
  }
}
