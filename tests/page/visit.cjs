// Visits the admin page in a real browser: node visit.cjs read|act HOST:PORT TOKEN. Ends with an error that says what was not as it should be.
"use strict";
const { chromium } = require("playwright-core");
const [step, admin, token] = process.argv.slice(2);
const PATIENCE = 30000;

async function until(what, so) {
  const end = Date.now() + PATIENCE;
  let last;
  do {
    try { last = await so(); if (last) return last; } catch (e) { last = e.message; }
    await new Promise(done => setTimeout(done, 100));
  } while (Date.now() < end);
  throw new Error(`waited in vain: ${what} (${last})`);
}

async function read(page) {
  await until("four tablets are shown", async () => await page.locator(".tablet").count() === 4);
  await until("all serve", async () => await page.locator(".tablet .dot.SERVING").count() === 4);
  await until("two shards are drawn", async () => await page.locator("canvas").count() === 2);
  await until("rates are shown", async () => /requests\/s/.test(await page.locator(".legend .rate").first().textContent()));
  const statements = page.locator("#statements");
  await until("statements are listed", async () => (await statements.textContent()).includes("select v from t where v = ?"));
  if ((await page.content()).includes("alert(1)")) throw new Error("a value is shown");
  await until("a pinned session says why", async () => (await page.locator("#sessions").textContent()).toLowerCase().includes("get_lock"));
  await until("the move is in the timeline", async () => (await page.locator("#recoveries").textContent()).includes("PlannedReparentShard"));
  const buttons = page.locator(".tablet button");
  await until("there are buttons", async () => await buttons.count() > 0);
  for (const button of await buttons.all()) if (await button.isEnabled()) throw new Error("a button works without a token");
  // And if somebody forges the click, the listener refuses.
  const status = await page.evaluate(async () => (await fetch("/api/tablets/zone1-101/type", { method: "PUT", body: "drained" })).status);
  if (status !== 403) throw new Error(`a change without a token is answered with ${status}`);
}

async function act(page) {
  await until("it asks for the token", async () => (await page.locator("#trouble").textContent()).includes("admin token is needed"));
  if (await page.locator(".tablet").count()) throw new Error("it shows something without the token");
  await page.locator("#token").fill(token);
  await page.locator("#key button").click();
  await until("three tablets serve", async () => await page.locator(".tablet .dot.SERVING").count() === 3);
  const of = alias => page.locator(`[data-alias="${alias}"]`);
  const press = async (alias, label, yes) => {
    await until(`${label} can be pressed`, async () => {
      await of(alias).getByRole("button", { name: label, exact: true }).click({ timeout: 1000 });
      return page.locator("#ask[open]").isVisible();
    });
    await page.locator(yes ? "#ask-yes" : "#ask-no").click();
  };
  await press("zone1-101", "make primary", false);
  await press("zone1-102", "drain", true);
  await until("it is drained", async () => (await of("zone1-102").textContent()).includes("drained"));
  await press("zone1-102", "undrain", true);
  await until("it is used again", async () => (await of("zone1-102").textContent()).includes("replica"));
  await until("three tablets serve again", async () => await page.locator(".tablet .dot.SERVING").count() === 3);
  if (!(await of("zone1-100").textContent()).includes("primary")) throw new Error("a move that was not confirmed was made");
  await press("zone1-101", "make primary", true);
  await until("it is primary", async () => (await of("zone1-101").textContent()).includes("primary in zone1"));
}

(async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  const page = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
  const errors = [];
  page.on("pageerror", e => errors.push(e.message));
  page.on("console", m => { if (m.type() === "error" && !/40[13]/.test(m.text())) errors.push(m.text()); });
  try {
    await page.goto(`http://${admin}/`);
    await (step === "act" ? act : read)(page);
    await page.screenshot({ path: `${process.env.SHOTS}/${step}.png`, fullPage: true });
    if (errors.length) throw new Error(errors.join("\n"));
  } catch (e) {
    await page.screenshot({ path: `${process.env.SHOTS}/${step}-failed.png`, fullPage: true }).catch(() => {});
    throw e;
  } finally {
    await browser.close();
  }
})().catch(e => { console.error(e.message); process.exit(1); });
