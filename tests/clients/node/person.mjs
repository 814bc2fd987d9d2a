// What a person does in the pages: signs in, agrees. A browser without scripts: cookies, forms as they stand.
import { assert } from './lib.mjs';

const decode = (text) => text.replaceAll('&amp;', '&').replaceAll('&#34;', '"').replaceAll('&#39;', "'").replaceAll('&lt;', '<').replaceAll('&gt;', '>');
const attribute = (tag, name) => decode(tag.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1] ?? '');

export class Person {
  constructor(issuer) {
    this.issuer = issuer;
    this.cookies = new Map();
  }

  async ask(url, body) {
    const headers = { cookie: [...this.cookies].map(([k, v]) => `${k}=${v}`).join('; ') };
    if (body) Object.assign(headers, { 'content-type': 'application/x-www-form-urlencoded', origin: this.issuer, 'sec-fetch-site': 'same-origin' });
    const answer = await fetch(url, { method: body ? 'POST' : 'GET', body, headers, redirect: 'manual' });
    for (const line of answer.headers.getSetCookie()) {
      const [pair, ...rest] = line.split(';');
      const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
      if (!value || rest.some((r) => r.trim().toLowerCase() === 'max-age=0')) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    if (answer.status >= 300 && answer.status < 400) {
      const to = new URL(answer.headers.get('location'), url);
      if (to.origin !== this.issuer) return { left: to };
      return this.ask(to.href);
    }
    return { url, status: answer.status, html: await answer.text() };
  }

  // The form for `action`, as it stands, with values filled in.
  async send(page, action, values) {
    const form = [...page.html.matchAll(/<form\b[^>]*>[\s\S]*?<\/form>/g)].map((m) => m[0]).find((f) => attribute(f, 'action').startsWith(action));
    assert.ok(form, `no form for ${action} in ${page.html.slice(0, 2000)}`);
    const sent = new URLSearchParams();
    for (const [tag] of form.matchAll(/<input\b[^>]*>/g)) {
      const [name, type] = [attribute(tag, 'name'), attribute(tag, 'type')];
      if (name && !(name in values) && (type !== 'checkbox' || /\schecked/.test(tag))) sent.append(name, attribute(tag, 'value'));
    }
    for (const [name, value] of Object.entries(values)) sent.append(name, value);
    return this.ask(new URL(attribute(form, 'action'), page.url).href, sent.toString());
  }

  // From an authorization request to where the application hears the answer.
  async agree(url, login, password) {
    let page = await this.ask(url);
    if (page.url?.includes('/sign-in')) page = await this.send(page, '/sign-in', { login, password });
    if (page.url?.includes('/auth/consent')) page = await this.send(page, '/auth/consent', { answer: 'allow' });
    assert.ok(page.left, `still at ${page.url}: ${page.html?.slice(0, 3000)}`);
    return page.left;
  }
}
