/** Requests of real programs, and whether they get a page. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { HttpHeadReader } from "../../../../src/net/http-head.ts";
import { acceptsHtml, navigationOf } from "../../../../src/proxy/protocols/http/navigation.ts";

const CHROME_HTML =
  "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";
const FIREFOX_HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

type Fields = Readonly<Record<string, string>>;

/** A request to localhost, or through a proxy that terminates TLS. */
const chrome: Fields = {
  Host: "app.localhost",
  Connection: "keep-alive",
  "sec-ch-ua-mobile": "?0",
  "Upgrade-Insecure-Requests": "1",
  "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
  Accept: CHROME_HTML,
  "Sec-Fetch-Site": "none",
  "Sec-Fetch-Mode": "navigate",
  "Sec-Fetch-User": "?1",
  "Sec-Fetch-Dest": "document",
  "Accept-Encoding": "gzip, deflate, br, zstd",
};
/** A request to another host without TLS, which has no Sec-Fetch headers. */
const firefox: Fields = {
  Host: "nas:8080",
  "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
  Accept: FIREFOX_HTML,
  "Accept-Language": "en-US,en;q=0.5",
  "Accept-Encoding": "gzip, deflate",
  Connection: "keep-alive",
  "Upgrade-Insecure-Requests": "1",
  Priority: "u=0, i",
};
const safari: Fields = {
  Host: "nas:8080",
  "Upgrade-Insecure-Requests": "1",
  Accept: FIREFOX_HTML,
  "User-Agent":
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
  "Accept-Language": "en-GB,en;q=0.9",
  "Accept-Encoding": "gzip, deflate",
  Connection: "keep-alive",
};

function head(fields: Fields, line = "GET / HTTP/1.1"): NonNullable<ReturnType<HttpHeadReader["read"]>> {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  const read = new HttpHeadReader().read(Buffer.from(`${line}\r\n${lines.join("")}\r\n`));
  assert.ok(read);
  return read;
}

function without(fields: Fields, ...names: string[]): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}

const own: Readonly<Record<string, Fields>> = {
  "Chrome, an address that was typed": chrome,
  "Chrome, a link of the same site": { ...chrome, "Sec-Fetch-Site": "same-origin" },
  "Chrome, a reload": { ...chrome, "Cache-Control": "max-age=0" },
  "Firefox without TLS, a link of the same site": { ...firefox, Referer: "http://nas:8080/list" },
  "Safari with Fetch Metadata": {
    ...safari,
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
  },
};

const foreign: Readonly<Record<string, Fields>> = {
  "Chrome, a link of another site": { ...chrome, "Sec-Fetch-Site": "cross-site", Referer: "http://other.test/" },
  "Chrome, a link of a neighbour": { ...chrome, "Sec-Fetch-Site": "same-site" },
  "Chrome, another site that names itself this one": {
    ...chrome,
    "Sec-Fetch-Site": "cross-site",
    Referer: "http://app.localhost/",
  },
  "Firefox without TLS and without Referer": firefox,
  "Firefox without TLS, a link of another site": { ...firefox, Referer: "http://other.test/" },
  "Firefox without TLS, a link of another port": { ...firefox, Referer: "http://nas:8081/" },
  "Firefox without TLS, a referer that is none": { ...firefox, Referer: "nas:8080" },
  "Safari without TLS": safari,
};

const fetched = { "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin" };
const otherRequests: Readonly<Record<string, Fields>> = {
  curl: { Host: "nas:8080", "User-Agent": "curl/7.88.1", Accept: "*/*" },
  "curl that accepts HTML": { Host: "nas:8080", "User-Agent": "curl/7.88.1", Accept: "text/html" },
  wget: { Host: "nas:8080", "User-Agent": "Wget/1.21.3", Accept: "*/*", "Accept-Encoding": "identity" },
  "a program without headers": {},
  "fetch()": { ...without(chrome, "Upgrade-Insecure-Requests", "Sec-Fetch-User"), Accept: "*/*", ...fetched },
  "fetch() of HTML": { ...without(chrome, "Upgrade-Insecure-Requests", "Sec-Fetch-User"), ...fetched },
  "fetch() of HTML without TLS": { ...without(firefox, "Upgrade-Insecure-Requests"), Accept: "text/html" },
  "XMLHttpRequest of JSON": {
    ...without(firefox, "Upgrade-Insecure-Requests"),
    Accept: "application/json, text/plain, */*",
  },
  "XMLHttpRequest of HTML, by jQuery": {
    ...firefox,
    Accept: "text/html, */*; q=0.01",
    "X-Requested-With": "XMLHttpRequest",
  },
  "Chrome, the icon": {
    ...without(chrome, "Upgrade-Insecure-Requests", "Sec-Fetch-User"),
    Accept: "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Dest": "image",
  },
  "Firefox, the icon": { ...without(firefox, "Upgrade-Insecure-Requests"), Accept: "image/avif,image/webp,*/*" },
  "Safari, the icon": { ...without(safari, "Upgrade-Insecure-Requests"), Accept: "*/*" },
  "Chrome, a frame": { ...chrome, "Sec-Fetch-Dest": "iframe" },
  "Chrome, an object": { ...chrome, "Sec-Fetch-Dest": "object" },
  "Chrome, a style sheet": {
    ...without(chrome, "Upgrade-Insecure-Requests"),
    Accept: "text/css,*/*;q=0.1",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Dest": "style",
  },
  "Chrome, ahead of time": { ...chrome, "Sec-Purpose": "prefetch" },
  "Chrome, ahead of time and drawn": { ...chrome, "Sec-Purpose": "prefetch;prerender" },
  "Firefox, ahead of time": { ...firefox, "X-Moz": "prefetch" },
  "Safari, a preview": { ...safari, "X-Purpose": "preview" },
  WebSocket: {
    ...without(chrome, "Upgrade-Insecure-Requests"),
    Accept: CHROME_HTML,
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-Fetch-Mode": "websocket",
    "Sec-Fetch-Dest": "empty",
  },
  "WebSocket without TLS": { ...firefox, Connection: "keep-alive, Upgrade", Upgrade: "websocket" },
  "a stream of events": { ...without(firefox, "Upgrade-Insecure-Requests"), Accept: "text/event-stream" },
  "kubelet's probe": { Host: "10.0.0.7:8080", "User-Agent": "kube-probe/1.31", Accept: "*/*", Connection: "close" },
  "Go's client": { Host: "nas:8080", "User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip" },
  "Python's requests": {
    Host: "nas:8080",
    "User-Agent": "python-requests/2.31",
    Accept: "*/*",
    Connection: "keep-alive",
  },
  "Prometheus, which takes text": {
    Host: "nas:8080",
    Accept: "application/openmetrics-text;version=1.0.0,text/plain;q=0.5,*/*;q=0.1",
  },
  "a resumed download": { ...firefox, Range: "bytes=1000-" },
  "a browser that does not accept HTML": { ...chrome, Accept: "text/html;q=0, */*" },
  "a GET with a body": { ...chrome, "Content-Length": "5" },
  "a GET with a chunked body": { ...chrome, "Transfer-Encoding": "chunked" },
};

suite("navigationOf()", () => {
  for (const [name, fields] of Object.entries(own)) {
    test(`finds a navigation of the same site: ${name}`, () =>
      assert.deepEqual(navigationOf(head(fields)), { isOwn: true }));
  }
  for (const [name, fields] of Object.entries(foreign)) {
    test(`finds a navigation of another site: ${name}`, () =>
      assert.deepEqual(navigationOf(head(fields)), { isOwn: false }));
  }
  for (const [name, fields] of Object.entries(otherRequests)) {
    test(`returns undefined: ${name}`, () => assert.equal(navigationOf(head(fields)), undefined));
  }
  for (const line of ["HEAD / HTTP/1.1", "POST / HTTP/1.1", "PUT / HTTP/1.1", "GET / HTTP/1.0", "OPTIONS / HTTP/1.1"]) {
    test(`returns undefined: ${line}`, () => {
      assert.equal(navigationOf(head(chrome, line)), undefined);
      assert.equal(navigationOf(head(firefox, line)), undefined);
    });
  }
  test("returns undefined if a header occurs twice", () => {
    for (const name of ["Sec-Fetch-Mode", "Sec-Fetch-Dest"]) {
      const twice = head({ ...chrome, [name.toLowerCase()]: chrome[name] ?? "" });
      assert.equal(navigationOf(twice), undefined, name);
    }
  });
});

suite("acceptsHtml()", () => {
  const cases: Readonly<Record<string, boolean>> = {
    "text/html": true,
    "TEXT/HTML; charset=utf-8": true,
    "application/json, text/html;q=0.1": true,
    "text/html;q=0.001": true,
    "text/html;q=0": false,
    "text/html; q=0.000": false,
    "*/*": false,
    "text/*": false,
    "application/xhtml+xml": false,
    "text/html-like": false,
    "": false,
  };
  for (const [accept, expected] of Object.entries(cases)) {
    test(`is ${expected} for "${accept}"`, () => {
      assert.equal(acceptsHtml(head({ Accept: accept })), expected);
    });
  }
});
