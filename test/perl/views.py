# Reads every view of schema loyalty that the role may read as a BI tool does
# that speaks ODBC, and prints what Views.java prints: one line per column with
# view, column, the number of its ODBC type, precision and scale, and how many
# values it had; then one line per view with its rows.  A value that is not what
# the driver announced ends the program.
#
#   views.py CONNECTION-STRING [QUERY]		with a query, only its first row
import sys

import pyodbc

db = pyodbc.connect(sys.argv[1])

if len(sys.argv) > 2:
    row = db.execute(sys.argv[2]).fetchone()
    print("|".join({True: "t", False: "f"}.get(v, str(v)) if isinstance(v, bool) else str(v) for v in row))
    sys.exit(0)

views = [t.table_name for t in db.cursor().tables(schema="loyalty", tableType="VIEW")]
for view in sorted(views):
    if not db.execute("SELECT has_table_privilege('loyalty.%s', 'SELECT')" % view).fetchval():
        continue
    # an underscore in the name is a wild card
    types = {c.column_name: c.data_type for c in db.cursor().columns(schema="loyalty", table=view)
             if c.table_name == view}
    rows = db.execute("SELECT * FROM loyalty." + view)
    columns = rows.description
    values = [0] * len(columns)
    count = 0
    for row in rows:
        count += 1
        for i, value in enumerate(row):
            if value is None:
                continue
            if not isinstance(value, columns[i][1]):
                raise TypeError("%s.%s: %r is no %s" % (view, columns[i][0], value, columns[i][1]))
            values[i] += 1
    for i, (name, _, _, _, precision, scale, _) in enumerate(columns):
        print(view, name, types[name], precision, scale, values[i], sep="|")
    print(view, "", count, sep="|")
