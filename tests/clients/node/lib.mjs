// What the scripts share: the base URL, names that only this run has, and checks that count.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

export const base = process.argv[2];
export const run = randomUUID().slice(0, 8);
export const LOINC = 'http://loinc.org';
export { assert, randomUUID };

export const patient = (system, value, more = {}) => ({
  resourceType: 'Patient',
  identifier: [{ system, value }],
  name: [{ family: 'Đặng', given: ['Thị', 'Thuý Hằng'], text: 'Đặng Thị Thuý Hằng' }],
  gender: 'female',
  birthDate: '1988-07',
  ...more,
});

export const observation = (subject, day, more = {}) => ({
  resourceType: 'Observation',
  status: 'final',
  code: { coding: [{ system: LOINC, code: '8480-6' }] },
  subject: { reference: subject },
  effectiveDateTime: `2026-05-${String(day).padStart(2, '0')}T09:15:00+07:00`,
  valueQuantity: { value: 100 + day, unit: 'mmHg', system: 'http://unitsofmeasure.org', code: 'mm[Hg]' },
  ...more,
});

export const days = (resources) => resources.map((o) => Number(o.effectiveDateTime.slice(8, 10)));
export const down = (from, to) => Array.from({ length: from - to + 1 }, (_, k) => from - k);

export async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: 'this should have been refused' });
}

export async function tests(cases) {
  for (const [name, test] of Object.entries(cases)) {
    try {
      await test();
    } catch (error) {
      error.message = `${name}: ${error.message}`;
      throw error;
    }
  }
  console.log(`${Object.keys(cases).length} passed`);
}
