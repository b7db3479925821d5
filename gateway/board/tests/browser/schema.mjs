// Holds what the scripted county says against openapi.json, so that it cannot drift from the real one.

import { readFileSync } from 'node:fs';

const file = new URL('../../../src/api/openapi.json', import.meta.url);
const document = JSON.parse(readFileSync(file, 'utf8'));

/** Of the schemas that openapi.json uses; `[]` where the value fits. */
export function faults(schema, value, at = '$') {
  if (schema.$ref) return faults(resolved(schema), value, at);
  const some = schema.oneOf ?? schema.anyOf;
  if (some) {
    const each = some.map((one) => faults(one, value, at));
    return each.some((found) => !found.length) ? [] : each.flat();
  }
  const found = [];
  const types = schema.type === undefined ? [] : [schema.type].flat();
  if (types.length && !types.some((type) => isOf(type, value))) {
    return [`${at} is no ${types.join(' or ')}: ${JSON.stringify(value)}`];
  }
  if (schema.enum && !schema.enum.includes(value)) found.push(`${at} is not in the list: ${value}`);
  if (typeof value === 'string') {
    if (schema.pattern && !new RegExp(schema.pattern).test(value)) found.push(`${at}: ${value}`);
    if (schema.format === 'date-time' && Number.isNaN(Date.parse(value))) found.push(`${at}: ${value}`);
  }
  if (Array.isArray(value)) {
    value.forEach((one, index) => {
      found.push(...faults(schema.items ?? {}, one, `${at}[${index}]`));
    });
  } else if (value !== null && typeof value === 'object') found.push(...inObject(schema, value, at));
  return found;
}

function inObject({ properties = {}, required = [], additionalProperties: more }, value, at) {
  const found = required.filter((name) => !(name in value)).map((name) => `${at}.${name} is missing`);
  for (const [name, one] of Object.entries(value)) {
    if (properties[name]) found.push(...faults(properties[name], one, `${at}.${name}`));
    else if (more === false) found.push(`${at}.${name} is not in openapi.json`);
    else if (more && typeof more === 'object') found.push(...faults(more, one, `${at}.${name}`));
  }
  return found;
}

function isOf(type, value) {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'object') return value !== null && typeof value === 'object' && !Array.isArray(value);
  return typeof value === type;
}

function resolved({ $ref }) {
  return $ref.slice(2).split('/').reduce((part, name) => part[name], document);
}

/** A schema by its name. */
export function schemaOf(name) {
  return document.components.schemas[name];
}

/** What is wrong with an answer. */
export function answerFaults(method, path, status, body) {
  const plain = path.split('?')[0];
  const template = Object.keys(document.paths).find((one) => (
    new RegExp(`^${one.replace(/\{\w+\}/g, '[^/]+')}$`).test(plain)
    && document.paths[one][method.toLowerCase()]));
  if (!template) return [`${method} ${plain} is not in openapi.json`];
  let answer = document.paths[template][method.toLowerCase()].responses[String(status)];
  if (!answer) return [`${method} ${plain} never answers ${status}`];
  if (answer.$ref) answer = resolved(answer);
  const content = answer.content ?? {};
  const schema = (content['application/json'] ?? content['application/problem+json'])?.schema;
  return schema ? faults(schema, body) : [];
}
