# Shared by test/run.sh and test/demo.sh (sourced, not run): packages, build
# and installation, and a throw-away PostgreSQL cluster.
#
# Everything is built in a scratch directory from a copy of the checkout: user
# postgres may not be able to read the checkout, and root must not leave files
# in it that an ordinary user's next make cannot replace.
#
# Environment:
#   PG_CONFIG     pg_config of the server to use; default: the newest of
#                 PostgreSQL 15-18 that is installed, or that apt offers
#   INSTALLED=1   use the extension that is installed, do not build it
#   KEEP=1        leave the cluster running at the end and say how to connect

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SUPPORTED="18 17 16 15"
SCRATCH=
CLUSTER_RUNS=
APT_UPDATED=

# the caller's connection settings and make flags must not leak in
unset PGDATABASE PGSERVICE PGPASSWORD PGPASSFILE PGDATA PGHOSTADDR PGSSLMODE PGTZ PGDATESTYLE
unset MAKEFLAGS MFLAGS MAKELEVEL CDPATH
export LC_ALL=C

say()  { printf '%s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
die()  { printf 'error: %s\n' "$*" >&2; exit 1; }

# Run a command with root's rights.
as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "this needs root or sudo: $*"
	fi
}

# Run a command as the user that owns the cluster: PostgreSQL refuses root.
as_db()
{
	if [ "$(id -u)" -eq 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

# Run a command with its output in a log; show what is being done, how long it
# took, and the end of the log if it failed.
#   quietly LOG "what is done" command...
quietly()
{
	local log=$1 what=$2 from=$SECONDS
	shift 2
	printf '   %s ... ' "$what"
	# in a subshell, so that even an exit leaves the log to be shown
	if ( "$@" ) >"$log" 2>&1; then
		printf 'done (%d s)\n' $((SECONDS - from))
	else
		printf 'FAILED\n'
		tail -n 40 "$log"
		return 1
	fi
}

apt_update()
{
	[ -z "$APT_UPDATED" ] || return 0
	command -v apt-get >/dev/null || die "there is no apt-get here; install what is missing by hand and set PG_CONFIG"
	note "apt-get update"
	as_root apt-get -q update >/dev/null || die "apt-get update failed"
	APT_UPDATED=1
}

# Install those of the named Debian packages that are missing.
need_packages()
{
	local package log missing=()

	# elsewhere the tools are looked for when they are used
	command -v dpkg >/dev/null || return 0
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
	done
	if [ ${#missing[@]} -eq 0 ]; then
		note "packages: nothing missing"
		return 0
	fi
	apt_update
	log=$(mktemp)
	quietly "$log" "apt-get install ${missing[*]}" as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y --no-install-recommends install "${missing[@]}" ||
		die "apt-get could not install: ${missing[*]}"
	rm -f "$log"
}

# Find the server to use, install the named kinds of packages for it, and set
# PG_CONFIG, PG_MAJOR and PG_BIN.
#   prepare_postgres server|tests
prepare_postgres()
{
	local what=$1 major found='' packages=(gcc make libc6-dev xz-utils)

	if [ "$what" = tests ]; then
		packages+=(binutils perl libipc-run-perl libtap-parser-sourcehandler-pgtap-perl)
	fi
	if [ -z "${PG_CONFIG:-}" ]; then
		for major in $SUPPORTED; do
			if [ -x "/usr/lib/postgresql/$major/bin/postgres" ]; then
				found=$major
				break
			fi
		done
		if [ -z "$found" ]; then
			apt_update
			for major in $SUPPORTED; do
				if [ -n "$(apt-cache -q madison "postgresql-server-dev-$major" 2>/dev/null)" ]; then
					found=$major
					break
				fi
			done
		fi
		[ -n "$found" ] || die "apt offers none of PostgreSQL $SUPPORTED; install one and set PG_CONFIG"
		packages+=("postgresql-$found" "postgresql-server-dev-$found")
		if [ "$what" = tests ]; then
			packages+=("postgresql-$found-pgtap")
		fi
		PG_CONFIG=/usr/lib/postgresql/$found/bin/pg_config
	fi
	need_packages "${packages[@]}"
	command -v "$PG_CONFIG" >/dev/null || die "there is no $PG_CONFIG"
	PG_MAJOR=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
	PG_BIN=$("$PG_CONFIG" --bindir)
	case " $SUPPORTED " in
		*" $PG_MAJOR "*) ;;
		*) die "PostgreSQL $PG_MAJOR is not supported: $SUPPORTED are" ;;
	esac
	if [ "$(id -u)" -eq 0 ] && ! id postgres >/dev/null 2>&1; then
		die "root cannot run PostgreSQL, and there is no user postgres: run this as an ordinary user"
	fi
	export PG_CONFIG
	export PATH="$PG_BIN:$PATH"
	note "$("$PG_CONFIG" --version), $PG_BIN"
}

# Install pg_cron for the server in use.
need_pg_cron()
{
	local lib share run=as_root

	lib=$("$PG_CONFIG" --pkglibdir)
	share=$("$PG_CONFIG" --sharedir)
	[ ! -e "$lib/pg_cron.so" ] || return 0
	need_packages "postgresql-$PG_MAJOR-cron"
	# apt knows nothing of a private installation
	if [ ! -e "$lib/pg_cron.so" ]; then
		[ ! -w "$lib" ] || run=
		$run cp "/usr/lib/postgresql/$PG_MAJOR/lib/pg_cron.so" "$lib"
		$run cp "/usr/share/postgresql/$PG_MAJOR/extension/pg_cron"* "$share/extension"
	fi
}

# Install the drivers of BI tools: psqlODBC and what lets a test speak to it,
# JDBC and a Java that runs a source file.
need_drivers()
{
	need_packages unixodbc odbc-postgresql python3-pyodbc libpostgresql-jdbc-java default-jdk-headless
}

# Make the scratch directory; it goes away at exit together with the cluster.
make_scratch()
{
	local parent=${TMPDIR:-/tmp}

	# a socket's path may have 107 bytes only, and root's own temporary
	# directory may be closed to user postgres
	if [ "$(id -u)" -eq 0 ] || [ ${#parent} -gt 60 ]; then
		parent=/tmp
	fi
	SCRATCH=$(mktemp -d "$parent/loyalty.XXXXXX")
	trap cleanup EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	mkdir "$SCRATCH/tmp"
	if [ "$(id -u)" -eq 0 ]; then
		chown -R postgres: "$SCRATCH"
	fi
	# no psqlrc, history or working directory of the caller's
	export HOME="$SCRATCH" TMPDIR="$SCRATCH/tmp"
	cd "$SCRATCH"
}

cleanup()
{
	local code=$? prefix=''

	trap - EXIT HUP INT TERM
	if [ "$(id -u)" -eq 0 ]; then
		prefix="runuser -u postgres -- "
	fi
	if [ -n "$CLUSTER_RUNS" ] && [ "${KEEP:-}" = 1 ]; then
		say ""
		say "The cluster is kept and runs on:"
		note "connect: ${prefix}$PG_BIN/psql -h $SCRATCH/socket -U postgres -l"
		note "stop:    ${prefix}$PG_BIN/pg_ctl -D $SCRATCH/data -m fast stop; rm -rf $SCRATCH"
		exit $code
	fi
	cd /
	if [ -n "$CLUSTER_RUNS" ]; then
		# pg_ctl finds the server by the pid file in its data directory
		as_db "$PG_BIN/pg_ctl" -D "$SCRATCH/data" -m immediate -w stop >/dev/null 2>&1 || true
	fi
	case "$SCRATCH" in
		*/loyalty.??????) rm -rf "$SCRATCH" ;;
	esac
	exit $code
}

# Copy the checkout to $SCRATCH/tree, without what a build or a test left.
copy_checkout()
{
	mkdir -p "$SCRATCH/tree"
	tar -C "$TOP" -cf - \
		--exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' --exclude='./loyalty--*.sql' \
		--exclude=./results --exclude=./output_iso --exclude=./regression.diffs --exclude=./regression.out \
		--exclude=tmp_check --exclude=./log . |
		tar -C "$SCRATCH/tree" -xf - --no-same-owner
	if [ "$(id -u)" -eq 0 ]; then
		chown -R postgres: "$SCRATCH/tree"
	fi
}

# Compile $SCRATCH/tree; more arguments go to make.
compile()
{
	as_db make -C "$SCRATCH/tree" -s --no-print-directory -j "$(nproc)" PG_CONFIG="$PG_CONFIG" "$@"
}

# Install what compile made.
install_extension()
{
	local run=as_root

	# a private installation needs nobody's help
	if [ -w "$("$PG_CONFIG" --pkglibdir)" ] && [ -w "$("$PG_CONFIG" --sharedir)/extension" ]; then
		run=
	fi
	$run make -C "$SCRATCH/tree" -s --no-print-directory PG_CONFIG="$PG_CONFIG" install
}

# Build and install with the Makefile's own flags.
build_and_install()
{
	copy_checkout
	if [ "${INSTALLED:-}" = 1 ]; then
		note "INSTALLED=1: using the extension as it is installed"
		return 0
	fi
	quietly "$SCRATCH/build.log" "make" compile || die "the extension does not compile"
	quietly "$SCRATCH/install.log" "make install" install_extension || die "the extension cannot be installed"
}

# Start the throw-away cluster: it listens on a socket of its own, no TCP port.
start_cluster()
{
	quietly "$SCRATCH/initdb.log" "initdb" \
		as_db "$PG_BIN/initdb" -D "$SCRATCH/data" -U postgres --auth=trust \
		--encoding=UTF8 --locale=C --no-sync || die "initdb failed"
	as_db mkdir "$SCRATCH/socket"
	as_db tee -a "$SCRATCH/data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$SCRATCH/socket'
		port = 5432
		timezone = 'UTC'
		log_timezone = 'UTC'
		max_connections = 60
		max_prepared_transactions = 10
		shared_buffers = '256MB'
		max_wal_size = '4GB'
		# nothing here has to survive a power cut
		fsync = off
		full_page_writes = off
		synchronous_commit = off
	CONF
	CLUSTER_RUNS=1
	quietly "$SCRATCH/start.log" "start a throw-away cluster in $SCRATCH" \
		as_db "$PG_BIN/pg_ctl" -D "$SCRATCH/data" -l "$SCRATCH/server.log" -w start ||
		{ tail -n 20 "$SCRATCH/server.log"; die "the cluster does not start"; }
	export PGHOST="$SCRATCH/socket" PGPORT=5432 PGUSER=postgres
}

# Wait until the server takes connections: a crash takes it away for a while.
wait_for_server()
{
	local i

	for ((i = 0; i < 120; i++)); do
		"$PG_BIN/pg_isready" -q && return 0
		sleep 0.5
	done
	return 1
}

# psql on the cluster, stopping at the first error.
db()
{
	as_db "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 "$@"
}
