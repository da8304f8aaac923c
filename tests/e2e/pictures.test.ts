/** The pictures in docs/: SCREENSHOTS names the directory, from the repository's root. */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { it } from 'vitest';
import { openBrowser, Person } from './people.ts';
import { openStage } from './stage.ts';

const wanted = process.env.SCREENSHOTS;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

it.runIf(wanted)('are taken of the demo at work', async () => {
  const directory = resolve(ROOT, wanted!);
  mkdirSync(directory, { recursive: true });
  const [stage, browser] = await Promise.all([openStage(), openBrowser()]);
  const take = (person: Person, name: string) =>
    person.page.screenshot({ path: join(directory, `${name}.png`) });
  const viewport = { width: 1240, height: 660 };
  try {
    const [ravi, asha, meena, dark] = await Promise.all([
      Person.logIn(browser, stage, 'ravi'),
      Person.logIn(browser, stage, 'asha', 'transactions', { viewport }),
      Person.logIn(browser, stage, 'meena', 'dashboard', { viewport }),
      Person.logIn(browser, stage, 'meena', 'storage', { viewport, colorScheme: 'dark' }),
    ]);
    const [[request]] = (await stage.sql(
      "UPDATE requests SET withdrawn_by_id = (SELECT id FROM users WHERE username = 'asha')" +
        " WHERE id = (SELECT max(id) FROM requests WHERE unit_id = 1 AND status = 'Pending') RETURNING id",
    )) as [[number]];
    await ravi.press(request, 'send-back');
    await ravi.page.fill('dialog textarea', 'Which shelf, please?');
    await ravi.page.click('dialog .primary');
    await asha.page.waitForSelector('.toast.note');
    await asha.sees(request, 'Sent Back');
    await take(asha, 'demo-transactions');
    await ravi.page.click('[data-action=approve]');
    await meena.page.waitForSelector('.steps .new:has-text("approved")');
    await take(meena, 'demo-dashboard');
    await take(dark, 'demo-storage-dark');
    await Promise.all([ravi, asha, meena, dark].map((person) => person.leave()));
  } finally {
    await browser.close();
    await stage.end();
  }
});
