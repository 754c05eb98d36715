// Threads need a page that is isolated from others, which a server says with two headers. Static hosts do not send
// them, so the service worker adds them, and keeps everything for visits without a network.

/** Settles when the page is as isolated as it can be; on a first visit it loads the page again. */
export async function isolate() {
  if (!navigator.serviceWorker || navigator.serviceWorker.controller) return;
  try {
    const taken = new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve));
    const registration = await navigator.serviceWorker.register("sw.js");
    if (registration.active) return; // the visitor loaded the page past it: one thread will do
    await taken;
    location.reload();
    await new Promise(() => {});
  } catch (error) {
    console.warn(`no service worker: ${error.message}`); // one thread, and a network, will do
  }
}
