import { useState } from 'react';
import { login } from '../auth';

const PEOPLE = [
  ['asha', 'User, North Plant'],
  ['ravi', 'Section Head, North Plant: approves'],
  ['meena', 'Store Head, North Plant: issues, allocates'],
  ['bob', 'User, South Plant'],
  ['sam', 'System Admin: every unit'],
] as const;

export function Login() {
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const [trouble, setTrouble] = useState('');
  const [busy, setBusy] = useState(false);

  async function submit() {
    setBusy(true);
    try {
      await login(username, password);
    } catch (error) {
      setTrouble(error instanceof TypeError ? 'The server cannot be reached.' : (error as Error).message);
      setBusy(false);
    }
  }

  return (
    <main className="login">
      <form
        className="card"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <h1>
          <img src="/crate.svg" alt="" /> Crate Store
        </h1>
        <label>
          Name
          <input name="username" autoComplete="username" autoFocus required value={username} onChange={(e) => setUsername(e.target.value)} />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required value={password} onChange={(e) => setPassword(e.target.value)} />
        </label>
        <button className="primary" disabled={busy}>
          Log in
        </button>
        {trouble && <p role="alert">{trouble}</p>}
      </form>
      <aside>
        <h2>Who to be</h2>
        <p>Two windows, two people: what one does, the other sees.</p>
        <ul>
          {PEOPLE.map(([name, what]) => (
            <li key={name}>
              <button type="button" onClick={() => setUsername(name)}>
                {name}
              </button>
              {what}
            </li>
          ))}
        </ul>
        <p>
          Everybody's password is <code>walpush-demo</code>.
        </p>
      </aside>
    </main>
  );
}
