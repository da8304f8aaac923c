-- A few rows to try things with. Ids and times are fixed, so that documents and tests can name them.
--
--   unit 1 North    asha (2) User, ravi (3) Section Head, meena (4) Store Head, kiran (11) Suspended
--   unit 2 South    bob (5) User, hema (6) Section Head, omar (7) Store Head
--   unit 3 East     lena (8) User, and asha as well
--   unit 4 Central  tara (9) Store Head, uma (12) Section Head
--   every unit      root (1) superuser, sam (10) System Admin
BEGIN;

INSERT INTO units (id, unit_code, unit_name, location, created_at, updated_at)
SELECT id, code, name, place, '2025-01-01 08:00+00', '2025-01-01 08:00+00'
FROM (VALUES
    (1, 'NORTH', 'North Plant', 'Pune'),
    (2, 'SOUTH', 'South Plant', 'Chennai'),
    (3, 'EAST', 'East Plant', 'Kolkata'),
    (4, 'Central', 'Central Archive', 'Nagpur')
) AS v (id, code, name, place);

INSERT INTO roles (id, role_name, is_active) VALUES
    (1, 'System Admin', true),
    (2, 'Section Head', true),
    (3, 'Store Head', true),
    (4, 'User', true),
    (5, 'Auditor', false);

INSERT INTO users (id, username, full_name, email, role_id, unit_id, is_superuser, is_staff, status,
                   date_joined, created_at, updated_at)
SELECT id, name, initcap(name) || ' ' || initcap(surname), name || '@example.org', role, unit, root, root, status,
       '2025-01-02 08:00+00', '2025-01-02 08:00+00', '2025-01-02 08:00+00'
FROM (VALUES
    (1, 'root', 'admin', 4, NULL, true, 'Active'),
    (2, 'asha', 'patil', 4, 1, false, 'Active'),
    (3, 'ravi', 'kulkarni', 2, 1, false, 'Active'),
    (4, 'meena', 'joshi', 3, 1, false, 'Active'),
    (5, 'bob', 'thomas', 4, 2, false, 'Active'),
    (6, 'hema', 'iyer', 2, 2, false, 'Active'),
    (7, 'omar', 'khan', 3, 2, false, 'Active'),
    (8, 'lena', 'das', 4, 3, false, 'Active'),
    (9, 'tara', 'rao', 3, 4, false, 'Active'),
    (10, 'sam', 'mehta', 1, NULL, false, 'Active'),
    (11, 'kiran', 'shah', 4, 1, false, 'Suspended'),
    (12, 'uma', 'nair', 2, 4, false, 'Active')
) AS v (id, name, surname, role, unit, root, status);

INSERT INTO user_units (id, user_id, unit_id, created_at)
SELECT row_number() OVER (ORDER BY user_id, unit_id), user_id, unit_id, '2025-01-02 08:00+00'
FROM (VALUES (2, 1), (2, 3), (3, 1), (4, 1), (5, 2), (6, 2), (7, 2), (8, 3), (9, 4), (11, 1), (12, 4))
     AS v (user_id, unit_id);

INSERT INTO storages (id, unit_id, room_name, rack_name, compartment_name, shelf_name, created_at, updated_at)
SELECT n, (n + 1) / 2, 'Room ' || (n + 1) / 2, 'Rack ' || n, 'C' || n, CASE WHEN n % 2 = 0 THEN 'S' || n END,
       '2025-01-03 08:00+00', '2025-01-03 08:00+00'
FROM generate_series(1, 8) AS n;

-- Three crates a unit; the third of each is due for the central archive.
INSERT INTO crates (id, barcode, destruction_date, creation_date, created_by_id, status, storage_id, unit_id,
                    department_id, section_id, to_central, to_be_retained)
SELECT n, 'CR-' || lpad(n::text, 6, '0'), CASE WHEN n % 3 <> 0 THEN date '2032-01-01' + n END,
       timestamptz '2025-02-01 08:00+00' + n * interval '1 day', (ARRAY[2, 5, 8, 9])[(n + 2) / 3], 'Active',
       ((n + 2) / 3) * 2, (n + 2) / 3, 1 + n % 2, CASE WHEN n % 2 = 0 THEN 10 + n END, n % 3 = 0, n % 3 = 0
FROM generate_series(1, 12) AS n;

INSERT INTO requests (id, request_type, crate_id, unit_id, request_date, expected_return_date, status, withdrawn_by_id,
                      purpose, full_withdrawal, created_at, updated_at)
SELECT n, (ARRAY['Withdrawal', 'Storage', 'Destruction'])[1 + n % 3], n, (n + 2) / 3,
       timestamptz '2025-03-01 08:00+00' + n * interval '1 day',
       CASE WHEN n % 3 = 0 THEN timestamptz '2025-04-01 08:00+00' + n * interval '1 day' END,
       'Pending', (ARRAY[2, 5, 8, 9])[(n + 2) / 3], 'Yearly audit, file ' || n, true,
       timestamptz '2025-03-01 08:00+00' + n * interval '1 day', timestamptz '2025-03-01 08:00+00' + n * interval '1 day'
FROM generate_series(1, 12) AS n;

-- The sequences go on behind the rows above.
SELECT setval(pg_get_serial_sequence(name, 'id'), last)
FROM (VALUES ('units', 4), ('roles', 5), ('users', 12), ('user_units', 11), ('storages', 8), ('crates', 12),
             ('requests', 12)) AS v (name, last);

COMMIT;
