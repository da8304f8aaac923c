import { useState } from 'react';
import { useNotifications } from 'walpush-client/react';
import { useNotes } from './api';
import { toast } from './toasts';
import { When } from './ui';

/** The user's notes: what there is from the backend, what comes from walpush, and a toast for each that comes. */
export function Bell({ user }: { user: number }) {
  const [open, setOpen] = useState(false);
  const notes = useNotes();
  const { unread, markRead } = useNotifications(user, (note) =>
    toast('note', `${note.sendback_type} on request ${note.data?.request ?? ''}, by ${note.updated_by ?? 'somebody'}: ${note.reason}`),
  );
  return (
    <div className="bell">
      <button
        aria-label={`Notifications, ${unread} unread`}
        aria-expanded={open}
        onClick={() => {
          setOpen(!open);
          markRead();
        }}
      >
        <svg viewBox="0 0 24 24" width="20" aria-hidden="true">
          <path d="M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15zM10 20h4" />
        </svg>
        {unread > 0 && <b data-unread>{unread}</b>}
      </button>
      {open && (
        <ul className="card notes">
          {notes.data?.length ? null : <li className="quiet">Nothing to tell.</li>}
          {notes.data?.map((note) => (
            <li key={note.id} data-note={note.id}>
              <b>{note.created_by_name}</b>: {note.reason}
              <small>
                {note.sendback_type}, {note.request_type} request {note.request}, {note.crate_barcode}, <When at={note.created_at} />
              </small>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
