/** The demo's processes, and a wire to cut between the pages and walpush. */
import { spawn } from 'node:child_process';
import { createServer, connect, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A TCP proxy in front of walpush: cut() ends what runs through it and lets nothing through until mend(). */
class Wire {
  #target = 0;
  #whole = true;
  #ends = new Set<Socket>();
  readonly server: Server = createServer((near) => {
    if (!this.#whole) return void near.destroy();
    const far = connect(this.#target, '127.0.0.1');
    for (const [one, other] of [[near, far], [far, near]] as const) {
      this.#ends.add(one);
      one.setNoDelay(true);
      one.on('error', () => {});
      one.on('close', () => {
        this.#ends.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });

  async open(): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return (this.server.address() as AddressInfo).port;
  }
  aim(port: number): void {
    this.#target = port;
  }
  cut(): void {
    this.#whole = false;
    this.#ends.forEach((end) => end.destroy());
  }
  mend(): void {
    this.#whole = true;
  }
  close(): void {
    this.cut();
    this.server.close();
  }
}

export interface Stage {
  address: string;
  admin: number;
  wire: Wire;
  /** Of people who have logged in, by name. */
  sessions: Map<string, string>;
  sql(text: string, ...args: unknown[]): Promise<any[][]>;
  service(name: 'walpush' | 'backend', what: 'start' | 'stop' | 'kill'): Promise<void>;
  call(what: string, args?: object): Promise<any>;
  end(): Promise<void>;
}

export async function openStage({ accessSeconds = 900, origins = [] as string[] } = {}): Promise<Stage> {
  const wire = new Wire();
  const port = await wire.open();
  const stage = spawn(
    `${ROOT}/build/venv/bin/python`,
    [`${ROOT}/tests/e2e/stage.py`, `--access-seconds=${accessSeconds}`, `--websocket-url=ws://127.0.0.1:${port}`],
    { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, DEMO_ORIGINS: origins.join(' ') } },
  );
  const ended = new Promise<number | null>((resolve) => stage.on('close', resolve));
  const lines = createInterface(stage.stdout)[Symbol.asyncIterator]();
  const read = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`stage.py ended with ${await ended}`);
    return JSON.parse(value);
  };
  let last: Promise<any> = read();
  const where = await last;
  wire.aim(where.live);
  const call = (what: string, args: object = {}) => {
    stage.stdin.write(JSON.stringify({ do: what, ...args }) + '\n');
    return (last = last.then(read)); // answers come in order
  };
  return {
    ...where,
    wire,
    sessions: new Map(),
    call,
    sql: async (text, ...args) => (await call('sql', { text, args })).rows,
    service: async (name, what) => void (await call('service', { name, what })),
    end: async () => {
      wire.close();
      stage.stdin.end();
      const status = await ended;
      if (status !== 0) throw new Error(`stage.py ended with ${status}`);
    },
  };
}
