// Keeps every file of this page that was loaded, so that it opens without a network, and adds the headers that threads
// need. The build writes the version. A new one waits until no page of the old one is open, so that they are
// not mixed; the old one's files are kept until all of the new one's are there.

const NAME = "music2latent ", VERSION = NAME + "@VERSION@";

addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("message", (event) => event.data === "loaded" && event.waitUntil(forget()));
addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(registration.scope)) event.respondWith(answer(event));
});

async function answer(event) {
  const address = event.request.url.replace(/[?#].*/, "").replace(/\/index\.html$/, "/");
  const cache = await caches.open(VERSION);
  const kept = await cache.match(address);
  if (kept) return isolated(kept);
  try {
    const fresh = await fetch(address, { cache: "no-cache" });
    if (fresh.status === 200) event.waitUntil(cache.put(address, fresh.clone()).catch(() => {})); // the disk may be full
    return isolated(fresh);
  } catch (error) {
    const older = await caches.match(address);
    if (!older) throw error;
    return isolated(older);
  }
}

function isolated({ body, status, statusText, headers }) {
  const added = new Headers(headers);
  added.set("Cross-Origin-Opener-Policy", "same-origin");
  added.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(body, { status, statusText, headers: added });
}

async function forget() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(NAME) && name !== VERSION).map((name) => caches.delete(name)));
}
