// npm fhirclient (SMART): its FhirClient and the Client an app has after launch. Argument: the base URL.
import { createRequire } from 'node:module';
import { assert, base, days, down, observation, patient, refused, run, tests } from './lib.mjs';

const require = createRequire(import.meta.url);
const smart = require('fhirclient');
const SYSTEM = 'http://example.vn/smart';
const client = new smart.FhirClient(base);
const launched = (id) => smart({ headers: {}, url: '/' }, {}).client({ serverUrl: base, tokenResponse: { patient: id } });

await tests({
  async capabilities() {
    assert.equal(await client.getFhirVersion(), '4.0.1');
    assert.equal(await client.getFhirRelease(), 4);
  },

  async 'create, read, update, delete'() {
    const { body: made, response } = await client.create(patient(SYSTEM, `${run}a`), { includeResponse: true });
    assert.equal(response.status, 201);
    const read = await client.fhirRequest(`Patient/${made.id}`);
    assert.equal(read.name[0].text, 'Đặng Thị Thuý Hằng');
    const updated = await client.update({ ...read, active: true }, { headers: { 'If-Match': 'W/"1"' } });
    assert.equal(updated.meta.versionId, '2');
    const stale = await refused(client.update({ ...read, active: false }, { headers: { 'If-Match': 'W/"1"' } }));
    assert.equal(stale.status, 412);
    assert.match(stale.message, /OperationOutcome/);
    assert.equal((await client.fhirRequest(`Patient/${made.id}/_history/1`)).active, undefined);
    await client.delete(`Patient/${made.id}`);
    assert.equal((await refused(client.fhirRequest(`Patient/${made.id}`))).status, 410);
  },

  async 'JSON Patch with Prefer: return=presentation'() {
    const made = await client.create(patient(SYSTEM, `${run}p`));
    const patched = await client.patch(`Patient/${made.id}`, [{ op: 'replace', path: '/birthDate', value: '1988-07-09' }]);
    assert.equal(patched.birthDate, '1988-07-09');
    const wrong = await refused(client.patch(`Patient/${made.id}`, [{ op: 'remove', path: '/photo' }]));
    assert.equal(wrong.status, 422);
  },

  async 'pages, references and what belongs to the patient of the launch'() {
    const made = await client.create(patient(SYSTEM, `${run}s`));
    for (let day = 1; day <= 12; day++) await client.create(observation(`Patient/${made.id}`, day));
    const query = `Observation?subject=Patient/${made.id}&_sort=-date&_count=5`;
    const walked = [];
    for await (const resource of client.resources(query)) walked.push(resource);
    assert.deepEqual(days(walked), down(12, 1));
    const few = [];
    for await (const resource of client.resources(query, { limit: 7 })) few.push(resource);
    assert.equal(few.length, 7);

    const app = launched(made.id);
    assert.equal((await app.patient.read()).id, made.id);
    const all = await app.patient.request('Observation?_count=4', { pageLimit: 0, flat: true });
    assert.equal(all.length, 12);
    for (const type of ['Condition', 'Encounter', 'MedicationRequest', 'Immunization', 'Appointment', 'Patient'])
      assert.equal((await app.patient.request(type)).resourceType, 'Bundle');
    const graph = await app.request(`${query}&code=8480-6`, { resolveReferences: ['subject'], flat: true });
    assert.equal(graph[0].subject.name[0].family, 'Đặng');
    const { references } = await app.request(query, { resolveReferences: 'subject', graph: false, pageLimit: 2 });
    assert.deepEqual(Object.keys(references), [`Patient/${made.id}`]);
    const codes = app.byCode(all, 'code');
    assert.equal(codes['8480-6'].length, 12);
  },

  async 'GraphQL with variables'() {
    const made = await client.create(patient(SYSTEM, `${run}g`));
    await client.create(observation(`Patient/${made.id}`, 4));
    const query = `query ($id: ID!, $code: String) {
      Patient(id: $id) { id name { family given } ObservationList(_reference: subject, code: $code) { id valueQuantity { value } } }
    }`;
    const answer = await client.fhirRequest('$graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables: { id: made.id, code: '8480-6' } }),
    });
    assert.equal(answer.errors, undefined, JSON.stringify(answer.errors));
    assert.equal(answer.data.Patient.id, made.id);
    assert.equal(answer.data.Patient.name[0].family, 'Đặng');
    assert.deepEqual(answer.data.Patient.ObservationList.map((o) => o.valueQuantity.value), [104]);
  },

  async 'errors carry the outcome'() {
    const wrong = await refused(client.create({ resourceType: 'Patient', gender: 'nữ' }));
    assert.ok(wrong.status === 400 || wrong.status === 422);
    assert.match(wrong.message, /Patient\.gender/);
  },
});
