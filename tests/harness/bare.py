"""The application's database, before the DBA has done anything."""
import contextlib

from throwaway.cluster import ROOT, SAMPLE, SCHEMA

TEARDOWN = ROOT / "sql/teardown.sql"


@contextlib.contextmanager
def bare_application(server, name="app"):
    """Yields the database's name. Afterwards what a DBA made in it is taken back, roles too."""
    server.create_database(name, schema=False)
    server.psql(SCHEMA, dbname=name)
    server.psql(SAMPLE, dbname=name)
    yield name
    server.psql(TEARDOWN, dbname=name)
    server.drop(name)
