/* pgtypes: the types of PostgreSQL that walpush knows by OID. */
#ifndef WALPUSH_PGTYPES_H
#define WALPUSH_PGTYPES_H

/* OIDs of built-in types never change. Source: pg_type.dat. */
enum {
	PG_BOOL = 16,
	PG_BYTEA = 17,
	PG_INT8 = 20,
	PG_INT2 = 21,
	PG_INT4 = 23,
	PG_OID = 26,
	PG_JSON = 114,
	PG_BOX = 603,
	PG_FLOAT4 = 700,
	PG_FLOAT8 = 701,
	PG_DATE = 1082,
	PG_TIME = 1083,
	PG_TIMESTAMP = 1114,
	PG_TIMESTAMPTZ = 1184,
	PG_INTERVAL = 1186,
	PG_NUMERIC = 1700,
	PG_JSONB = 3802,
	PG_INT4RANGE = 3904,
	PG_NUMRANGE = 3906,
	PG_TSRANGE = 3908,
	PG_TSTZRANGE = 3910,
	PG_DATERANGE = 3912,
	PG_INT8RANGE = 3926,
};

#endif
