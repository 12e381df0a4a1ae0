#!/usr/bin/env bash
# The main job, from nothing to a proof: installs what is missing, builds and
# installs the extension, starts a throw-away cluster, attaches an ERP's
# invoice tables, plays a stream of documents into them and shows what became
# of it.
#
#   bash test/demo.sh                   a seeded stream over a small ERP schema
#   bash test/demo.sh FILE.csv[.xz]     a file in the layout of UCI Online Retail
#
# Ends with exit code 1 if loyalty.check() or a comparison finds anything.
# Where node and npm are installed, the figures are also drawn as one HTML page
# that needs nothing else: PAGE says where, default is loyalty-demo.USER.html in the
# directory for temporary files.
# See test/lib.sh for PG_CONFIG, INSTALLED and KEEP.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

COLUMNS_WANTED=line_no,invoice_no,stock_code,description,quantity,invoice_date,unit_price,customer_id,country

# Write the CSV to stdout.
read_csv()
{
	case "$CSV" in
		*.xz) xz -dc -- "$CSV" ;;
		*) cat -- "$CSV" ;;
	esac
}

# Run one of the scripts as the ERP's role; its notices are our progress.
play()
{
	db -U erp -d demo -f "$SCRATCH/tree/test/demo/$1" 2>&1 |
		sed -u 's/^psql:[^ ]*: NOTICE:  /   /'
}

# Draw the views as a page; a page that cannot be made fails nothing.
draw_page()
{
	local work="$SCRATCH/page"

	if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
		note "no page: node and npm are not installed"
		return 0
	fi
	as_db mkdir "$work"
	as_db cp "$SCRATCH"/tree/test/demo/page/* "$work"
	if quietly "$work/npm.log" "npm ci" as_db npm --prefix "$work" ci --ignore-scripts --no-audit --no-fund &&
		db -U erp -d demo -f "$work/data.sql" >"$SCRATCH/data.json" &&
		node "$work/render.mjs" "$work" <"$SCRATCH/data.json" >"$SCRATCH/page.html" &&
		cp "$SCRATCH/page.html" "$PAGE"; then
		note "$PAGE"
	else
		note "no page"
	fi
}

PAGE=${PAGE:-${TMPDIR:-/tmp}/loyalty-demo.$(id -un).html}
case "$PAGE" in
	/*) ;;
	*) PAGE=$PWD/$PAGE ;;
esac
case "${1:-}" in
	-h|--help)
		sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
		exit 0
		;;
esac
[ $# -le 1 ] || die "usage: bash test/demo.sh [FILE.csv|FILE.csv.xz]"
CSV=
if [ $# -eq 1 ]; then
	[ -r "$1" ] || die "cannot read $1"
	CSV=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
fi

say "== preparing"
prepare_postgres server
if [ -n "$CSV" ]; then
	read -r header < <(read_csv 2>/dev/null) || die "$CSV has no first line"
	header=${header%$'\r'}
	[ "${header#$'\xef\xbb\xbf'}" = "$COLUMNS_WANTED" ] ||
		die "$CSV is not in the layout of UCI Online Retail: its first line must be $COLUMNS_WANTED"
fi
make_scratch
build_and_install
start_cluster

# the superuser's part ends here: the rest is done by the role that owns the ERP's tables
db -d postgres -c 'CREATE ROLE erp LOGIN' -c 'CREATE DATABASE demo OWNER erp'
db -d demo -c 'CREATE EXTENSION loyalty' -c 'SELECT loyalty.create_roles()' -c 'GRANT loyalty_admin TO erp' >/dev/null
note "CREATE EXTENSION loyalty"

if [ -z "$CSV" ]; then
	say ""
	say "== a small ERP, attached to a programme"
	play erp.sql
	play club.sql
	say ""
	say "== a year of invoices, returns, edits and cancellations"
	play stream.sql
	play report.sql
else
	say ""
	say "== the tables of a retailer, attached to a programme"
	play retail.sql
	say ""
	say "== playing in $(basename "$CSV")"
	from=$SECONDS
	read_csv | db -U erp -d demo -c '\copy retail.staging FROM pstdin WITH (FORMAT csv, HEADER)'
	note "read into a staging table ($((SECONDS - from)) s)"
	play retail_play.sql
	play retail_report.sql
fi
say ""
say "== the figures as a page"
draw_page
say ""
say "done in $SECONDS s: everything agrees"
