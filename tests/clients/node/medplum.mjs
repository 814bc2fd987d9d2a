// npm @medplum/core: it takes only the query of a next link and asks [base]/Type again. Argument: the base URL.
import { assert, base, days, down, LOINC, observation, patient, randomUUID, refused, run, tests } from './lib.mjs';

// Node 20 has no WebSocket, which this client names when it is loaded and uses for subscriptions only.
globalThis.WebSocket ??= class {};
const { MedplumClient, OperationOutcomeError } = await import('@medplum/core');
const SYSTEM = 'http://example.vn/medplum';
const { origin, pathname } = new URL(base);
const client = new MedplumClient({ baseUrl: origin, fhirUrlPath: pathname.slice(1), cacheTime: 0 });
const make = (value, more) => client.createResource(patient(SYSTEM, run + value, more));

await tests({
  async capabilities() {
    assert.equal((await client.get(client.fhirUrl('metadata'))).fhirVersion, '4.0.1');
  },

  async 'create, read, vread, update, history, delete'() {
    const made = await make('a');
    const read = await client.readResource('Patient', made.id);
    assert.equal(read.name[0].text, 'Đặng Thị Thuý Hằng');
    const updated = await client.updateResource({ ...read, active: true }, { headers: { 'If-Match': 'W/"1"' } });
    assert.equal(updated.meta.versionId, '2');
    const stale = await refused(client.updateResource({ ...read, active: false }, { headers: { 'If-Match': 'W/"1"' } }));
    assert.ok(stale instanceof OperationOutcomeError);
    assert.equal(stale.outcome.issue[0].severity, 'error');
    assert.equal((await client.readVersion('Patient', made.id, '1')).active, undefined);
    assert.equal((await client.readHistory('Patient', made.id)).entry.length, 2);
    assert.equal((await client.readReference({ reference: `Patient/${made.id}` })).id, made.id);
    await client.deleteResource('Patient', made.id);
    const gone = await refused(client.readResource('Patient', made.id));
    assert.equal(gone.outcome.issue[0].code, 'deleted');
  },

  async 'create if none exists, upsert'() {
    const query = `identifier=${SYSTEM}|${run}c`;
    const made = await client.createResourceIfNoneExist(patient(SYSTEM, `${run}c`), query);
    assert.equal((await client.createResourceIfNoneExist(patient(SYSTEM, `${run}c`), query)).id, made.id);
    assert.equal((await client.upsertResource(patient(SYSTEM, `${run}c`, { active: true }), query)).meta.versionId, '2');
    const other = await client.upsertResource(patient(SYSTEM, `${run}u`), `identifier=${SYSTEM}|${run}u`);
    assert.equal(other.meta.versionId, '1');
  },

  async 'JSON Patch'() {
    const made = await make('p');
    const patched = await client.patchResource('Patient', made.id, [{ op: 'replace', path: '/active', value: true }]).catch((e) => e);
    assert.ok(patched instanceof OperationOutcomeError, 'there is no active to replace');
    assert.equal((await client.patchResource('Patient', made.id, [{ op: 'add', path: '/active', value: true }])).active, true);
  },

  async 'search and its pages'() {
    const station = await client.createResource({ resourceType: 'Organization', name: `Trạm y tế Sìn Hồ ${run}` });
    const made = await make('s', { managingOrganization: { reference: `Organization/${station.id}` } });
    for (let day = 1; day <= 23; day++) await client.createResource(observation(`Patient/${made.id}`, day));
    const seen = [];
    let pages = 0;
    for await (const page of client.searchResourcePages('Observation', { subject: `Patient/${made.id}`, _sort: '-date', _count: 5 })) {
      seen.push(...page);
      pages += 1;
    }
    assert.deepEqual(days(seen), down(23, 1));
    assert.equal(pages, 5);
    // Without _count the first page is asked for 1,000.
    const whole = [];
    for await (const page of client.searchResourcePages('Observation', `subject=Patient/${made.id}&code=${LOINC}|8480-6`)) whole.push(...page);
    assert.equal(whole.length, 23);
    const found = await client.searchOne('Patient', { name: 'thuy hang', identifier: `${SYSTEM}|${run}s` });
    assert.equal(found.id, made.id);
    const chained = await client.search('Observation', { 'subject:Patient.organization.name': `tram y te sin ho ${run}`, _summary: 'count' });
    assert.equal(chained.total, 23);
    const back = await client.search('Patient', { _id: made.id, _revinclude: 'Observation:subject', _include: 'Patient:organization', _total: 'accurate' });
    assert.equal(back.total, 1);
    assert.equal(back.entry.length, 25);
    const wrong = await refused(client.search('Patient', { birthdate: 'hôm qua' }));
    assert.match(wrong.outcome.issue[0].diagnostics, /birthdate/);
  },

  async 'batch'() {
    const fullUrl = `urn:uuid:${randomUUID()}`;
    const answer = await client.executeBatch({
      resourceType: 'Bundle',
      type: 'transaction',
      entry: [
        { fullUrl, resource: patient(SYSTEM, `${run}t`), request: { method: 'POST', url: 'Patient' } },
        { resource: observation(fullUrl, 6), request: { method: 'POST', url: 'Observation' } },
        { request: { method: 'GET', url: `Patient?identifier=${SYSTEM}|${run}t` } },
      ],
    });
    assert.deepEqual(answer.entry.map((e) => e.response.status.slice(0, 3)), ['201', '201', '200']);
  },

  async 'requests made at once go as one batch'() {
    const made = await make('b');
    const batching = new MedplumClient({ baseUrl: origin, fhirUrlPath: pathname.slice(1), cacheTime: 0, autoBatchTime: 20 });
    const [one, two] = await Promise.all([batching.readResource('Patient', made.id), batching.search('Patient', { identifier: `${SYSTEM}|${run}b` })]);
    assert.equal(one.id, made.id);
    assert.equal(two.entry.length, 1);
  },

  async 'GraphQL with variables'() {
    const made = await make('g');
    await client.createResource(observation(`Patient/${made.id}`, 8));
    const query = `query Chart($id: ID!, $count: Int) {
      Patient(id: $id) { resourceType id birthDate ObservationList(_reference: subject, _count: $count) { id status } }
      PatientList(identifier: "${SYSTEM}|${run}g") { id }
    }`;
    const answer = await client.graphql(query, 'Chart', { id: made.id, count: 5 });
    assert.equal(answer.errors, undefined, JSON.stringify(answer.errors));
    assert.equal(answer.data.Patient.id, made.id);
    assert.equal(answer.data.Patient.ObservationList.length, 1);
    assert.deepEqual(answer.data.PatientList, [{ id: made.id }]);
  },

  async 'everything, validate, binary'() {
    const made = await make('e');
    await client.createResource(observation(`Patient/${made.id}`, 9));
    assert.equal((await client.readPatientEverything(made.id)).entry.length, 2);
    assert.equal((await client.validateResource(patient(SYSTEM, 'v'))).resourceType, 'OperationOutcome');
    const scan = await client.createBinary({ data: 'kết quả xét nghiệm', filename: 'kết quả.txt', contentType: 'text/plain' });
    assert.equal(scan.contentType, 'text/plain');
    const again = await client.download(client.fhirUrl('Binary', scan.id));
    assert.equal(await again.text(), 'kết quả xét nghiệm');
  },
});
