# Sourced by benchmarks: a throw-away cluster, whose directory goes away at the
# end unless KEEP is set.  PostgreSQL refuses to run as root: then the script
# runs itself as user postgres.

if [ "$(id -u)" = 0 ]; then
	exec runuser -u postgres -- "$0" "$@"
fi

bindir=$("${PG_CONFIG:-pg_config}" --bindir)
export PATH="$bindir:$PATH" LC_ALL=C PGTZ=UTC
unset PGDATABASE PGUSER PGSERVICE PGOPTIONS PGHOSTADDR PGPASSWORD
dir=$(mktemp -d "${TMPDIR:-/tmp}/loyalty-bench.XXXXXX")
export PGHOST=$dir PGPORT=5432 PGUSER=bench

stop_cluster()
{
	if [ -n "${KEEP:-}" ]; then
		echo "kept: psql -h $dir -U bench -l; stop it with pg_ctl -D $dir/data stop"
		return
	fi
	pg_ctl -D "$dir/data" -m immediate -s stop >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap stop_cluster EXIT

# Make the cluster and start it, with further settings from standard input.
start_cluster()
{
	initdb -D "$dir/data" -U bench -A trust -E UTF8 --no-locale --no-sync >/dev/null
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$dir'"
		echo "max_wal_size = 16GB"
		echo "checkpoint_timeout = 1h"
		echo "autovacuum = off"
		cat
	} >>"$dir/data/postgresql.conf"
	pg_ctl -D "$dir/data" -l "$dir/log" -s -w start
}
