#!/bin/bash
#
# Benchmark: what earning costs, in one throw-away cluster, side by side with
#   bare      the same table without anything on it
#   hand      hand-written SQL that writes an entry, a lot and the balance, no
#             engine: nothing is kept to take points back by
#   facts     hand-written SQL that keeps a row of facts for each invoice, too,
#             as the extension does: the same rows and indexes
#   plpgsql   the same logic as a PL/pgSQL row trigger
#   idle      (unmapped updates only) the engine's trigger on a table that is
#             not attached: what PostgreSQL itself takes to call a row trigger
# The variants take turns in every round; the table at the end has medians,
# their spread and the ratio to bare.  CPU time is that of the backend (client,
# WAL writer and checkpointer not counted); wall-clock time says little on a
# shared machine and is given for the throughput cases only.
#
#   test/bench/run.sh            three to five minutes
#   N=1000000 CASES="insert copy memory" test/bench/run.sh
#                                bulk loads of 1,000,000 documents, an hour
#
# Settings, from the environment:
#   N        documents of one bulk load (100000)
#   MEMBERS  members they are spread over (100000)
#   ROUNDS   rounds (3)
#   TXNS     transactions of one run with one document each (20000)
#   SECONDS8 seconds of one run with 8 clients (3)
#   CASES    which cases, of: insert copy one touch drafts hot memory (all)
#   VARIANTS which variants, of: bare loyalty hand facts plpgsql (all)
#   KEEP     set: the cluster's directory is not removed
#   PG_CONFIG, TMPDIR as usual
#
# The extension must be installed (make install).  As root the script runs
# itself as user postgres, because a server refuses to run as root.
set -euo pipefail

if [ "$(id -u)" = 0 ]; then
	exec runuser -u postgres -- "$0" "$@"
fi

cd "$(dirname "$0")"
N=${N:-100000}
MEMBERS=${MEMBERS:-100000}
ROUNDS=${ROUNDS:-3}
TXNS=${TXNS:-20000}
SECONDS8=${SECONDS8:-3}
CASES=${CASES:-insert copy one touch drafts hot memory}
VARIANTS=${VARIANTS:-bare loyalty hand facts plpgsql}
bindir=$("${PG_CONFIG:-pg_config}" --bindir)
export PATH="$bindir:$PATH"
export LC_ALL=C PGTZ=UTC
unset PGDATABASE PGUSER PGSERVICE PGOPTIONS PGHOSTADDR PGPASSWORD

dir=$(mktemp -d "${TMPDIR:-/tmp}/loyalty-bench.XXXXXX")
export PGHOST=$dir PGPORT=5432 PGUSER=bench
results=$dir/results

report()
{
	[ -f "$results" ] || return 0
	echo
	echo "$(postgres --version), $(nproc) CPUs, load $(cut -d ' ' -f 1-3 /proc/loadavg); N=$N MEMBERS=$MEMBERS ROUNDS=$ROUNDS TXNS=$TXNS"
	awk -f report.awk "$results"
}

# whatever ends the run, what was measured until then is shown
stop()
{
	report
	pg_ctl -D "$dir/data" -m immediate -s stop >/dev/null 2>&1 || true
	if [ -n "${KEEP:-}" ]; then
		echo "kept: $dir"
	else
		rm -rf "$dir"
	fi
}
trap stop EXIT

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }

# start [option...]: (re)start the server
start()
{
	[ ! -f "$dir/data/postmaster.pid" ] || pg_ctl -D "$dir/data" -m fast -s -w stop
	pg_ctl -D "$dir/data" -l "$dir/log" -s -w -o "-k $dir $*" start
	postmaster=$(head -n 1 "$dir/data/postmaster.pid")
	sleep 0.5
	helpers=$(ps --ppid "$postmaster" -o pid= | wc -l)
}

# idle: wait until no backend is left
idle()
{
	while [ "$(ps --ppid "$postmaster" -o pid= | wc -l)" -gt "$helpers" ]; do
		sleep 0.02
	done
}

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -v members="$MEMBERS" -v rows="$N" "$@"; }

say "new cluster in $dir"
initdb -D "$dir/data" -U bench -A trust -E UTF8 --no-locale --no-sync >/dev/null
cat >>"$dir/data/postgresql.conf" <<END
listen_addresses = ''
timezone = 'UTC'
shared_buffers = 512MB
work_mem = 64MB
maintenance_work_mem = 128MB
max_wal_size = 16GB
checkpoint_timeout = 1h
autovacuum = off
jit = off
synchronous_commit = off
END
start

for v in $VARIANTS; do
	say "database $v: $MEMBERS members, feed of $N rows"
	createdb "$v"
	sql -d "$v" -f erp.sql >/dev/null
	case $v in
		hand) sql -d "$v" -f books.sql ;;
		facts) sql -d "$v" -f books.sql -f facts.sql ;;
		plpgsql) sql -d "$v" -f books.sql -f plpgsql.sql ;;
		loyalty) sql -d "$v" -f loyalty.sql >/dev/null ;;
	esac
	sql -d "$v" -c 'VACUUM ANALYZE'
done

# have variant: is it one of those asked for?
have() { [[ " $VARIANTS idle " = *" $1 "* ]]; }

# turn round: the variants in the order of this round, so that none is always
# first or always behind the same other one
turn()
{
	local round=$1 list i v

	read -ra list <<<"$2"
	for ((i = 0; i < ${#list[@]}; i++)); do
		v=${list[(i + round) % ${#list[@]}]}
		! have "$v" || echo "$v"
	done
}

# record case variant rows cpu_ns wal_bytes seconds
record() { echo "$*" >>"$results"; }

# backend case variant rows file...: run the statements in a backend and note
# what the backend and the WAL took; the first line of the output says so
backend()
{
	local name=$1 variant=$2 rows=$3 out
	shift 3
	out=$(
		{
			echo "SELECT cpu_ns() AS cpu0, pg_current_wal_insert_lsn() AS lsn0, clock_timestamp() AS t0 \\gset"
			cat "$@"
			echo "SELECT cpu_ns() - :cpu0, pg_current_wal_insert_lsn() - :'lsn0', extract(epoch FROM clock_timestamp() - :'t0');"
		} | sql -d "$variant" -F ' ' | tail -n 1
	)
	# shellcheck disable=SC2086
	record "$name" "$variant" "$rows" $out
}

# children: CPU ticks of all backends that have ended (the server adds up what
# its children took)
children()
{
	local stat

	idle
	stat=$(<"/proc/$postmaster/stat")
	# shellcheck disable=SC2086
	set -- ${stat##*) }
	echo $((${14} + ${15}))
}

# clients case variant file pgbench-option...: run pgbench and note what its
# backends took
clients()
{
	local name=$1 variant=$2 file=$3 before after lsn0 out n seconds wal
	shift 3
	lsn0=$(sql -d "$variant" -c 'SELECT pg_current_wal_insert_lsn()')
	before=$(children)
	# a client that fails ends the whole benchmark: nobody may be hurt
	out=$(pgbench -n -M prepared -f "$file" -D members="$MEMBERS" -D rows="$N" "$@" "$variant" 2>"$dir/pgbench.err") || {
		cat "$dir/pgbench.err" >&2
		return 1
	}
	after=$(children)
	wal=$(sql -d "$variant" -c "SELECT pg_current_wal_insert_lsn() - '$lsn0'")
	n=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' <<<"$out")
	seconds=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' <<<"$out" | awk -v n="$n" '{ print n / $1 }')
	record "$name" "$variant" "$n" $(((after - before) * 1000000000 / $(getconf CLK_TCK))) "$wal" "$seconds"
}

# prove: every set of books must agree with the invoices and with each other
prove()
{
	local what=$1 bad

	have loyalty || return 0
	bad=$(sql -d loyalty -c 'SELECT count(*) FROM loyalty.check()')
	[ "$bad" = 0 ] || { sql -d loyalty -c 'SELECT * FROM loyalty.check() LIMIT 20' >&2; echo "$what: loyalty.check() has found $bad problems" >&2; exit 1; }
	bad=$(sql -d loyalty -c 'SELECT count(*) FROM loyalty.pending')
	[ "$bad" = 0 ] || { sql -d loyalty -c 'SELECT * FROM loyalty.pending LIMIT 20' >&2; echo "$what: $bad documents were not booked" >&2; exit 1; }
	bad=$(sql -d loyalty <<-'END'
		SELECT count(*)
		FROM (SELECT i.customer_id::text AS customer, count(*) AS n, sum(i.amount) AS amount
				FROM invoice i WHERE i.state = 'posted' GROUP BY 1) i
			FULL JOIN (SELECT m.customer, count(*) AS n, sum(d.gross) AS amount, sum(d.points) AS points, min(m.balance) AS balance, min(m.qualifying) AS qualifying
				FROM loyalty.document d JOIN loyalty.member m USING (member_id) GROUP BY 1) d USING (customer)
		WHERE (i.n, i.amount, i.amount, d.points) IS DISTINCT FROM (d.n, d.amount, d.qualifying, d.balance);
	END
	)
	[ "$bad" = 0 ] || { echo "$what: the books of $bad members do not agree with their invoices" >&2; exit 1; }
	say "$what: invoices, documents and balances agree, loyalty.check() is empty"
}

# entries: how many there are; what does not concern loyalty adds none
entries() { ! have loyalty || sql -d loyalty -c 'SELECT count(*) FROM loyalty.entry'; }

untouched()
{
	[ "$2" = "$(entries)" ] || { echo "$1: entries were written" >&2; exit 1; }
	say "$1: no entry was written"
}

# balances must be the same in all three sets of books
agree()
{
	local what=$1 a='' b v

	for v in $VARIANTS; do
		case $v in
			bare) continue ;;
			loyalty) b=$(sql -d loyalty -c "SELECT count(*), sum(balance), sum(hashtextextended(customer || ' ' || balance, 0)) FROM loyalty.member") ;;
			*) b=$(sql -d "$v" -c "SELECT count(*), sum(balance), sum(hashtextextended(customer_id || ' ' || balance, 0)) FROM member") ;;
		esac
		[ -z "$a" ] || [ "$a" = "$b" ] || { echo "$what: balances differ: $a, $v $b" >&2; exit 1; }
		a=$b
	done
	say "$what: all books agree on every balance ($a)"
}

# later days: each load is a day after the one before
day=0

# next_load insert|copy rows: write the statement that loads the next day
next_load()
{
	day=$((day + 1))
	if [ "$1" = insert ]; then
		cat >"$dir/load.sql" <<-END
			INSERT INTO invoice (number, customer_id, invoice_date, state, amount)
			SELECT number, customer_id, invoice_date + interval '$day days', 'posted', amount FROM feed LIMIT $2;
		END
	else
		sql -d "${VARIANTS%% *}" -c "COPY (SELECT number, customer_id, invoice_date + interval '$day days', 'posted', amount FROM feed LIMIT $2) TO '$dir/feed.data'"
		echo "COPY invoice (number, customer_id, invoice_date, state, amount) FROM '$dir/feed.data';" >"$dir/load.sql"
	fi
}

# load case variant rows: run what next_load has written
load()
{
	local above

	if [ "$2" = hand ] || [ "$2" = facts ]; then
		above=$(sql -d "$2" -c 'SELECT coalesce(max(invoice_id), 0) FROM invoice')
		{ echo 'BEGIN;'; cat "$dir/load.sql"; sed "s/:above/$above/" "$2_post.sql"; echo 'COMMIT;'; } >"$dir/hand.sql"
		backend "$1" "$2" "$3" "$dir/hand.sql"
	else
		backend "$1" "$2" "$3" "$dir/load.sql"
	fi
}

# tables that have never held a row make the planner guess: a small load first,
# which does not count
next_load insert 5000
for v in $VARIANTS; do
	load warmup "$v" 5000
	sql -d "$v" -c 'VACUUM ANALYZE' -c 'CHECKPOINT'
done
prove warmup
agree warmup
rm -f "$results"

bulk()
{
	local how=$1 round v

	for ((round = 0; round < ROUNDS; round++)); do
		next_load "$how" "$N"
		for v in $(turn "$round" "$VARIANTS"); do
			say "$how, round $((round + 1)) of $ROUNDS: $v"
			load "$how" "$v" "$N"
		done
		for v in $VARIANTS; do
			sql -d "$v" -c 'VACUUM ANALYZE'
		done
	done
	prove "$how"
	agree "$how"
}

drafts()
{
	local round v before

	before=$(entries)
	# drafts: rows of an attached table that do not count (yet)
	cat >"$dir/load.sql" <<-END
		INSERT INTO invoice (number, customer_id, invoice_date, state, amount)
		SELECT number, customer_id, invoice_date, 'draft', amount FROM feed;
	END
	for ((round = 0; round < ROUNDS; round++)); do
		for v in $(turn "$round" "bare loyalty plpgsql"); do
			say "bulk insert of drafts, round $((round + 1)) of $ROUNDS: $v"
			backend drafts "$v" "$N" "$dir/load.sql"
			sql -d "$v" -c "DELETE FROM invoice WHERE state = 'draft'" -c 'VACUUM invoice'
		done
	done
	untouched drafts "$before"
}

touch_unmapped()
{
	local round v before

	createdb idle
	sql -d idle -f erp.sql >/dev/null
	sql -d idle -c 'CREATE EXTENSION loyalty' -c "CREATE TRIGGER idle AFTER INSERT OR UPDATE OR DELETE ON invoice
		FOR EACH ROW EXECUTE FUNCTION loyalty.capture('nothing', 'header')"
	# give every database the same rows to touch
	for v in $(turn 0 "bare idle loyalty plpgsql"); do
		[ "$(sql -d "$v" -c "SELECT count(*) FROM (SELECT FROM invoice LIMIT $N) i")" = "$N" ] ||
			sql -d "$v" -c "INSERT INTO invoice (number, customer_id, invoice_date, state, amount) SELECT number, customer_id, invoice_date, 'posted', amount FROM feed"
		sql -d "$v" -c 'VACUUM ANALYZE invoice'
	done
	before=$(entries)
	for ((round = 0; round < ROUNDS; round++)); do
		echo "UPDATE invoice SET note = 'round $round' WHERE invoice_id <= $N;" >"$dir/touch.sql"
		for v in $(turn "$round" "bare idle loyalty plpgsql"); do
			say "update of an unmapped column, round $((round + 1)) of $ROUNDS: $v"
			clients touch_one "$v" touch.pgbench -c 1 -t "$TXNS" --random-seed=$((round + 100))
			backend touch_bulk "$v" "$N" "$dir/touch.sql"
			sql -d "$v" -c 'VACUUM invoice'
		done
	done
	untouched touch "$before"
}

one()
{
	local round v

	for ((round = 0; round < ROUNDS; round++)); do
		for v in $(turn "$round" "$VARIANTS"); do
			say "one document per transaction, round $((round + 1)) of $ROUNDS: $v"
			case $v in
				hand | facts) clients one "$v" "one_$v.pgbench" -c 1 -t "$TXNS" --random-seed=$((round + 1)) ;;
				*) clients one "$v" one.pgbench -c 1 -t "$TXNS" --random-seed=$((round + 1)) ;;
			esac
		done
	done
	prove one
	agree one
}

hot()
{
	local round v mode before after

	for mode in off on; do
		for ((round = 0; round < ROUNDS; round++)); do
			for v in $(turn "$round" "bare loyalty hand plpgsql"); do
				say "8 clients on one member, synchronous_commit $mode, round $((round + 1)) of $ROUNDS: $v"
				before=$(sql -d "$v" -c 'SELECT count(*) FROM invoice')
				export PGOPTIONS="-c synchronous_commit=$mode"
				case $v in
					hand) clients "hot_$mode" "$v" hot_hand.pgbench -c 8 -j 2 -T "$SECONDS8" ;;
					*) clients "hot_$mode" "$v" hot.pgbench -c 8 -j 2 -T "$SECONDS8" ;;
				esac
				unset PGOPTIONS
				after=$(sql -d "$v" -c 'SELECT count(*) FROM invoice')
				[ $((after - before)) = "$(tail -n 1 "$results" | cut -d ' ' -f 3)" ] || { echo "hot: transactions were lost" >&2; exit 1; }
			done
		done
	done
	prove hot
}

memory()
{
	local v

	# VmHWM counts the shared buffers a backend has touched, so there must be
	# few of them; the first load is small and brings in all code and caches
	start -c shared_buffers=4MB
	for v in $(turn 0 "bare loyalty plpgsql"); do
		say "memory of a bulk insert: $v"
		sql -d "$v" -F ' ' <<-END | tail -n 1 | { read -r bytes; record memory "$v" "$N" "$bytes" 0 0; }
			INSERT INTO invoice (number, customer_id, invoice_date, state, amount)
			SELECT number, customer_id, invoice_date + interval '$((day + 1)) days', 'posted', amount FROM feed LIMIT 1000;
			SELECT memory_bytes('VmHWM') AS before \\gset
			INSERT INTO invoice (number, customer_id, invoice_date, state, amount)
			SELECT number, customer_id, invoice_date + interval '$((day + 2)) days', 'posted', amount FROM feed;
			SELECT memory_bytes('VmHWM') - :before;
		END
	done
	day=$((day + 2))
	start
	prove memory
}

for c in $CASES; do
	case $c in
		insert | copy) bulk "$c" ;;
		touch) touch_unmapped ;;
		one | drafts | hot | memory) "$c" ;;
		*) echo "unknown case: $c" >&2; exit 2 ;;
	esac
done
