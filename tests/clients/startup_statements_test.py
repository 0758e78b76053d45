"""What other clients say first, word by word: pgAdmin, Npgsql (.NET, Power BI), Rails, TypeORM, psycopg's TypeInfo.

The statements are those of the clients; they go over both protocols, through psycopg.
"""

import psycopg
from psycopg.types import TypeInfo

from doors import PG, equal

host, port = PG.rsplit(":", 1)

PGADMIN = [
    "SET DateStyle=ISO; SET client_min_messages=notice; SELECT set_config('bytea_output','hex',false) "
    "FROM pg_show_all_settings() WHERE name = 'bytea_output'; SET client_encoding='utf-8';",
    """
SELECT
    db.oid as did, db.datname, db.datallowconn,
    pg_catalog.pg_encoding_to_char(db.encoding) AS serverencoding,
    pg_catalog.has_database_privilege(db.oid, 'CREATE') as cancreate, datistemplate
FROM
    pg_catalog.pg_database db
WHERE db.datname = pg_catalog.current_database()""",
    "SELECT gss_authenticated, encrypted FROM pg_catalog.pg_stat_gssapi WHERE pid = pg_backend_pid()",
    "SELECT version()",
    "SELECT pg_catalog.pg_is_in_recovery() AS inrecovery",
]

NPGSQL = """
SELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid
FROM (
    -- Arrays have typtype=b - this subquery identifies them by their typreceive and converts their typtype to a
    -- We first do this for the type (innerest-most subquery), and then for its element type
    -- This also returns the array element, range subtype and domain base type as elemtypoid
    SELECT
        typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typrelid, typ.typnotnull, typ.relkind,
        elemtyp.oid AS elemtypoid, elemtyp.typname AS elemtypname, elemcls.relkind AS elemrelkind,
        CASE WHEN elemproc.proname='array_recv' THEN 'a' ELSE elemtyp.typtype END AS elemtyptype
    FROM (
        SELECT typ.oid, typnamespace, typname, typrelid, typnotnull, relkind, typelem AS elemoid,
            CASE WHEN proc.proname='array_recv' THEN 'a' ELSE typ.typtype END AS typtype,
            CASE
                WHEN proc.proname='array_recv' THEN typ.typelem
                WHEN typ.typtype='r' THEN rngsubtype
                WHEN typ.typtype='m' THEN (SELECT rngtypid FROM pg_range WHERE rngmultitypid = typ.oid)
                WHEN typ.typtype='d' THEN typ.typbasetype
            END AS elemtypoid
        FROM pg_type AS typ
        LEFT JOIN pg_class AS cls ON (cls.oid = typ.typrelid)
        LEFT JOIN pg_proc AS proc ON proc.oid = typ.typreceive
        LEFT JOIN pg_range ON (pg_range.rngtypid = typ.oid)
    ) AS typ
    LEFT JOIN pg_type AS elemtyp ON elemtyp.oid = elemtypoid
    LEFT JOIN pg_class AS elemcls ON (elemcls.oid = elemtyp.typrelid)
    LEFT JOIN pg_proc AS elemproc ON elemproc.oid = elemtyp.typreceive
) AS t
JOIN pg_namespace AS ns ON (ns.oid = typnamespace)
WHERE
    typtype IN ('b', 'r', 'm', 'e', 'd') OR -- Base, range, multirange, enum, domain
    (typtype = 'c' AND relkind='c') OR -- User-defined free-standing composites (not table composites) by default
    (typtype = 'p' AND typname IN ('record', 'void', 'unknown')) OR -- Some special supported pseudo-types
    (typtype = 'a' AND (  -- Array of...
        elemtyptype IN ('b', 'r', 'm', 'e', 'd') OR -- Array of base, range, multirange, enum, domain
        (elemtyptype = 'p' AND elemtypname IN ('record', 'void')) OR -- Arrays of special supported pseudo-types
        (elemtyptype = 'c' AND elemrelkind='c') -- Array of user-defined free-standing composites
    ))
ORDER BY CASE
       WHEN typtype IN ('b', 'e', 'p') THEN 0           -- First base types, enums, pseudo-types
       WHEN typtype = 'c' THEN 1                        -- Composites after (fields loaded later in 2nd pass)
       WHEN typtype = 'r' THEN 2                        -- Ranges after
       WHEN typtype = 'm' THEN 3                        -- Multiranges after
       WHEN typtype = 'd' AND elemtyptype <> 'a' THEN 4 -- Domains over non-arrays after
       WHEN typtype = 'a' THEN 5                        -- Arrays after
       WHEN typtype = 'd' AND elemtyptype = 'a' THEN 6  -- Domains over arrays last
END"""

NPGSQL_MORE = [
    """
-- Load field definitions for (free-standing) composite types
SELECT typ.oid, att.attname, att.atttypid
FROM pg_type AS typ
JOIN pg_namespace AS ns ON (ns.oid = typ.typnamespace)
JOIN pg_class AS cls ON (cls.oid = typ.typrelid)
JOIN pg_attribute AS att ON (att.attrelid = typ.typrelid)
WHERE
  (typ.typtype = 'c' AND cls.relkind='c') AND
  attnum > 0 AND     -- Don't load system attributes
  NOT attisdropped
ORDER BY typ.oid, att.attnum""",
    """
-- Load enum fields
SELECT pg_type.oid, enumlabel
FROM pg_enum
JOIN pg_type ON pg_type.oid=enumtypid
ORDER BY oid, enumsortorder""",
]

RAILS = [
    "SET client_min_messages TO 'warning'",
    "SET standard_conforming_strings = on",
    "SET SESSION timezone TO 'UTC'",
    "SET intervalstyle = iso_8601",
    "SHOW search_path",
    "SHOW max_identifier_length",
    "SELECT current_database()",
    "SELECT pg_try_advisory_lock(4919)",
    "SELECT pg_advisory_unlock(4919)",
]

RAILS_TYPES = """
SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype, t.typtype, t.typbasetype
FROM pg_type as t
LEFT JOIN pg_range as r ON oid = rngtypid
WHERE
  t.typname IN ('int2', 'int4', 'int8', 'oid', 'float4', 'float8', 'numeric', 'bool', '_int4')
  OR t.typtype IN ('r', 'e', 'd')
  OR t.typinput = 'array_in(cstring,oid,integer)'::regprocedure
  OR t.typelem != 0"""

TYPEORM = [
    "SELECT * FROM current_schema()",
    "SELECT * FROM current_database()",
    "SELECT version()",
    "SHOW server_version",
    """SELECT * FROM "information_schema"."tables" WHERE "table_schema" = 'public' AND "table_name" = 'migrations'""",
]


def connect():
    return psycopg.connect(host=host, port=port, user="anyone", dbname="fourfold", autocommit=True)


def run(connection, text):
    """Over both protocols, since clients use one or the other."""
    simple = connection.execute(text)
    if ";" in text.strip().rstrip(";"):
        return simple
    found = simple.fetchall() if simple.description else None
    extended = connection.execute(text, prepare=True)
    again = extended.fetchall() if extended.description else None
    assert (found is None) == (again is None) and len(found or []) == len(again or []), text
    return found


with connect() as connection:
    for text in PGADMIN:
        run(connection, text)
    print("ok pgAdmin connects")

with connect() as connection:
    types = {row[1]: row for row in run(connection, NPGSQL)}
    kind = {oid: (row[0], row[2], row[3], row[5]) for oid, row in types.items()}
    equal("Npgsql: a base type", kind[23], ("pg_catalog", "int4", "b", None))
    equal("Npgsql: an array", kind[1007], ("pg_catalog", "_int4", "a", 23))
    equal("Npgsql: a range", kind[3904], ("pg_catalog", "int4range", "r", 23))
    equal("Npgsql: a multirange has its range", kind[4451], ("pg_catalog", "int4multirange", "m", 3904))
    for text in NPGSQL_MORE:
        equal("Npgsql: no types of users", run(connection, text), [])

with connect() as connection:
    for text in RAILS:
        run(connection, text)
    types = {row[1]: row for row in run(connection, RAILS_TYPES)}
    equal("Rails: a type has its input function", types["int4"][4], "int4in")
    equal("Rails: an array", (types["_int4"][2], types["_int4"][4]), (23, "array_in"))

with connect() as connection:
    equal("TypeORM: the schema", run(connection, TYPEORM[0]), [("public",)])
    equal("TypeORM: the database", run(connection, TYPEORM[1]), [("fourfold",)])
    for text in TYPEORM[2:]:
        run(connection, text)
    print("ok TypeORM connects")

with connect() as connection:
    info = TypeInfo.fetch(connection, "int4")
    equal("psycopg: a type by its name", (info.oid, info.array_oid, info.regtype), (23, 1007, "integer"))
    equal("psycopg: a type that is not there", TypeInfo.fetch(connection, "hstore"), None)
