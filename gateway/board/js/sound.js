// The board's sound: on after a person's gesture, repeated while nobody answers, never silent in
// secret.
//
// A browser keeps sound back until a click or key, and takes it away when the computer sleeps: both
// are shown, and so is a pause, which ends by itself and by any new high alert.

import * as clock from './clock.js';
import { keep, kept } from './kept.js';
import {
  REPEAT_MS, Sounding, mostUrgent, soundOf,
} from './sounding.js';
import { PATTERNS, lengthOf, samplesOf } from './synth.js';

const PAUSE_MS = 120_000;
export const VOLUME_MIN = 0.3;
const VOLUME = 'board.volume';
/** That it was on when the page began anew by itself. */
const WAS_ON = 'board.sound';
const LOST_MS = 60_000;
/** What began to sound is heard undisturbed for so long. */
const SETTLED_MS = 15_000;
/** Between the three sounds of the trial. */
const REST_S = 0.8;
/** Audio whose clock stands for so long is heard by nobody. */
const STALLED_MS = 2_000;
const SHAKES = { high: [200, 100, 200, 100, 200, 400, 200, 100, 200], medium: [300, 200, 300] };

/** The sounds of each audio context: to make one takes as long as some frames. */
const made = new WeakMap();

/** A sound in that audio context, ready to be connected and started. */
export function sourceOf(context, pattern) {
  if (!made.has(context)) made.set(context, new Map());
  const buffers = made.get(context);
  if (!buffers.has(pattern)) {
    const samples = samplesOf(pattern, context.sampleRate);
    const buffer = context.createBuffer(1, samples.length, context.sampleRate);
    buffer.copyToChannel(samples, 0);
    buffers.set(pattern, buffer);
  }
  const source = context.createBufferSource();
  source.buffer = buffers.get(pattern);
  return source;
}

export class Sound {
  /** `onState()`: the state is another. */
  constructor(onState) {
    this.onState = onState;
    this.context = typeof AudioContext === 'undefined' ? null : new AudioContext();
    this.enabled = false;
    this.pausedUntil = 0;
    this.sounding = new Sounding();
    /** Whether anything sounded when it was looked at last. */
    this.sounded = false;
    this.wanted = null;
    /** When something began to sound last. */
    this.freshAt = clock.now();
    /** What sounds or waits its turn, and when the last of it ends, by the audio's clock. */
    this.playing = new Set();
    this.endsAt = 0;
    this.timer = null;
    this.dueMs = 0;
    /** Where the audio's clock was, and since when by the computer's. */
    this.audio = { at: null, sinceMs: 0 };
    this.stalled = false;
    this.lostAt = null;
    this.volume = Math.max(VOLUME_MIN, Math.min(1, Number(kept(VOLUME)) || 1));
    if (!this.context) return;
    this.gain = this.context.createGain();
    this.gain.gain.value = this.volume;
    this.gain.connect(this.context.destination);
    this.context.addEventListener('statechange', () => this.onState());
  }

  /** The page begins anew by itself: the sound is on again, or the browser has taken it away. */
  carryOver() {
    if (this.enabled) sessionStorage.setItem(WAS_ON, 'on');
  }

  /** Takes up what was on before the page began anew. */
  takeUp() {
    if (!this.context || sessionStorage.getItem(WAS_ON) === null) return;
    sessionStorage.removeItem(WAS_ON);
    this.enabled = true;
    this.context.resume();
  }

  /** `off` until a person has turned it on, `on`, `paused`, `blocked` by browser or computer. */
  state() {
    if (!this.enabled) return 'off';
    if (this.context.state !== 'running' || this.stalled) return 'blocked';
    return this.pauseLeftMs() > 0 ? 'paused' : 'on';
  }

  /** Nothing began to sound just now, and nobody wants it quiet. */
  isSettled() {
    return clock.now() - this.freshAt >= SETTLED_MS && this.pauseLeftMs() === 0;
  }

  pauseLeftMs() {
    return Math.max(0, this.pausedUntil - clock.now());
  }

  /** A person turns it on, and hears the three sounds. */
  async enable() {
    if (!this.context) return;
    if (this.stalled) await this.context.suspend();
    await this.context.resume();
    // Whether it stands still again is seen anew: the trial is for somebody who listens now.
    this.stalled = false;
    this.audio = { at: null, sinceMs: 0 };
    this.enabled = true;
    this.pausedUntil = 0;
    this.onState();
    this.tryOut();
  }

  /** The three sounds, one after the other. */
  tryOut() {
    if (this.state() !== 'on') return;
    this.silence();
    let at = this.context.currentTime;
    for (const pattern of ['high', 'medium', 'low']) {
      this.start(pattern, at);
      at += lengthOf(PATTERNS[pattern]) + REST_S;
    }
    if (this.wanted) this.later();
  }

  /** Silent for two minutes; a second time: not any more. */
  togglePause() {
    const state = this.state();
    if (state === 'on') {
      this.pausedUntil = clock.now() + PAUSE_MS;
      this.silence();
    } else if (state === 'paused') this.endPause();
    this.onState();
  }

  endPause() {
    this.pausedUntil = 0;
    if (this.wanted) this.sound(this.wanted);
  }

  setVolume(volume) {
    this.volume = Math.max(VOLUME_MIN, Math.min(1, volume));
    keep(VOLUME, String(this.volume));
    if (this.gain) this.gain.gain.value = this.volume;
  }

  /** What is open now, and whether the link is lost; after every change, and once a second. */
  update(alerts, lost) {
    const { sounding, fresh, begins } = this.sounding.update(alerts);
    const isOver = this.sounded && !sounding.length;
    this.sounded = sounding.length > 0;
    const before = this.wanted;
    this.wanted = mostUrgent(sounding.filter((alert) => soundOf(alert) === 'repeat'));
    const anew = mostUrgent(fresh);
    if (anew) this.freshAt = clock.now();
    if (mostUrgent(begins) === 'high') this.pausedUntil = 0;
    if (isOver || this.wanted !== before) this.silence();
    // A less urgent one must not put off the sound of what is open already.
    if (anew && mostUrgent([{ priority: anew }, { priority: this.wanted }]) === anew) {
      this.sound(anew);
    } else if (this.wanted !== before) this.later();
    // In a tab that is hidden for long a timer may be late by a minute.
    if (this.wanted && clock.now() >= this.dueMs) this.sound(this.wanted);
    this.tellLost(lost);
    this.watchAudio();
  }

  /**
   * After a sleep of the computer, or without its loudspeaker, audio may say that it runs while it
   * stands still.
   */
  watchAudio() {
    if (!this.context) return;
    const nowMs = clock.audioNow();
    const { currentTime: at, state } = this.context;
    const before = this.stalled;
    if (at !== this.audio.at) this.stalled = false;
    if (at !== this.audio.at || state !== 'running') this.audio = { at, sinceMs: nowMs };
    else if (nowMs - this.audio.sinceMs > STALLED_MS) this.stalled = true;
    if (this.stalled === before) return;
    if (this.stalled) this.context.suspend().then(() => this.context.resume());
    this.onState();
  }

  /** Sounds now, and again while it is wanted. */
  sound(pattern) {
    this.silence();
    this.play(pattern);
    this.later();
  }

  /** What is wanted sounds when its time has come. */
  later() {
    clock.cancel(this.timer);
    if (!this.wanted) return;
    this.dueMs = clock.now() + REPEAT_MS[this.wanted];
    this.timer = clock.after(REPEAT_MS[this.wanted], () => this.sound(this.wanted));
  }

  /** What is on screen is old: said once a minute. */
  tellLost(lost) {
    if (!lost) this.lostAt = null;
    else if (this.lostAt === null || clock.now() - this.lostAt >= LOST_MS) {
      this.lostAt = clock.now();
      this.play('low');
    }
  }

  /** One after the other: two at once are none. */
  play(pattern) {
    const state = this.state();
    // A phone shakes also where the system has taken its sound away.
    const shakes = ['on', 'blocked'].includes(state) && SHAKES[pattern] && navigator.vibrate;
    if (shakes) navigator.vibrate(SHAKES[pattern]);
    if (state === 'on') this.start(pattern, Math.max(this.context.currentTime, this.endsAt));
  }

  start(pattern, at) {
    const source = sourceOf(this.context, pattern);
    source.connect(this.gain);
    source.start(at);
    this.endsAt = at + lengthOf(PATTERNS[pattern]);
    this.playing.add(source);
    source.addEventListener('ended', () => this.playing.delete(source));
  }

  /** Stops what sounds. */
  silence() {
    for (const source of this.playing) source.stop();
    this.playing.clear();
    this.endsAt = 0;
  }

  /** The board is left. */
  close() {
    clock.cancel(this.timer);
    this.silence();
    this.enabled = false;
    if (this.context) this.context.close();
  }
}
