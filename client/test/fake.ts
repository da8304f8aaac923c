/** A WebSocket in the hands of the test, and a token that can be read. */
import type { Socket } from '../src/index.js';

export class FakeSocket implements Socket {
  static made: FakeSocket[] = [];
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;
  sent: any[] = [];
  closed = false;

  constructor(readonly url: string) {
    FakeSocket.made.push(this);
  }
  static get last(): FakeSocket {
    return FakeSocket.made.at(-1)!;
  }
  get query(): URLSearchParams {
    return new URL(this.url, 'ws://page').searchParams;
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.closed = true;
  }

  // --- what the server does ---

  open(): this {
    this.onopen?.({});
    return this;
  }
  say(message: unknown): void {
    this.onmessage?.({ data: typeof message === 'string' ? message : JSON.stringify(message) });
  }
  establish(id = '0/100-0', more: object = {}): this {
    this.open();
    this.say({ type: 'connection_established', stream: 'requests', epoch: 'e1', id, ...more });
    return this;
  }
  change(id: string, more: object = {}): void {
    this.say({ type: 'request.updated', action: 'updated', request_id: 1, id, data: { id: 1 }, ...more });
  }
  pong(): void {
    this.say({ type: 'pong', timestamp: this.sent.filter((m) => m.type === 'ping').at(-1)?.timestamp });
  }
  end(code = 1006): void {
    this.closed = true;
    this.onclose?.({ code });
  }
}

/** One whose server answers pings, so that it lasts. */
export class LastingSocket extends FakeSocket {
  override send(text: string): void {
    super.send(text);
    if (this.sent.at(-1).type === 'ping') queueMicrotask(() => this.pong());
  }
}

export function jwt(lifetime: number, now = Date.now(), more: object = {}): string {
  const iat = Math.floor(now / 1000);
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'HS256' })}.${part({ iat, exp: iat + lifetime, user_id: 2, ...more })}.sig`;
}
