// What the benches print.

import assert from 'node:assert/strict';
import test from 'node:test';
import { brief } from './bench/board.mjs';

test('a fault is printed once and in short, with how often it came', () => {
  const ofPatient = (number) => {
    const id = number.toString(16).padStart(32, '0');
    return `GET /api/v1/patients/${id}/limits 200: ${'$.name is not in openapi.json; '.repeat(99)}`;
  };
  const found = brief([ofPatient(1), 'another', ofPatient(200)]);
  assert.equal(found.length, 2);
  assert.match(found[0], /^2 × GET \/api\/v1\/patients\/…\/limits 200: \$\.name is/);
  assert.ok(found[0].length <= 210, found[0]);
  assert.equal(found[1], '1 × another');
});
