import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

globalThis.window = {};
const { SIGNS } = await import('../js/danger-signs.js');
const { REASONS } = await import('../js/alert-actions.js');
const openapi = new URL('../../src/api/openapi.json', import.meta.url);
const { schemas } = JSON.parse(readFileSync(openapi, 'utf8')).components;

test('the board asks for the danger signs and the reasons that the county knows', () => {
  assert.deepEqual([...SIGNS].sort(), [...schemas.DangerSigns.properties.signs.items.enum].sort());
  assert.deepEqual([...REASONS].sort(), [...schemas.Acknowledge.properties.reason.enum].sort());
});
