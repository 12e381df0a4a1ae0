#!/bin/bash
#
# The published check of lifetime value: the CDNOW sample of Fader, Hardie and
# Lee (2005), one customer in ten, 39 weeks.  The fit of BG/NBD must find r .243,
# alpha 4.414, a .793, b 2.426 and a log-likelihood of -9582.4.
#
#   test/bench/cdnow.sh FILE.csv
#
# FILE has a header row and the columns customer, x (repeat purchases), t_x and
# T (weeks to the last of them, and of observation); it is not part of the
# project, the authors offer it with the paper.
#
# Settings, from the environment: PG_CONFIG, TMPDIR as usual.
# The extension must be installed (make install).  As root the script runs
# itself as user postgres, because a server refuses to run as root.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/cluster.sh"

start_cluster </dev/null
createdb cdnow
found=$(psql -X -q -A -t -F ' ' -v ON_ERROR_STOP=1 -d cdnow <<SQL
CREATE EXTENSION loyalty;
CREATE TABLE cdnow (customer text, x double precision, t_x double precision, t double precision);
\\copy cdnow FROM '${1:?name the file}' CSV HEADER
SELECT count(*), sum(x) FROM cdnow;
\\timing on
SELECT round(f.r::numeric, 3), round(f.alpha::numeric, 3), round(f.a::numeric, 3), round(f.b::numeric, 3), round(f.log_likelihood::numeric, 1)
FROM (SELECT array_agg(x) AS x, array_agg(t_x) AS t_x, array_agg(t) AS t, array_agg(1::double precision) AS n FROM cdnow) s,
	loyalty.bgnbd_fit(s.x, s.t_x, s.t, s.n) f;
SQL
)
echo "$found"
for want in '2357 2457' '0.243 4.414 0.793 2.426 -9582.4'; do
	grep -qx -- "$want" <<<"$found" || { echo "expected: $want" >&2; exit 1; }
done
