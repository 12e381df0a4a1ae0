#!/usr/bin/env bash
# Token soup for the compiler of conditions.  Needs a running server (PGHOST,
# PGPORT, PGUSER, PGDATABASE) on which the extension is installed; works in a
# database of its own, which is removed afterwards unless something failed.
#
#	SEED=n		other soup (default: always the same)
#	INPUTS=n	how many expressions of each kind (default 1000; there are four)
set -u
cd "$(dirname "$0")" || exit 1

SEED=${SEED:-20240229}
INPUTS=${INPUTS:-1000}
home=${PGDATABASE:-postgres}
db=loyalty_fuzz_$$
passed=0
failed=0

PGDATABASE=$home psql -X -q -v ON_ERROR_STOP=1 -c "CREATE DATABASE $db" || exit 1
export PGDATABASE=$db
# a message is read as one line, whatever the server's language
export PGOPTIONS="${PGOPTIONS:-} -c synchronous_commit=off -c lc_messages=C"

while IFS= read -r line; do
	case $line in
		"ok - "*) passed=$((passed + 1)) ;;
		"not ok - "*)
			failed=$((failed + 1))
			[ $failed -gt 20 ] || echo "$line"
			;;
		*) echo "# $line" ;;
	esac
done < <(psql -X -q -At -v ON_ERROR_STOP=1 -f soup.sql 2>&1 &&
	psql -X -q -At -v seed="$SEED" -v inputs="$INPUTS" -f play.sql 2>&1 || echo "not ok - psql ended early")

# each input, and the verdicts at the end
if [ $((passed + failed)) -lt $((4 * INPUTS)) ]; then
	echo "not ok - only $((passed + failed)) inputs were judged"
	failed=$((failed + 1))
fi
if [ $failed -eq 0 ]; then
	PGDATABASE=$home psql -X -q -c "DROP DATABASE $db" || failed=1
else
	echo "# database $db is kept"
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
