/** tests/harness/stage.py from here: a real PostgreSQL and a real walpush. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('../../tests/harness/stage.py', import.meta.url));

export interface Stage {
  url: string;
  request: number;
  crate: number;
  call(what: string, args?: object): Promise<any>;
  sql(text: string, ...args: unknown[]): Promise<any[][]>;
  token(user: number, lifetime?: number): Promise<string>;
  end(): Promise<void>;
}

export async function openStage(): Promise<Stage> {
  const python = process.env.PYTHON ?? '/usr/bin/python3';
  const process_ = spawn(python, [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<number | null>((resolve) => process_.on('close', resolve));
  const lines = createInterface(process_.stdout)[Symbol.asyncIterator]();
  const read = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`stage.py ended with ${await ended}`);
    return JSON.parse(value);
  };
  let last: Promise<any> = read();
  const where = await last;
  const call = (what: string, args: object = {}) => {
    process_.stdin.write(JSON.stringify({ do: what, ...args }) + '\n');
    return (last = last.then(read)); // answers come in order
  };
  return {
    ...where,
    call,
    sql: async (text, ...args) => (await call('sql', { text, args })).rows,
    token: async (user, lifetime = 900) => (await call('token', { user, lifetime })).token,
    end: async () => {
      process_.stdin.end();
      const status = await ended;
      if (status !== 0) throw new Error(`stage.py ended with ${status}`);
    },
  };
}
