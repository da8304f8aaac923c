/** For tests/deploy/demo.sh: at FIRST_PAGE somebody logs in and is live; PICTURE is where the page's picture goes. */
import { it } from 'vitest';
import { openBrowser, Person } from './people.ts';
import type { Stage } from './stage.ts';

const address = process.env.FIRST_PAGE;

it.runIf(address)('shows the first page', async () => {
  const browser = await openBrowser();
  try {
    const asha = await Person.logIn(browser, { address, sessions: new Map() } as unknown as Stage, 'asha');
    await asha.page.waitForSelector('[data-request]');
    await asha.page.screenshot({ path: process.env.PICTURE! });
    await asha.leave();
  } finally {
    await browser.close();
  }
});
