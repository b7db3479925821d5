// A real county with two hundred beds: clinic-gateway, mosquitto, twenty clinic-agents, and at each
// of them ten monitors that speak json-lines over TCP.

import { spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { until } from './ward.mjs';

const BROKER = fileURLToPath(new URL('../../../../configs/broker', import.meta.url));
const INSTALLED = '/etc/mosquitto/clinic-edge';
const CLINICS = 20;
const BEDS_EACH = 10;
const NURSE = 'nurse';
const PASSWORD = 'twenty clinics, ten beds';
const READY_MS = 60_000;
const SECOND_MS = 1000;

const listening = (server) => new Promise((done) => {
  server.listen(0, '127.0.0.1', () => done(server.address().port));
});

/** A port nobody listens at. */
async function freePort() {
  const server = createServer();
  const port = await listening(server);
  await new Promise((done) => {
    server.close(done);
  });
  return port;
}

/** Waits until something is so. */
export async function waits(what, isSo, limitMs = READY_MS) {
  const end = Date.now() + limitMs;
  for (;;) {
    const found = await isSo();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what} does not happen`);
    await until(Date.now() + 100);
  }
}

/** A bedside monitor: whatever connects to it hears what it says. */
class Monitor {
  constructor(site, id) {
    Object.assign(this, { site, id, sockets: new Set(), phase: Math.random() * 6 });
    this.server = createServer((socket) => {
      socket.setNoDelay(true);
      this.sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => this.sockets.delete(socket));
    });
  }

  say(line) {
    for (const socket of this.sockets) socket.write(`${JSON.stringify(line)}\n`);
  }

  /** Heart rate, saturation and respiration as they are now. */
  measure() {
    this.phase += 0.15;
    const about = (middle, swing) => Math.round(middle + swing * Math.sin(this.phase));
    this.say({ parts: [{ metric: 'hr', value: about(78, 6), unit: '/min' }] });
    this.say({ parts: [{ metric: 'spo2', value: about(97, 2), unit: '%' }] });
    this.say({ parts: [{ metric: 'rr', value: about(16, 3), unit: '/min' }] });
  }

  alarm(phase) {
    this.say({
      alarm: 'TACHY', kind: 'DEV-TACHY-EXTREME', phase, priority: 'high', text: 'EXTREME TACHY',
    });
  }

  close() {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }
}

export class RealCounty {
  /** `programs`: the folder of `clinic-gateway` and `clinic-agent`. */
  static async start(programs) {
    const county = new RealCounty(programs);
    try {
      await county.prepare();
      return county;
    } catch (error) {
      await county.close();
      throw error;
    }
  }

  constructor(programs) {
    const program = (name) => join(programs, name);
    Object.assign(this, {
      gateway: program('clinic-gateway'), agent: program('clinic-agent'), running: [], monitors: [],
      folder: mkdtempSync(join(tmpdir(), 'board-county-')), going: true,
    });
  }

  async prepare() {
    const { folder } = this;
    const [http, broker] = [await freePort(), await freePort()];
    this.url = `http://127.0.0.1:${http}/`;
    this.broker = `127.0.0.1:${broker}`;
    this.sites = Array.from({ length: CLINICS }, (_, index) => `clinic-${index + 1}`);
    writeFileSync(this.config(), [
      `data_dir = "${folder}/data"`,
      `[http]\naddress = "127.0.0.1:${http}"\ntls = "off"`,
      `[broker]\nembedded = false\naddress = "${this.broker}"`,
      `[pki]\ndir = "${folder}/pki"`,
      ...this.sites.map((site) => `[[clinic]]\nname = "${site} 卫生院"\nsites = ["${site}"]`),
    ].join('\n\n'));
    this.command('pki', 'init');
    this.command('user', 'add', NURSE, '--role', 'nurse', '--own-password', {
      input: `${PASSWORD}\n`,
    });
    await this.startBroker(broker);
    await this.startGateway();
    await this.logIn();
    for (const site of this.sites) await this.startSite(site);
    await waits('every monitor is known', async () => {
      for (const monitor of this.monitors) monitor.measure();
      await until(Date.now() + SECOND_MS);
      const { devices } = await this.ask('GET', 'devices');
      return devices.filter(({ latest }) => latest.length).length === this.monitors.length;
    });
    for (const [index, monitor] of this.monitors.entries()) await this.bind(monitor, index);
  }

  config() {
    return join(this.folder, 'gateway.toml');
  }

  command(...words) {
    const options = typeof words[words.length - 1] === 'object' ? words.pop() : {};
    const { status, stderr, stdout } = spawnSync(
      this.gateway, [...words, '--config', this.config()], { encoding: 'utf8', ...options },
    );
    if (status !== 0) throw new Error(`clinic-gateway ${words.join(' ')}: ${stderr}`);
    return stdout;
  }

  start(name, program, words) {
    const log = openSync(join(this.folder, `${name}.log`), 'a');
    const child = spawn(program, words, { stdio: ['ignore', 'pipe', log] });
    this.running.push(child);
    return child;
  }

  /** mosquitto as README.md says under "A broker of its own". */
  async startBroker(port) {
    const ours = join(this.folder, 'broker');
    mkdirSync(ours);
    for (const file of ['ca.crt', 'broker.crt', 'broker.key']) {
      cpSync(join(this.folder, 'pki', file), join(ours, file));
    }
    cpSync(join(BROKER, 'acl'), join(ours, 'acl'));
    const shipped = readFileSync(join(BROKER, 'mosquitto.conf'), 'utf8');
    writeFileSync(join(ours, 'mosquitto.conf'), `user root\n${shipped
      .replace('listener 8883', `listener ${port} 127.0.0.1`).replaceAll(INSTALLED, ours)}`);
    const program = ['/usr/sbin/mosquitto', '/usr/bin/mosquitto'].find(existsSync);
    this.start('mosquitto', program, ['-c', join(ours, 'mosquitto.conf')]).stdout.resume();
  }

  async startGateway() {
    const child = this.start('gateway', this.gateway, ['run', '--config', this.config()]);
    this.gatewayId = child.pid;
    await new Promise((done, fail) => {
      createInterface({ input: child.stdout }).once('line', done);
      child.once('exit', () => fail(new Error('the gateway has ended')));
    });
  }

  async restartGateway() {
    const child = this.running.find(({ pid }) => pid === this.gatewayId);
    await new Promise((done) => {
      child.once('exit', done);
      child.kill();
    });
    await this.startGateway();
  }

  async logIn() {
    const answer = await fetch(`${this.url}api/v1/session`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: NURSE, password: PASSWORD }),
    });
    if (!answer.ok) throw new Error(`logging in: ${answer.status} ${await answer.text()}`);
    this.session = /clinic_session=([^;]*)/.exec(answer.headers.get('set-cookie'))[1];
  }

  /** A question to the API, as the nurse. */
  async ask(method, path, body = undefined) {
    const answer = await fetch(`${this.url}api/v1/${path}`, {
      method,
      headers: { 'Content-Type': 'application/json', Cookie: `clinic_session=${this.session}` },
      body: body && JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  async startSite(site) {
    const folder = join(this.folder, site);
    this.command('pki', 'issue', site, '--out', folder);
    const own = Array.from({ length: BEDS_EACH }, (_, index) => (
      new Monitor(site, `monitor-${index + 1}`)));
    const config = join(folder, 'bench.toml');
    writeFileSync(config, [
      `site = "${site}"\ndata_dir = "${folder}/data"`,
      `[uplink]\nbroker = "${this.broker}"\nca = "ca.crt"\ncert = "${site}.crt"\nkey = "${site}.key"`,
      '[local_page]\nlisten = "off"\n',
    ].join('\n\n'));
    for (const monitor of own) {
      const port = await listening(monitor.server);
      appendFileSync(config, `\n[[device]]\nid = "${monitor.id}"\ndriver = "json-lines"\n`
        + `port = "tcp://127.0.0.1:${port}"\n`);
    }
    this.monitors.push(...own);
    this.start(site, this.agent, ['run', '--config', config]).stdout.resume();
  }

  async bind({ site, id }, index) {
    const { patient } = await this.ask('POST', 'patients', {
      clinic: `${site} 卫生院`,
      name: '王小明',
      bed: String((index % BEDS_EACH) + 1),
      age_months: 600,
      sex: 'male',
      monitored: true,
    });
    await this.ask('POST', 'bindings', { site, device: id, patient, reason: 'bench' });
  }

  /** All beds once a second, until `close`; a clinic's beds together, the clinics one after another. */
  async speak() {
    for (let next = Date.now(); this.going; next += SECOND_MS) {
      for (let clinic = 0; clinic < CLINICS && this.going; clinic += 1) {
        const from = clinic * BEDS_EACH;
        for (const monitor of this.monitors.slice(from, from + BEDS_EACH)) monitor.measure();
        await until(next + (SECOND_MS * (clinic + 1)) / CLINICS);
      }
    }
  }

  /** CPU seconds the gateway has used. */
  cpuS() {
    const fields = readFileSync(`/proc/${this.gatewayId}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  async close() {
    this.going = false;
    for (const monitor of this.monitors) monitor.close();
    await Promise.all(this.running.map((child) => new Promise((done) => {
      if (child.exitCode !== null || child.signalCode !== null) done();
      child.once('exit', done);
      child.kill();
    })));
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
