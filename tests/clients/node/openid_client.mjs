// npm openid-client (certified): discovery, code flow with PKCE, DPoP, refresh, userinfo, a protected resource, logout.
// Arguments: the base URL, client_id, login, password.
import * as client from 'openid-client';
import { assert, base, refused, tests } from './lib.mjs';
import { Person } from './person.mjs';

const [, , , id, login, password] = process.argv;
const issuer = new URL(base).origin;
const redirect = 'http://127.0.0.1:9/callback';
const config = await client.discovery(new URL(issuer), id, undefined, client.None(), { execute: [client.allowInsecureRequests] });

async function signedIn(person, more = {}, options = {}) {
  const verifier = client.randomPKCECodeVerifier();
  const [state, nonce] = [client.randomState(), client.randomNonce()];
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: redirect, scope: 'openid fhirUser offline_access user/*.rs', aud: base, state, nonce,
    code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...more,
  });
  const back = await person.agree(url.href, login, password);
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce };
  return { back, checks, tokens: await client.authorizationCodeGrant(config, back, checks, undefined, options) };
}

await tests({
  async 'code flow with PKCE, userinfo, refresh, a resource'() {
    const { back, checks, tokens } = await signedIn(new Person(issuer));
    assert.equal(back.searchParams.get('iss'), issuer);
    const claims = tokens.claims();
    assert.match(claims.fhirUser, /\/fhir\/Patient\//);
    const info = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
    assert.equal(info.sub, claims.sub);
    const answer = await client.fetchProtectedResource(config, tokens.access_token, new URL(`${base}/Patient`), 'GET');
    assert.equal((await answer.json()).total, 1);
    const again = await client.refreshTokenGrant(config, tokens.refresh_token);
    assert.notEqual(again.refresh_token, tokens.refresh_token);
    // The code was redeemed, the first refresh token was rotated: neither is good twice, and all that came of them ends.
    assert.equal((await refused(client.refreshTokenGrant(config, tokens.refresh_token))).error, 'invalid_grant');
    assert.equal((await refused(client.refreshTokenGrant(config, again.refresh_token))).error, 'invalid_grant');
    assert.equal((await refused(client.authorizationCodeGrant(config, back, checks))).error, 'invalid_grant');
  },

  async 'a request without its answer is a mix-up'() {
    const person = new Person(issuer);
    const { back, checks } = await signedIn(person);
    back.searchParams.set('iss', 'https://evil.example');
    await refused(client.authorizationCodeGrant(config, back, checks));
  },

  async DPoP() {
    const keys = await client.randomDPoPKeyPair('ES256');
    const DPoP = client.getDPoPHandle(config, keys);
    const { tokens } = await signedIn(new Person(issuer), {}, { DPoP });
    assert.equal(tokens.token_type, 'dpop');
    const info = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP });
    assert.ok(info.sub);
    const url = new URL(`${base}/Patient`);
    assert.equal((await client.fetchProtectedResource(config, tokens.access_token, url, 'GET', undefined, undefined, { DPoP })).status, 200);
    const bare = await fetch(url, { headers: { authorization: `Bearer ${tokens.access_token}` } });
    assert.equal(bare.status, 401);
    const other = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'));
    const stolen = await refused(client.fetchProtectedResource(config, tokens.access_token, url, 'GET', undefined, undefined, { DPoP: other }));
    assert.ok(stolen);
    assert.equal((await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })).token_type, 'dpop');
  },

  async 'logout'() {
    const person = new Person(issuer);
    const { tokens } = await signedIn(person);
    const url = client.buildEndSessionUrl(config, { id_token_hint: tokens.id_token, post_logout_redirect_uri: 'http://127.0.0.1/bye', state: 'gone' });
    const { left } = await person.ask(url.href);
    assert.equal(left.href, 'http://127.0.0.1/bye?state=gone');
    const page = await person.ask(`${issuer}/account`);
    assert.match(page.url, /\/sign-in/);
  },

  async 'introspection and revocation are for who may'() {
    const { tokens } = await signedIn(new Person(issuer));
    await client.tokenRevocation(config, tokens.refresh_token);
    assert.equal((await refused(client.refreshTokenGrant(config, tokens.refresh_token))).error, 'invalid_grant');
    await new Promise((done) => setTimeout(done, 700));
    const answer = await fetch(`${base}/Patient`, { headers: { authorization: `Bearer ${tokens.access_token}` } });
    assert.equal(answer.status, 401);
  },
});
