-- The application's tables, as its Django migrations make them: explicit table names, serial keys, foreign keys that
-- are checked at commit. Django keeps choices and most defaults in Python; the defaults here are for tests that write SQL.

CREATE TABLE units (
    id          serial PRIMARY KEY,
    unit_code   varchar(50)  NOT NULL UNIQUE,
    unit_name   varchar(200) NOT NULL,
    location    varchar(200) NOT NULL DEFAULT '',
    created_at  timestamptz  NOT NULL DEFAULT now(),
    updated_at  timestamptz  NOT NULL DEFAULT now()
);

CREATE TABLE roles (
    id          serial PRIMARY KEY,
    role_name   varchar(50) NOT NULL UNIQUE,
    is_active   boolean     NOT NULL DEFAULT true
);

CREATE TABLE users (
    id            serial PRIMARY KEY,
    password      varchar(128) NOT NULL DEFAULT '!',
    last_login    timestamptz,
    is_superuser  boolean      NOT NULL DEFAULT false,
    username      varchar(150) NOT NULL UNIQUE,
    first_name    varchar(150) NOT NULL DEFAULT '',
    last_name     varchar(150) NOT NULL DEFAULT '',
    email         varchar(254) NOT NULL DEFAULT '',
    is_staff      boolean      NOT NULL DEFAULT false,
    is_active     boolean      NOT NULL DEFAULT true,
    date_joined   timestamptz  NOT NULL DEFAULT now(),
    full_name     varchar(200) NOT NULL DEFAULT '',
    role_id       integer REFERENCES roles DEFERRABLE INITIALLY DEFERRED,
    unit_id       integer REFERENCES units DEFERRABLE INITIALLY DEFERRED,
    status        varchar(20)  NOT NULL DEFAULT 'Active',    -- Active, Inactive, Suspended, Locked
    created_at    timestamptz  NOT NULL DEFAULT now(),
    updated_at    timestamptz  NOT NULL DEFAULT now()
);

CREATE TABLE user_units (
    id          serial PRIMARY KEY,
    user_id     integer     NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
    unit_id     integer     NOT NULL REFERENCES units DEFERRABLE INITIALLY DEFERRED,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, unit_id)
);

CREATE TABLE storages (
    id                serial PRIMARY KEY,
    unit_id           integer      NOT NULL REFERENCES units DEFERRABLE INITIALLY DEFERRED,
    room_name         varchar(100) NOT NULL,
    rack_name         varchar(100) NOT NULL,
    compartment_name  varchar(100) NOT NULL,
    shelf_name        varchar(100),
    created_at        timestamptz  NOT NULL DEFAULT now(),
    updated_at        timestamptz  NOT NULL DEFAULT now()
);

-- Departments and sections are kept by another application: their columns are plain numbers here.
CREATE TABLE crates (
    id                serial PRIMARY KEY,
    barcode           varchar(100) NOT NULL UNIQUE,
    destruction_date  date,
    creation_date     timestamptz  NOT NULL DEFAULT now(),
    created_by_id     integer      NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
    status            varchar(20)  NOT NULL DEFAULT 'Active',    -- Active, Withdrawn, Archived, Destroyed
    storage_id        integer REFERENCES storages DEFERRABLE INITIALLY DEFERRED,
    unit_id           integer      NOT NULL REFERENCES units DEFERRABLE INITIALLY DEFERRED,
    department_id     integer      NOT NULL,
    section_id        integer,
    to_central        boolean      NOT NULL DEFAULT false,
    to_be_retained    boolean      NOT NULL DEFAULT false
);

CREATE TABLE requests (
    id                    serial PRIMARY KEY,
    request_type          varchar(20) NOT NULL,    -- Storage, Withdrawal, Destruction
    crate_id              integer     NOT NULL REFERENCES crates DEFERRABLE INITIALLY DEFERRED,
    unit_id               integer     NOT NULL REFERENCES units DEFERRABLE INITIALLY DEFERRED,
    request_date          timestamptz NOT NULL DEFAULT now(),
    approval_date         timestamptz,
    issue_date            timestamptz,
    return_date           timestamptz,
    expected_return_date  timestamptz,
    approved_by_id        integer REFERENCES users DEFERRABLE INITIALLY DEFERRED,
    allocation_date       timestamptz,
    allocated_by_id       integer REFERENCES users DEFERRABLE INITIALLY DEFERRED,
    status                varchar(20) NOT NULL DEFAULT 'Pending',    -- Sent Back, Approved, Issued, Returned, …
    withdrawn_by_id       integer REFERENCES users DEFERRABLE INITIALLY DEFERRED,    -- who asked
    purpose               text        NOT NULL DEFAULT '',
    full_withdrawal       boolean     NOT NULL DEFAULT true,
    issued_by_id          integer REFERENCES users DEFERRABLE INITIALLY DEFERRED,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sendbacks (
    id             serial PRIMARY KEY,
    request_id     integer     NOT NULL REFERENCES requests DEFERRABLE INITIALLY DEFERRED,
    reason         text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    created_by_id  integer     NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED,
    sendback_type  varchar(20) NOT NULL    -- Change Request, Return Note
);

CREATE INDEX ON users (role_id);
CREATE INDEX ON users (unit_id);
CREATE INDEX ON user_units (unit_id);
CREATE INDEX ON storages (unit_id);
CREATE INDEX ON crates (unit_id);
CREATE INDEX ON crates (storage_id);
CREATE INDEX ON requests (unit_id);
CREATE INDEX ON requests (crate_id);
CREATE INDEX ON sendbacks (request_id);
