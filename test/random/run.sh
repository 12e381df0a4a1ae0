#!/usr/bin/env bash
# Random histories against the oracle.  Needs a running server (PGHOST, PGPORT,
# PGUSER, PGDATABASE) on which the extension is installed; works in a database
# of its own, which is removed afterwards unless something failed.
#
#	SEED=n		other histories (default: always the same)
#	HISTORIES=n	how many (default 416; each is played in five variants)
#	RULE_HISTORIES=n	how many with rules (default 210, in five variants)
#	SHRINK=n	how many mismatches to reduce to minimal histories (default 3)
#	WITHOUT=...	kinds of histories to leave out, see histories.pl
set -u
cd "$(dirname "$0")" || exit 1

SEED=${SEED:-20240229}
HISTORIES=${HISTORIES:-416}
export SEED HISTORIES
home=${PGDATABASE:-postgres}
db=loyalty_random_$$
passed=0
failed=0

PGDATABASE=$home psql -X -q -v ON_ERROR_STOP=1 -c "CREATE DATABASE $db" || exit 1
export PGDATABASE=$db
export PGOPTIONS="${PGOPTIONS:-} -c synchronous_commit=off"

# lines that begin with ok or not ok, counted; of the latter two of a kind shown
declare -A shown
count()
{
	local line kind
	while IFS= read -r line; do
		case $line in
			"ok - "*) passed=$((passed + 1)) ;;
			"not ok - "*)
				failed=$((failed + 1))
				kind=${line//[0-9]/}
				shown[$kind]=$((${shown[$kind]:-0} + 1))
				[ "${shown[$kind]}" -gt 2 ] || echo "$line"
				;;
			*) echo "# $line" ;;
		esac
	done
}

must()
{
	if ! "$@"; then
		echo "not ok - $*"
		failed=$((failed + 1))
	fi
}

# a script that counts for itself
play()
{
	local log p f
	log=$(mktemp)
	perl "$1" | tee "$log" | sed -u '/^[0-9]* passed, [0-9]* failed$/d'
	if read -r p _ f _ < <(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log"); then
		passed=$((passed + p))
		failed=$((failed + f))
	else
		echo "not ok - $1 ended early"
		failed=$((failed + 1))
	fi
	rm -f "$log"
}

must psql -X -q -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning; CREATE EXTENSION loyalty' -f schema.sql -f oracle.sql -f rules.sql -f rules_oracle.sql
if [ $failed -eq 0 ]; then
	echo "# the oracle knows the examples"
	count < <(psql -X -q -At -f examples.sql 2>&1 || echo "not ok - examples.sql ended early")
	echo "# tiers: one by one and in bulk"
	count < <(psql -X -q -At -v seed="$SEED" -f tiers.sql 2>&1 || echo "not ok - tiers.sql ended early")
	play histories.pl
	echo "# explanations and quotes"
	count < <(psql -X -q -At -v seed="$SEED" -f answers.sql 2>&1 || echo "not ok - answers.sql ended early")
	play rules.pl
fi

if [ $failed -eq 0 ]; then
	PGDATABASE=$home psql -X -q -c "DROP DATABASE $db" || failed=1
else
	echo "# database $db is kept"
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
