// npm fhir-kit-client. Argument: the base URL.
import { CapabilityTool, Client } from 'fhir-kit-client';
import { assert, base, days, down, LOINC, observation, patient, randomUUID, refused, run, tests } from './lib.mjs';

const SYSTEM = 'http://example.vn/fhir-kit';
const client = new Client({ baseUrl: base });
const status = (resource) => Client.httpFor(resource).response.status;
const make = (value, more) => client.create({ resourceType: 'Patient', body: patient(SYSTEM, run + value, more) });
const identifier = (value) => `${SYSTEM}|${run}${value}`;

await tests({
  async capabilities() {
    const statement = await client.capabilityStatement();
    assert.equal(statement.fhirVersion, '4.0.1');
    const tool = new CapabilityTool(statement);
    assert.ok(tool.serverCan('transaction') && tool.serverCan('batch') && tool.serverCan('search-system'));
    assert.ok(tool.resourceCan('Patient', 'patch') && tool.resourceCan('Patient', 'history-instance'));
    assert.ok(tool.resourceSearch('Patient', 'name') && tool.serverSearch('_lastUpdated'));
  },

  async 'authorization endpoints: whichever of the three documents answers first'() {
    assert.equal(typeof (await client.smartAuthMetadata()), 'object');
  },

  async 'create, read, vread, update, history, delete'() {
    const made = await make('a');
    assert.equal(status(made), 201);
    assert.match(Client.httpFor(made).response.headers.get('location'), /\/fhir\/Patient\/[^/]+\/_history\/1$/);
    const { id } = made;
    const read = await client.read({ resourceType: 'Patient', id });
    assert.deepEqual(read.name, patient(SYSTEM, '').name);
    const etag = Client.httpFor(read).response.headers.get('etag');
    assert.equal(etag, 'W/"1"');
    const options = { headers: { 'If-Match': etag } };
    const updated = await client.update({ resourceType: 'Patient', id, body: { ...read, active: true }, options });
    assert.equal(updated.meta.versionId, '2');
    const stale = await refused(client.update({ resourceType: 'Patient', id, body: { ...read, active: false }, options }));
    assert.equal(stale.response.status, 412);
    assert.equal(stale.response.data.resourceType, 'OperationOutcome');
    assert.equal((await client.vread({ resourceType: 'Patient', id, version: '1' })).active, undefined);
    assert.equal((await client.history({ resourceType: 'Patient', id })).total, 2);
    assert.ok((await client.history({ resourceType: 'Patient' })).entry.length >= 2);
    assert.ok((await client.history()).entry.length >= 2);
    const unchanged = await refused(client.read({ resourceType: 'Patient', id, options: { headers: { 'If-None-Match': 'W/"2"' } } }));
    assert.equal(unchanged.response.status, 304);
    await client.delete({ resourceType: 'Patient', id });
    const gone = await refused(client.read({ resourceType: 'Patient', id }));
    assert.equal(gone.response.status, 410);
    assert.equal(gone.response.data.issue[0].code, 'deleted');
    assert.equal((await refused(client.read({ resourceType: 'Patient', id: `none-${run}` }))).response.status, 404);
  },

  async 'conditional create, update, delete'() {
    const options = { headers: { 'If-None-Exist': `identifier=${identifier('c')}` } };
    const body = patient(SYSTEM, `${run}c`);
    assert.equal(status(await client.create({ resourceType: 'Patient', body, options })), 201);
    assert.equal(status(await client.create({ resourceType: 'Patient', body, options })), 200);
    const searchParams = { identifier: identifier('c') };
    const updated = await client.update({ resourceType: 'Patient', searchParams, body: { ...body, active: true } });
    assert.equal(updated.meta.versionId, '2');
    await make('c');
    const several = await refused(client.update({ resourceType: 'Patient', searchParams, body }));
    assert.equal(several.response.status, 412);
    await make('d');
    await client.request(`Patient?identifier=${encodeURIComponent(identifier('d'))}`, { method: 'DELETE' });
    const left = await client.search({ resourceType: 'Patient', searchParams: { identifier: identifier('d') } });
    assert.equal(left.entry, undefined);
  },

  async 'JSON Patch'() {
    const { id } = await make('p');
    const jsonPatch = [{ op: 'test', path: '/gender', value: 'female' }, { op: 'add', path: '/name/0/given/-', value: 'Ngọc' }];
    const patched = await client.patch({ resourceType: 'Patient', id, jsonPatch });
    assert.deepEqual(patched.name[0].given, ['Thị', 'Thuý Hằng', 'Ngọc']);
    const wrong = await refused(client.patch({ resourceType: 'Patient', id, jsonPatch: [{ op: 'replace', path: '/gender', value: 'nữ' }] }));
    assert.deepEqual(wrong.response.data.issue[0].expression, ['Patient.gender']);
  },

  async search() {
    const station = await client.create({ resourceType: 'Organization', body: { resourceType: 'Organization', name: `Trạm y tế Mường Phăng ${run}` } });
    const { id } = await make('s', { managingOrganization: { reference: `Organization/${station.id}` } });
    for (let day = 1; day <= 23; day++) await client.create({ resourceType: 'Observation', body: observation(`Patient/${id}`, day) });
    const searchParams = { subject: `Patient/${id}`, _sort: '-date', _count: 5 };
    let page = await client.search({ resourceType: 'Observation', searchParams });
    const seen = [];
    let pages = 0;
    let before;
    while (page) {
      seen.push(...page.entry.map((e) => e.resource));
      pages += 1;
      before = page;
      page = await client.nextPage({ bundle: page });
    }
    assert.deepEqual(days(seen), down(23, 1));
    assert.equal(pages, 5);
    assert.deepEqual(days((await client.prevPage({ bundle: before })).entry.map((e) => e.resource)), down(8, 4));

    const posted = await client.search({ resourceType: 'Observation', searchParams: { ...searchParams, date: ['ge2026-05-10', 'lt2026-05-12'] }, options: { postSearch: true } });
    assert.deepEqual(days(posted.entry.map((e) => e.resource)), [11, 10]);
    const own = await client.search({ resourceType: 'Observation', compartment: { resourceType: 'Patient', id }, searchParams: { code: `${LOINC}|8480-6`, _summary: 'count' } });
    assert.equal(own.total, 23);
    const system = await client.search({ searchParams: { _type: 'Patient,Organization', _id: `${id},${station.id}` } });
    assert.equal(system.entry.length, 2);
    const chained = await client.search({ resourceType: 'Observation', searchParams: { 'subject:Patient.organization.name': `muong phang ${run}`, _summary: 'count' } });
    assert.equal(chained.total, 0, 'a string search matches from the start');
    const whole = await client.search({ resourceType: 'Observation', searchParams: { 'subject:Patient.organization.name:contains': `MUONG PHANG ${run}`, _summary: 'count' } });
    assert.equal(whole.total, 23);
    const included = await client.search({ resourceType: 'Patient', searchParams: { _id: id, _include: 'Patient:organization', _revinclude: 'Observation:subject' } });
    assert.deepEqual(new Set(included.entry.map((e) => `${e.resource.resourceType} ${e.search.mode}`)), new Set(['Patient match', 'Organization include', 'Observation include']));
    for (const name of ['dang', 'ĐẶNG', 'thuy hang', 'Thúy', 'đặng']) {
      const found = await client.search({ resourceType: 'Patient', searchParams: { name, identifier: identifier('s') } });
      assert.equal(found.entry?.length, 1, name);
    }
    const wrong = await refused(client.search({ resourceType: 'Patient', searchParams: { birthdate: 'hôm qua' } }));
    assert.equal(wrong.response.status, 400);
    assert.match(wrong.response.data.issue[0].diagnostics, /birthdate/);
  },

  async 'references are resolved'() {
    const { id } = await make('r');
    const made = await client.create({ resourceType: 'Observation', body: observation(`Patient/${id}`, 1) });
    assert.equal((await client.resolve({ reference: made.subject.reference, context: made })).id, id);
    assert.equal((await client.resolve({ reference: `${base}/Patient/${id}` })).id, id);
  },

  async 'transaction and batch, posted to the base with a slash'() {
    const fullUrl = `urn:uuid:${randomUUID()}`;
    const body = {
      resourceType: 'Bundle',
      type: 'transaction',
      entry: [
        { fullUrl, resource: patient(SYSTEM, `${run}t`), request: { method: 'POST', url: 'Patient', ifNoneExist: `identifier=${identifier('t')}` } },
        { resource: observation(fullUrl, 2), request: { method: 'POST', url: 'Observation' } },
      ],
    };
    const answer = await client.transaction({ body });
    assert.equal(answer.type, 'transaction-response');
    assert.deepEqual(answer.entry.map((e) => [e.response.status.slice(0, 3), e.response.etag]), [['201', 'W/"1"'], ['201', 'W/"1"']]);
    assert.deepEqual((await client.transaction({ body })).entry.map((e) => e.response.status.slice(0, 3)), ['200', '201']);
    const batch = { resourceType: 'Bundle', type: 'batch', entry: [{ request: { method: 'GET', url: 'Patient?_summary=count' } }, { request: { method: 'GET', url: `Patient/none-${run}` } }] };
    const parts = await client.batch({ body: batch });
    assert.deepEqual(parts.entry.map((e) => e.response.status.slice(0, 3)), ['200', '404']);
    assert.equal(parts.entry[1].response.outcome.resourceType, 'OperationOutcome');
  },

  async operations() {
    const { id } = await make('o');
    await client.create({ resourceType: 'Observation', body: observation(`Patient/${id}`, 3) });
    const everything = await client.operation({ name: '$everything', resourceType: 'Patient', id, method: 'GET' });
    assert.deepEqual(everything.entry.map((e) => e.resource.resourceType).sort(), ['Observation', 'Patient']);
    const last = await client.operation({ name: 'lastn', resourceType: 'Observation', method: 'GET', input: { subject: `Patient/${id}`, code: `${LOINC}|8480-6`, max: 1 } });
    assert.equal(last.entry.length, 1);
    const meta = { resourceType: 'Parameters', parameter: [{ name: 'meta', valueMeta: { tag: [{ system: SYSTEM, code: run }] } }] };
    await client.operation({ name: 'meta-add', resourceType: 'Patient', id, input: meta });
    assert.equal((await client.search({ resourceType: 'Patient', searchParams: { _tag: `${SYSTEM}|${run}` } })).entry.length, 1);
    assert.equal((await client.operation({ name: 'validate', resourceType: 'Patient', input: patient(SYSTEM, 'v') })).resourceType, 'OperationOutcome');
  },
});
