#!/usr/bin/env bash
# All tests.  Installs what is missing, builds and installs the extension, and
# runs every tier against a throw-away cluster.
#
#   bash test/run.sh [tier...]        tiers: build regress isolation pgtap tap random fuzz page lint
#
# The last line counts what passed and what failed.  A tier that cannot run is
# a failure, never a skip.  See test/lib.sh for PG_CONFIG, INSTALLED and KEEP.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ALL_TIERS="build regress isolation pgtap tap random fuzz page lint"
LIMIT=1800						# seconds; a test that hangs must not hang the caller
PASSED=0
FAILED=0
FAILURES=()

pass()
{
	PASSED=$((PASSED + 1))
	say "ok     $*"
}

fail()
{
	FAILED=$((FAILED + 1))
	FAILURES+=("$*")
	say "FAILED $*"
}

# Show at most the first $2 lines of a file.
show()
{
	[ -s "$1" ] || return 0
	say "---- $(basename "$1")"
	head -n "${2:-150}" "$1"
	[ "$(wc -l <"$1")" -le "${2:-150}" ] || say "     (...)"
	say "----"
}

# Names of the files that match, without directory and extension.
names_of()
{
	local file

	for file in "$1"/*"$2"; do
		[ ! -e "$file" ] || basename "$file" "$2"
	done
}

# ---------------------------------------------------------------------------
# build

# Every test needs the build, so it is made whatever the tiers are: first as
# strictly as the build tier asks for, then, if that failed, as it comes.
STRICT_BUILD=
prepare_build()
{
	# the server's headers are not ours to judge: -isystem takes them out
	local flags
	flags="-Wall -Wextra -Werror -isystem $("$PG_CONFIG" --includedir-server)"

	copy_checkout
	if [ "${INSTALLED:-}" = 1 ]; then
		note "INSTALLED=1: testing the extension as it is installed"
		return 0
	fi
	if quietly "$SCRATCH/build.log" "make with -Wall -Wextra -Werror" compile COPT="$flags"; then
		if ! grep -q 'warning:' "$SCRATCH/build.log"; then
			STRICT_BUILD=1
		fi
	else
		# tell all of them, and let the other tiers run if it compiles at all
		compile -k COPT="${flags/-Werror /}" >"$SCRATCH/build.log" 2>&1 || true
		as_db make -C "$SCRATCH/tree" -s --no-print-directory PG_CONFIG="$PG_CONFIG" clean >/dev/null 2>&1 || true
		quietly "$SCRATCH/plain.log" "make" compile || return 1
	fi
	quietly "$SCRATCH/install.log" "make install" install_extension
}

tier_build()
{
	local library="$SCRATCH/tree/loyalty.so" strangers

	if [ "${INSTALLED:-}" = 1 ]; then
		fail "build: not run, INSTALLED=1 tests what is installed"
		return 0
	elif [ -n "$STRICT_BUILD" ]; then
		pass "build: no warning with -Wall -Wextra"
	else
		fail "build: $(grep -c 'warning:' "$SCRATCH/build.log" || true) warnings with -Wall -Wextra"
		grep -A4 'warning:\|error:' "$SCRATCH/build.log" | head -n 100 || true
	fi
	# PostgreSQL 15 loads modules with RTLD_GLOBAL: a name without a prefix can
	# be taken for another module's
	if strangers=$({
			nm -D --defined-only --format=posix "$library"
			find "$SCRATCH/tree/src" -name '*.o' -exec nm -g --defined-only --format=posix {} +
		} | awk 'NF >= 2 && $1 !~ /^(loyalty_|pg_finfo_loyalty_|_PG_(init|fini)$|Pg_magic_func$)/ && !/:$/ { print $1 }' | sort -u) &&
		[ -z "$strangers" ] && [ -e "$library" ]; then
		pass "build: every global symbol has its prefix"
	else
		fail "build: global symbols without prefix: ${strangers:-cannot read $library}"
	fi
}

# ---------------------------------------------------------------------------
# regress and isolation

# Judge by what pg_regress printed, and showed: "test x ... ok" up to
# PostgreSQL 15, "ok 1 - x" from 16 on.
#   judge TIER NAME LOG
judge()
{
	if grep -Eq "^(test)? +$2 +\.\.\. ok( |\$)|^ok +[0-9]+ +[-+] +$2( |\$)" "$3"; then
		PASSED=$((PASSED + 1))
	else
		fail "$1: $2"
	fi
}

# Run one kind of pg_regress test through the Makefile, as a DBA would.
#   installcheck TIER "other kinds" TEST-DIR EXTENSION OUTPUT-DIR
installcheck()
{
	local tier=$1 others=$2 dir=$3 ext=$4 output=$5 log="$SCRATCH/$1.log" names name before=$FAILED code

	names=$(names_of "$SCRATCH/tree/$dir" "$ext")
	if [ -z "$names" ]; then
		fail "$tier: there are no tests in $dir"
		return 0
	fi
	# shellcheck disable=SC2086
	as_db timeout -k 10 $LIMIT make -C "$SCRATCH/tree" -s --no-print-directory \
		PG_CONFIG="$PG_CONFIG" $others TAP_TESTS= installcheck 2>&1 | tee "$log" |
		grep --line-buffered -Ev '^(SET|(CREATE|DROP|ALTER) DATABASE|\+\+\+ .*|\(using .*|=+ .* =+|)$' || true
	code=${PIPESTATUS[0]}
	for name in $names; do
		judge "$tier" "$name" "$log"
	done
	if [ "$code" -ne 0 ] && [ $FAILED -eq "$before" ]; then
		fail "$tier: make installcheck ended with exit code $code"
	fi
	if [ $FAILED -gt $before ]; then
		show "$output/regression.diffs" 300
	fi
}

tier_regress()
{
	installcheck regress ISOLATION= sql .sql "$SCRATCH/tree"
}

tier_isolation()
{
	installcheck isolation REGRESS= test/isolation/specs .spec "$SCRATCH/tree/output_iso"
}

# ---------------------------------------------------------------------------
# pgtap and tap

# Run one program that prints TAP and count its assertions.
#   count_tap TIER NAME command...
count_tap()
{
	local tier=$1 name=$2 log="$SCRATCH/$1-$2.log" code=0 from=$SECONDS good bad skipped
	shift 2

	as_db timeout -k 10 $LIMIT "$@" >"$log" 2>&1 || code=$?
	good=$(grep -Ec '^ok [0-9]+' "$log" || true)
	bad=$(grep -E '^not ok [0-9]+' "$log" | grep -vc '# TODO' || true)
	skipped=$(grep -Ec '^ok [0-9]+.*# [Ss][Kk][Ii][Pp]|^1\.\.0' "$log" || true)
	# what did not run has not passed
	good=$((good - skipped))
	bad=$((bad + skipped))
	if [ $code -ne 0 ] && [ $bad -eq 0 ]; then
		bad=1					# it died, or its plan was not kept
	elif [ $((good + bad)) -eq 0 ]; then
		bad=1					# it tested nothing
	fi
	PASSED=$((PASSED + good))
	FAILED=$((FAILED + bad))
	if [ $bad -eq 0 ]; then
		say "ok     $tier: $name ($good assertions, $((SECONDS - from)) s)"
	else
		FAILURES+=("$tier: $name ($bad of $((good + bad)) assertions)")
		say "FAILED $tier: $name ($bad of $((good + bad)) assertions, exit code $code)"
		grep -Ev '^ok [0-9]+( |$)' "$log" | tail -n 100 || true
	fi
}

tier_pgtap()
{
	local file name names

	names=$(names_of "$SCRATCH/tree/test/pgtap" .sql)
	if [ -z "$names" ]; then
		fail "pgtap: there are no tests in test/pgtap"
		return 0
	fi
	if ! { db -d postgres -c 'CREATE DATABASE pgtap_template' &&
			db -d pgtap_template -c 'CREATE EXTENSION loyalty' -c 'CREATE EXTENSION pgtap'; }; then
		for name in $names; do
			fail "pgtap: $name: no database with loyalty and pgtap"
		done
		return 0
	fi
	for name in $names; do
		file="$SCRATCH/tree/test/pgtap/$name.sql"
		if wait_for_server && db -d postgres -c "CREATE DATABASE \"pgtap_$name\" TEMPLATE pgtap_template"; then
			count_tap pgtap "$name" pg_prove --verbose --dbname "pgtap_$name" "$file"
		else
			fail "pgtap: $name: no database for it"
		fi
	done
}

tier_tap()
{
	local name names perl regress
	regress=$(dirname "$("$PG_CONFIG" --pgxs)")/../test/regress/pg_regress
	perl=$(dirname "$("$PG_CONFIG" --pgxs)")/../test/perl

	need_pg_cron
	need_drivers
	names=$(names_of "$SCRATCH/tree/test/t" .pl)
	if [ -z "$names" ]; then
		fail "tap: there are no tests in test/t"
		return 0
	fi
	for name in $names; do
		# up to PostgreSQL 16 the results go below TESTDIR, later to the two others
		as_db mkdir -p "$SCRATCH/tap/$name/tmp_check/log"
		count_tap tap "$name" \
			env -u PGHOST -u PGPORT -u PGUSER -C "$SCRATCH/tree" PG_REGRESS="$regress" PG_CONFIG="$PG_CONFIG" \
			TESTDIR="$SCRATCH/tap/$name" TESTDATADIR="$SCRATCH/tap/$name/tmp_check" \
			TESTLOGDIR="$SCRATCH/tap/$name/tmp_check/log" \
			prove --verbose -I "$perl" -I "$SCRATCH/tree/test/perl" "test/t/$name.pl"
	done
}

# ---------------------------------------------------------------------------
# random and fuzz

# Run a script that counts for itself, if its last line does.
#   count_script TIER
count_script()
{
	local tier=$1 script="test/$1/run.sh" log="$SCRATCH/$1.log" code=0 counts

	if [ ! -e "$SCRATCH/tree/$script" ]; then
		fail "$tier: there is no $script"
		return 0
	fi
	as_db timeout -k 10 $LIMIT env -C "$SCRATCH/tree" bash "$script" 2>&1 | tee "$log" || code=$?
	counts=$(tail -n 1 "$log" | sed -n 's/^\([0-9]\{1,\}\) passed, \([0-9]\{1,\}\) failed$/\1 \2/p')
	if [ -n "$counts" ]; then
		PASSED=$((PASSED + ${counts% *}))
		FAILED=$((FAILED + ${counts#* }))
	fi
	if [ $code -ne 0 ] && [ "${counts#* }" = 0 ]; then
		counts=
	elif [ $code -ne 0 ] && [ -n "$counts" ]; then
		FAILURES+=("$tier: ${counts#* } of them")
	fi
	if [ -z "$counts" ]; then
		if [ $code -eq 0 ]; then
			pass "$tier"
		else
			fail "$tier: exit code $code"
		fi
	fi
}

tier_random()
{
	count_script random
}

tier_fuzz()
{
	count_script fuzz
}

# ---------------------------------------------------------------------------
# page

# The demo's page in a browser.
tier_page()
{
	local packages=(chromium)

	command -v node >/dev/null && command -v npm >/dev/null || packages+=(nodejs npm)
	need_packages "${packages[@]}"
	count_tap page page bash "$SCRATCH/tree/test/demo/page/check.sh"
}

# ---------------------------------------------------------------------------
# lint

# Read META.json as PGXN does; print its version.
meta_version()
{
	perl -MJSON::PP -e '
		local $/;
		my $m = decode_json(<STDIN>);
		for my $field (qw(name version abstract maintainer license provides meta-spec))
		{
			die "no $field\n" unless $m->{$field};
		}
		die "the version of meta-spec is not 1.0.0\n" unless $m->{"meta-spec"}{version} eq "1.0.0";
		die "version $m->{version} is not semantic\n" unless $m->{version} =~ /^\d+\.\d+\.\d+(-[A-Za-z][\w-]*)?$/;
		die "it provides no loyalty\n" unless $m->{provides}{loyalty};
		while (my ($name, $p) = each %{ $m->{provides} })
		{
			die "$name has no file\n" unless $p->{file};
			die "$name: no file $p->{file}\n" unless -e "$ARGV[0]/$p->{file}";
			die "$name: no docfile $p->{docfile}\n" if $p->{docfile} && !-e "$ARGV[0]/$p->{docfile}";
			die "$name: version $p->{version} is not the distribution\x27s\n" unless $p->{version} eq $m->{version};
		}
		print $m->{version};
	' "$SCRATCH/tree" <"$SCRATCH/tree/META.json" 2>&1
}

# Compare a lint's finding with nothing.
#   clean "what must hold" "what was found instead"
clean()
{
	if [ -z "$2" ]; then
		pass "lint: $1"
	else
		fail "lint: $1: $2"
	fi
}

# Files of a kind of test without the other half of the pair.
#   unpaired TEST-DIR EXTENSION EXPECTED-DIR
unpaired()
{
	comm -3 <(names_of "$1" "$2" | sort) <(names_of "$3" .out | sed 's/_[0-9]$//' | sort -u) | tr -d '\t' | tr '\n' ' '
}

tier_lint()
{
	local tree="$SCRATCH/tree" version control log script found command

	if version=$(meta_version); then
		pass "lint: META.json is a PGXN distribution"
	else
		fail "lint: META.json is a PGXN distribution: $version"
	fi

	control=$(sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" "$tree/loyalty.control")
	log=$(sed -n '/^## \[[0-9]/{s/^## \[\([^]]*\)\].*/\1/p;q}' "$tree/CHANGELOG.md")
	found=
	# only a new minor version changes SQL objects: the extension's version has
	# no patch level
	[ "$control" = "${version%.*}" ] || found="loyalty.control says $control, META.json $version"
	[ "$log" = "$version" ] || found="$found CHANGELOG.md says $log, META.json $version"
	clean "the versions agree" "$found"

	found=
	for command in 'bash test/demo.sh' 'bash test/run.sh'; do
		grep -Fq "$command" "$tree/README.md" || found="$found no \"$command\" in README.md;"
	done
	grep -Fq 'bash test/run.sh' "$tree/.ci/run" || found="$found .ci/run calls something else;"
	[ -x "$tree/.ci/run" ] || found="$found .ci/run is not executable"
	clean "README.md and .ci/run have the two commands" "$found"

	found=
	while read -r script; do
		bash -n "$script" 2>/dev/null || found="$found ${script#"$tree/"}"
	done < <(find "$tree/test" "$tree/.ci" -name '*.sh' -o -path '*/.ci/run')
	clean "shell scripts parse" "$found"

	clean "every regress test has an expected file, and the other way round" \
		"$(unpaired "$tree/sql" .sql "$tree/expected")"
	clean "every isolation test has an expected file, and the other way round" \
		"$(unpaired "$tree/test/isolation/specs" .spec "$tree/test/isolation/expected")"

	# the install script must create, not adopt what somebody has put there
	found=$(grep -lEi 'create +or +replace|create .*if +not +exists' "$tree"/src/sql/*.sql | xargs -r -n 1 basename | tr '\n' ' ' || true)
	clean "the install script has no OR REPLACE or IF NOT EXISTS" "$found"

	# SPI_execute() and its kin leave their own memory context behind, which ends
	# with SPI_finish(): what is allocated after them dangles
	found=$(grep -rlE 'SPI_(exec|prepare)' "$tree/src" --include='*.c' | grep -v '/src/session\.c$' |
		sed "s|^$tree/||" | tr '\n' ' ' || true)
	clean "statements are run by session.c" "$found"

	found=$(grep -rlI --include='*.[ch]' --include='*.sql' --include='*.sh' --include='*.pl' \
		-e '[[:blank:]]$' "$tree/src" "$tree/sql" "$tree/test" | sed "s|^$tree/||" | tr '\n' ' ' || true)
	clean "no trailing white space" "$found"
}

# ---------------------------------------------------------------------------

tiers=$*
if [ -z "$tiers" ]; then
	tiers=$ALL_TIERS
	[ "${INSTALLED:-}" != 1 ] || tiers=${ALL_TIERS#build }
fi
for tier in $tiers; do
	case " $ALL_TIERS " in
		*" $tier "*) ;;
		*) die "there is no tier \"$tier\"; the tiers are: $ALL_TIERS" ;;
	esac
done

say "== preparing"
prepare_postgres tests
make_scratch
built=1
prepare_build || built=
if [ -n "$built" ]; then
	start_cluster
fi

for tier in $tiers; do
	say ""
	say "== $tier"
	[ -z "$CLUSTER_RUNS" ] || wait_for_server || true
	if [ -n "$built" ] || [ "$tier" = build ] || [ "$tier" = lint ]; then
		"tier_$tier"
	else
		fail "$tier: not run, the extension is not there"
	fi
done

if [ -n "$CLUSTER_RUNS" ] && grep -Eq 'PANIC|was terminated by signal' "$SCRATCH/server.log"; then
	say ""
	fail "the server crashed"
	grep -E -A3 'PANIC|was terminated by signal' "$SCRATCH/server.log" | head -n 40 || true
fi

say ""
if [ ${#FAILURES[@]} -gt 0 ]; then
	say "== failed"
	printf '   %s\n' "${FAILURES[@]}"
fi
say "$PASSED passed, $FAILED failed"
[ $FAILED -eq 0 ]
