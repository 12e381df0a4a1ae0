# case variant rows cpu_ns wal_bytes seconds -> medians, spread, ratios
function median(s,    a, n, i, j, t)
{
	n = split(s, a, " ")
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && a[j - 1] + 0 > a[j] + 0; j--)
		{
			t = a[j]; a[j] = a[j - 1]; a[j - 1] = t
		}
	lowest = a[1]; highest = a[n]
	return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
}

$1 == "memory" {
	memory = memory sprintf("  %-8s %12.1f MB %10.1f bytes per row\n", $2, $4 / 1048576, $4 / $3)
	next
}

{
	k = $1 " " $2
	if (!($1 in seen)) { cases[++ncases] = $1; seen[$1] = 1 }
	cpu[k] = cpu[k] " " $4 / $3 / 1000
	wal[k] = wal[k] " " $5 / $3
	tps[k] = tps[k] " " ($6 > 0 ? $3 / $6 : 0)
}

END {
	title["insert"] = "bulk INSERT .. SELECT"
	title["copy"] = "bulk COPY"
	title["one"] = "one document per transaction"
	title["touch_one"] = "UPDATE of an unmapped column, one row"
	title["touch_bulk"] = "UPDATE of an unmapped column, bulk"
	title["drafts"] = "bulk INSERT of drafts (do not count)"
	title["hot_off"] = "8 clients on one member (hand: plain UPDATE of one row)"
	title["hot_on"] = "the same, synchronous_commit on"
	n = split("bare idle loyalty hand facts plpgsql", order, " ")
	for (c = 1; c <= ncases; c++)
	{
		name = cases[c]
		printf "\n%s\n", title[name]
		printf "  %-8s %12s %19s %8s %12s %8s %12s\n", "", "CPU us/row", "(spread)", "x bare", "WAL B/row", "x bare", "rows/s"
		b = median(cpu[name " bare"])
		w = median(wal[name " bare"])
		for (v = 1; v <= n; v++)
		{
			k = name " " order[v]
			if (!(k in cpu))
				continue
			m = median(cpu[k])
			spread = sprintf("(%.2f .. %.2f)", lowest, highest)
			printf "  %-8s %12.2f %19s %8.2f %12.0f %8.2f %12.0f\n", order[v], m, spread, (b > 0 ? m / b : 0),
				median(wal[k]), (w > 0 ? median(wal[k]) / w : 0), median(tps[k])
		}
	}
	if (memory != "")
		printf "\nmemory of one bulk INSERT .. SELECT: growth of the backend's peak\n%s", memory
}
