#!/usr/bin/env bash
# Does the page come to life?  Renders it from a small shop and opens it in
# headless Chromium; prints TAP.  Needs a cluster with the extension (PGHOST and
# so on), node, npm and chromium.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tests=0
failed=0

# Say whether the rest of the arguments is a command that succeeds.
check()
{
	local what=$1
	shift
	tests=$((tests + 1))
	if "$@" >/dev/null; then
		echo "ok $tests - $what"
	else
		echo "not ok $tests - $what"
		failed=1
	fi
}

cp "$here"/package.json "$here"/package-lock.json "$work"
npm --prefix "$work" ci --ignore-scripts --no-audit --no-fund >&2
psql=(psql -X -q -v ON_ERROR_STOP=1)
"${psql[@]}" -d postgres -c 'CREATE DATABASE page'
"${psql[@]}" -d page -c 'CREATE EXTENSION loyalty' -f "$here/fixture.sql" -f "$here/../analytics.sql" >&2
"${psql[@]}" -d page -f "$here/data.sql" >"$work/data.json"
node "$here/render.mjs" "$work" <"$work/data.json" >"$work/page.html"

chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
	--disable-component-update --disable-sync --user-data-dir="$work/profile" --window-size=1300,3000 \
	--virtual-time-budget=10000 --dump-dom "file://$work/page.html" >"$work/dom.html" 2>"$work/chromium.log" || cat "$work/chromium.log" >&2

# the library is in the DOM as text: only what is before it was drawn
sed '/<script>/,$d' "$work/dom.html" >"$work/drawn.html"
charts=$(sed -n 's/.*<body[^>]* data-charts="\([0-9]*\)".*/\1/p' "$work/dom.html")
# fragments such as url(#clip) are the page's own
check 'the page loads nothing' sh -c '! grep -Eq "<(script|link|img|iframe)[^>]* (src|href)=|@import|url\([^#]" "$1"' - "$work/drawn.html"
check 'the script runs to its end' test "${charts:-0}" -eq 11
check 'every chart is drawn' test "$(grep -o '<svg' "$work/drawn.html" | wc -l)" -eq "${charts:-0}"
check 'every chart has a heading' test "$(grep -o '<h2>' "$work/drawn.html" | wc -l)" -ge "${charts:-0}"
check 'nothing is NaN or undefined' sh -c '! grep -Eq "NaN|undefined|Infinity" "$1"' - "$work/drawn.html"
check 'segments are named' grep -q 'Champions' "$work/drawn.html"
check 'tiers are shown' grep -q 'Silver' "$work/drawn.html"
check 'pairs of products are listed' grep -Eq '<td>p[0-9]+</td><td>p[0-9]+</td>' "$work/drawn.html"
check 'a name is text, whatever is in it' grep -q '&lt;/script&gt;&lt;b&gt;"Ä &amp; Ö"</h1>' "$work/drawn.html"
echo "1..$tests"
exit $failed
