// What boards cost the county: streams of events of two hundred beds, in gzip and without.
//
//     node gateway/board/tests/bench/streams.mjs PROGRAMS [SECONDS] [BOARDS…]
//
// `PROGRAMS` is the folder of `clinic-gateway` and `clinic-agent` (`target/release`); mosquitto is on
// this machine. The gateway begins anew for each number of boards and each coding, so that memory is
// that of these streams. Nobody unpacks: bytes are those of the socket.

import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { loadavg } from 'node:os';
import { RealCounty } from './county.mjs';
import { until } from './ward.mjs';

const programs = process.argv[2];
const [seconds = 60, ...counts] = process.argv.slice(3).map(Number);
if (!programs) throw new Error('PROGRAMS is missing');
const SETTLE_MS = 15_000;
const CODINGS = ['identity', 'gzip'];

/** A board's stream; what came over its socket is counted and let go. */
function follow(county, coding) {
  return new Promise((done, fail) => {
    const asked = request(`${county.url}api/v1/events`, {
      agent: false,
      headers: { Cookie: `clinic_session=${county.session}`, 'Accept-Encoding': coding },
    }, (answer) => {
      if (answer.statusCode !== 200) fail(new Error(`the stream: ${answer.statusCode}`));
      answer.on('error', () => {});
      answer.resume();
      done({ bytes: () => asked.socket.bytesRead, close: () => asked.destroy() });
    });
    asked.on('error', fail);
    asked.end();
  });
}

function ownMiB({ gatewayId }) {
  const status = readFileSync(`/proc/${gatewayId}/status`, 'utf8');
  return Number(/RssAnon:\s+(\d+)/.exec(status)[1]) / 1024;
}

async function measure(county, coding, boards) {
  await county.restartGateway();
  await until(Date.now() + SETTLE_MS);
  const alone = ownMiB(county);
  const streams = await Promise.all(Array.from({ length: boards }, () => follow(county, coding)));
  await until(Date.now() + SETTLE_MS);
  const sum = () => streams.reduce((bytes, stream) => bytes + stream.bytes(), 0);
  const before = { cpuS: county.cpuS(), bytes: sum(), at: Date.now() };
  await until(Date.now() + seconds * 1000);
  const minutes = (Date.now() - before.at) / 60_000;
  const rounded = (number, digits) => Number(number.toFixed(digits));
  process.stdout.write(`${JSON.stringify({
    coding,
    boards,
    kb_per_board_min: boards && Math.round((sum() - before.bytes) / 1000 / boards / minutes),
    gateway_cpu_s_per_min: rounded((county.cpuS() - before.cpuS) / minutes, 2),
    own_mib: rounded(ownMiB(county), 1),
    own_mib_before: rounded(alone, 1),
    load: rounded(loadavg()[0], 1),
  })}\n`);
  for (const stream of streams) stream.close();
}

const county = await RealCounty.start(programs);
try {
  const speaking = county.speak();
  await measure(county, 'identity', 0);
  for (const boards of counts.length ? counts : [1, 10, 30]) {
    for (const coding of CODINGS) await measure(county, coding, boards);
  }
  county.going = false;
  await speaking;
} finally {
  await county.close();
}
