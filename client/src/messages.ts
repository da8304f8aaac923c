/** What the server says: docs/protocol.md, as types. Rows are printed as Django REST framework prints them. */

/** A commit's position in the WAL and the message's number in its transaction, "0/16B3748-2". */
export type EventId = string;

/** The shipped configuration's streams; another configuration may have others. */
export type Stream = 'requests' | 'crates' | 'storage' | 'notifications' | (string & {});

/** The first message of a connection, and the first that a listener hears: from `id` on nothing is missing. */
export interface Established {
  type: 'connection_established';
  stream: string;
  /** Absent, as `id`, where the configuration has a `hello` of its own: that follows as a message. */
  epoch?: string;
  id?: EventId;
  /** What was missed follows. Without it, fetch everything again. */
  resumed?: boolean;
}

/** Fetch everything again that this stream is about; what follows is complete from `id` on. */
export interface Resync {
  type: 'resync';
  reason:
    | 'history' | 'epoch' | 'gap' | 'membership' | 'truncate' | 'unknown' | 'lookup' | 'bulk' | 'skipped'
    | 'unreadable' | (string & {});
  id: EventId;
  epoch: string;
}

export interface Pong {
  type: 'pong';
  timestamp: unknown;
}

export interface AuthOk {
  type: 'auth_ok';
  expires_at: string;
  /** The claims that the stream names are others than before, and nothing else is: resume with this epoch from now on. */
  epoch?: string;
}

interface Told {
  id: EventId;
  updated_at: string;
  /** The name of who did it, where the row says so. */
  updated_by: string | null;
}

/** A row was inserted or updated. */
export interface Upsert<Kind extends string, Row, Action extends string> extends Told {
  type: `${Kind}.created` | `${Kind}.updated`;
  action: 'created' | 'updated' | Action;
  /** null, with `truncated`, if the row is larger than the server sends, or its `data-query` had no answer that may be shown: fetch it. */
  data: Row | null;
  truncated?: true;
  /** Columns that PostgreSQL did not send because they are large and did not change. */
  unchanged?: string[];
}

/** A row was deleted, or (`moved`) left for another group. */
export interface Deletion<Kind extends string> extends Told {
  type: `${Kind}.deleted`;
  action: 'deleted' | 'moved';
  data: { id: number };
}

/** So many more changes of this table in one transaction: fetch. */
export interface Bulk<Kind extends string = string> {
  type: `${Kind}.bulk`;
  action: 'bulk';
  count: number;
  id: EventId;
}

export type Change<Kind extends string, Row, Action extends string, Key extends string, Fields extends keyof Row = never> =
  | (Upsert<Kind, Row, Action> & { [K in Key]: number } & Pick<Row, Fields>)
  | (Deletion<Kind> & { [K in Key]: number })
  | Bulk<Kind>;

export type RequestStatus = 'Pending' | 'Sent Back' | 'Approved' | 'Issued' | 'Returned' | 'Rejected' | 'Completed';
export type RequestAction = 'approved' | 'rejected' | 'sent_back' | 'issued' | 'returned' | 'allocated';

export interface RequestRow {
  id: number;
  request_type: 'Storage' | 'Withdrawal' | 'Destruction';
  crate: number;
  unit: number;
  request_date: string;
  approval_date: string | null;
  issue_date: string | null;
  return_date: string | null;
  expected_return_date: string | null;
  approved_by: number | null;
  allocation_date: string | null;
  allocated_by: number | null;
  status: RequestStatus;
  withdrawn_by: number | null;
  purpose: string;
  full_withdrawal: boolean;
  issued_by: number | null;
  created_at: string;
  updated_at: string;
}

export interface CrateRow {
  id: number;
  barcode: string;
  destruction_date: string | null;
  creation_date: string;
  created_by: number;
  status: 'Active' | 'Withdrawn' | 'Archived' | 'Destroyed';
  storage: number | null;
  unit: number;
  department_id: number;
  section_id: number | null;
  to_central: boolean;
  to_be_retained: boolean;
}

export interface StorageRow {
  id: number;
  unit: number;
  room_name: string;
  rack_name: string;
  compartment_name: string;
  shelf_name: string | null;
  created_at: string;
  updated_at: string;
}

export interface SendbackRow {
  id: number;
  request: number;
  reason: string;
  created_at: string;
  created_by: number;
  sendback_type: 'Change Request' | 'Return Note';
}

export type RequestMessage = Change<'request', RequestRow, RequestAction, 'request_id', 'status'>;
export type CrateMessage = Change<'crate', CrateRow, 'relocated', 'crate_id', 'status'>;
export type StorageMessage = Change<'storage', StorageRow, never, 'storage_id'>;
export type SendbackMessage = Change<'sendback', SendbackRow, 'sent_back', 'sendback_id', 'reason' | 'sendback_type'>;

/** A message of a stream that this package has no type for. */
export interface UnknownMessage {
  type: string;
  id?: EventId;
  [member: string]: unknown;
}

interface ChangesOf {
  requests: RequestMessage;
  crates: CrateMessage;
  storage: StorageMessage;
  notifications: SendbackMessage;
}

export type ChangeOf<S extends string> = S extends keyof ChangesOf ? ChangesOf[S] : UnknownMessage;

/** What a listener of the stream hears. */
export type MessageOf<S extends string> = Established | Resync | ChangeOf<S>;

/** All that the server can say with the shipped configuration. */
export type ServerMessage = Established | Resync | Pong | AuthOk | ChangesOf[keyof ChangesOf];

/** Must what was fetched for this stream be fetched again? */
export function isResync(message: { type: string; resumed?: unknown }): boolean {
  return message.type === 'resync' || (message.type === 'connection_established' && !message.resumed);
}
