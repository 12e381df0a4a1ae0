// Renders the figures of data.sql (JSON on standard input) as one HTML page
// that needs nothing else: the charting library is part of it.
//
//   psql -f data.sql | node render.mjs [DIRECTORY OF node_modules] > page.html
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const require = createRequire(resolve(process.argv[2] ?? '.', 'package.json'));
const library = readFileSync(require.resolve('echarts/dist/echarts.min.js'), 'utf8');
const licence = `Apache ECharts ${require('echarts/package.json').version}, Apache License 2.0`;
const data = JSON.parse(readFileSync(0, 'utf8'));

const number = (x, digits = 0) => x === null || x === undefined ? '–'
	: Number(x).toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = (x, digits = 1) => x === null || x === undefined ? '–' : `${number(100 * x, digits)} %`;
const text = (s) => String(s ?? '').replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const month = (day) => day.slice(0, 7);
const list = (x) => x ?? [];
const label = (segment) => list(data.segments).find((s) => s.segment === segment)?.segment_label ?? segment.replace(/_/g, ' ');

// good to bad, the same in every chart
const colours = ['#1b7f5c', '#3b9e77', '#6cbf96', '#2f6fb0', '#5a95cf', '#e0b23c', '#e09a3c', '#d9683c', '#c23b3b', '#8b8f98', '#b9bcc4'];
const ink = '#23262d', faint = '#6b7079', line = '#e3e5ea';
const axis = { axisLine: { lineStyle: { color: line } }, axisTick: { show: false }, axisLabel: { color: faint }, splitLine: { lineStyle: { color: line } } };
const grid = { left: 8, right: 16, top: 40, bottom: 8, containLabel: true };
const charts = [];

function chart(id, title, note, option, height = 320, wide = false) {
	charts.push({ id, title, note, height, wide, option: { animation: false, textStyle: { fontFamily: 'inherit', color: ink }, ...option } });
}

const segments = list(data.segments);
const rising = [...segments].reverse();
chart('segments', 'Segments', 'share of members, and of what they paid net of returns', {
	color: [colours[3], colours[0]], grid, legend: { top: 0, left: 0 }, tooltip: { trigger: 'axis' },
	xAxis: { type: 'value', ...axis, axisLabel: { color: faint, formatter: '{value} %' } },
	yAxis: { type: 'category', data: rising.map((s) => s.segment_label ?? label(s.segment)), ...axis },
	series: [
		{ name: 'members', type: 'bar', data: rising.map((s) => +(100 * s.member_share).toFixed(1)) },
		{ name: 'net amount', type: 'bar', data: rising.map((s) => +(100 * (s.net_share ?? 0)).toFixed(1)) }],
}, 420);

const cells = list(data.grid);
chart('grid', 'Recency and frequency', 'members per pair of scores', {
	grid: { ...grid, top: 10, bottom: 50 }, tooltip: {},
	xAxis: { type: 'category', name: 'F', data: [1, 2, 3, 4, 5], ...axis }, yAxis: { type: 'category', name: 'R', data: [1, 2, 3, 4, 5], ...axis },
	visualMap: { min: 0, max: Math.max(1, ...cells.map((c) => c.members)), orient: 'horizontal', left: 'center', bottom: 0, itemHeight: 120, inRange: { color: ['#eef4f1', colours[0]] } },
	series: [{ type: 'heatmap', label: { show: true }, data: cells.map((c) => [c.f - 1, c.r - 1, c.members]) }],
}, 420);

const moves = list(data.migration);
const names = (key) => [...new Set(moves.map((m) => m[key]))].sort((a, b) =>
	(segments.findIndex((s) => s.segment === a) + 99) % 99 - (segments.findIndex((s) => s.segment === b) + 99) % 99);
if (moves.length > 0) {
	const from = names('from_segment'), to = names('to_segment').reverse();
	chart('migration', 'Migration', `from the segment of ${moves[0].from_as_of} (across) to that of ${moves[0].to_as_of} (up), members`, {
		grid: { ...grid, top: 10, bottom: 50 }, tooltip: {},
		xAxis: { type: 'category', data: from.map(label), ...axis, axisLabel: { color: faint, rotate: 35 } }, yAxis: { type: 'category', data: to.map(label), ...axis },
		visualMap: { min: 0, max: Math.max(1, ...moves.map((m) => m.members)), orient: 'horizontal', left: 'center', bottom: 0, itemHeight: 120, inRange: { color: ['#eef3f9', colours[3]] } },
		series: [{ type: 'heatmap', label: { show: true, fontSize: 11 }, data: moves.map((m) => [from.indexOf(m.from_segment), to.indexOf(m.to_segment), m.members]) }],
	}, 520, true);
}

const cohorts = list(data.cohorts);
if (cohorts.length > 0) {
	const rows = [...new Set(cohorts.map((c) => c.cohort))].sort().reverse();
	const columns = Array.from({ length: 1 + Math.max(...cohorts.map((c) => c.month_number)) }, (_, i) => i);
	chart('cohorts', 'Cohorts', 'of the members who first bought in a month, the share that bought in the months after it', {
		grid: { ...grid, top: 10, bottom: 50 }, tooltip: {},
		xAxis: { type: 'category', name: 'months since', nameLocation: 'middle', nameGap: 28, data: columns, ...axis },
		yAxis: { type: 'category', data: rows.map(month), ...axis },
		visualMap: { min: 0, max: 0.6, show: false, inRange: { color: ['#f3f0e6', colours[5], colours[7]] } },
		series: [{ type: 'heatmap', label: { show: true, fontSize: 11, formatter: 'PERCENT' },
			data: cohorts.map((c) => [c.month_number, rows.indexOf(c.cohort), c.retention]) }],
	}, 420, true);
}

const months = list(data.months).filter((m) => m.sales > 0 || m.points_net !== 0);
const monthly = { xAxis: { type: 'category', data: months.map((m) => month(m.month)), ...axis }, yAxis: { type: 'value', ...axis }, grid, legend: { top: 0, left: 0 }, tooltip: { trigger: 'axis' } };
chart('points', 'Points flow', 'points earned and taken back per month', {
	...monthly, color: [colours[0], colours[8], colours[5], ink],
	series: [
		{ name: 'earned', type: 'bar', stack: 'p', data: months.map((m) => m.points_earned) },
		{ name: 'returns', type: 'bar', stack: 'p', data: months.map((m) => m.points_returned) },
		{ name: 'other', type: 'bar', stack: 'p', data: months.map((m) => m.points_other) },
		{ name: 'net', type: 'line', symbol: 'none', data: months.map((m) => m.points_net) }],
});
chart('sales', 'Sales', `amount per month${data.currency ? `, ${data.currency}` : ''}`, {
	...monthly, color: [colours[3], colours[8]],
	series: [
		{ name: 'sales', type: 'bar', stack: 's', data: months.map((m) => m.gross_amount) },
		{ name: 'returns', type: 'bar', stack: 's', data: months.map((m) => -m.returned_amount) }],
});
chart('members', 'Members', 'who bought in a month', {
	...monthly, color: [colours[1], colours[4]],
	series: [
		{ name: 'came back', type: 'bar', stack: 'm', data: months.map((m) => m.returning_members) },
		{ name: 'for the first time', type: 'bar', stack: 'm', data: months.map((m) => m.new_buyers) }],
});

const tiers = list(data.tiers);
chart('tiers', 'Tier ladder', 'members per tier, and their points', {
	color: [colours[3], colours[5]], grid: { ...grid, top: 64 }, legend: { top: 0, left: 0 }, tooltip: { trigger: 'axis' },
	xAxis: { type: 'category', data: tiers.map((t) => t.tier), ...axis },
	yAxis: [{ type: 'value', name: 'members', ...axis }, { type: 'value', name: 'points', ...axis, splitLine: { show: false } }],
	series: [
		{ name: 'members', type: 'bar', data: tiers.map((t) => t.members) },
		{ name: 'points', type: 'bar', yAxisIndex: 1, data: tiers.map((t) => t.points) }],
});

const risks = ['active', 'due', 'at_risk', 'churning', 'lost', 'unknown'];
chart('risk', 'Late by their own cycle', 'members by how many of their purchase cycles they have been away', {
	color: [colours[0], colours[2], colours[5], colours[7], colours[8], colours[10]], tooltip: {},
	series: [{ type: 'pie', radius: ['45%', '72%'], label: { formatter: '{b}: {c}' },
		data: risks.map((r) => ({ name: r.replace('_', ' '), value: list(data.risk).find((x) => x.risk === r)?.members ?? 0 })).filter((r) => r.value > 0) }],
});
const groups = [...list(data.groups)].reverse();
chart('groups', 'Named groups', 'members; one may be in several', {
	color: [colours[4]], grid: { ...grid, top: 10 }, tooltip: {},
	xAxis: { type: 'value', ...axis }, yAxis: { type: 'category', data: groups.map((g) => g.group_name.replace(/_/g, ' ')), ...axis },
	series: [{ type: 'bar', label: { show: true, position: 'right' }, data: groups.map((g) => g.members) }],
});
const tenths = list(data.lifetime);
if (tenths.length > 0) {
	chart('lifetime', 'Lifetime value', 'what the next year is worth, by tenths of members from the best on', {
		color: [colours[0]], grid: { ...grid, top: 10 }, tooltip: {},
		xAxis: { type: 'category', data: tenths.map((t) => t.tenth), ...axis }, yAxis: { type: 'value', ...axis },
		series: [{ type: 'bar', data: tenths.map((t) => t.lifetime_value) }],
	});
}
const expiring = list(data.expiring);
if (expiring.length > 0) {
	chart('expiring', 'Points that expire', 'points by the month of their last day', {
		color: [colours[7]], grid: { ...grid, top: 10 }, tooltip: {},
		xAxis: { type: 'category', data: expiring.map((e) => month(e.expires_month)), ...axis }, yAxis: { type: 'value', ...axis },
		series: [{ type: 'bar', data: expiring.map((e) => e.points) }],
	});
}

const liability = list(data.liability)[0] ?? {};
const sum = (key) => months.reduce((s, m) => s + Number(m[key]), 0);
const tiles = [
	['members', number(months.at(-1)?.members)],
	['sales', number(sum('sales'))],
	[`net amount${data.currency ? `, ${data.currency}` : ''}`, number(sum('net_amount'))],
	['average sale', number(sum('gross_amount') / sum('sales'), 2)],
	['returned', percent(sum('returned_amount') / sum('gross_amount'))],
	['open points', number(liability.open_points)],
	['owed by members', number(liability.debt_points)]];
const pairs = list(data.pairs);
const table = pairs.length === 0 ? '' : `<section class="wide"><h2>Bought together</h2><p>pairs of products, the surest first</p>
<table><tr><th>with</th><th>also</th><th>sales with both</th><th>confidence</th><th>at least</th><th>lift</th></tr>
${pairs.map((p) => `<tr><td>${text(p.product)}</td><td>${text(p.other)}</td><td>${number(p.both_baskets)}</td><td>${percent(p.confidence)}</td><td>${percent(p.confidence_low)}</td><td>${number(p.lift, 1)}</td></tr>`).join('\n')}
</table></section>`;

// a closing tag within a script would end it
const script = (s) => s.replace(/<\/script/gi, '<\\/script');
process.stdout.write(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${text(data.program)}: loyalty report</title>
<style>
body { margin: 0; background: #f5f6f8; color: ${ink}; font: 15px/1.45 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 17px; margin: 0; } p { color: ${faint}; margin: 2px 0 10px; }
.tiles, .charts { display: grid; gap: 16px; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); margin: 16px 0; }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
.tiles div, section { background: #fff; border: 1px solid ${line}; border-radius: 10px; padding: 16px; }
.tiles b { display: block; font-size: 22px; font-variant-numeric: tabular-nums; } .tiles span, footer { color: ${faint}; }
.wide { grid-column: 1 / -1; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; } th { color: ${faint}; font-weight: 500; }
td, th { text-align: right; padding: 6px 10px; border-bottom: 1px solid ${line}; } td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left; }
footer { margin-top: 20px; font-size: 13px; }
</style></head><body><main>
<h1>${text(data.program)}</h1><p>as of ${text(data.as_of)}</p>
<div class="tiles">${tiles.map(([name, value]) => `<div><b>${text(value)}</b><span>${text(name)}</span></div>`).join('')}</div>
<div class="charts">
${charts.map((c) => `<section${c.wide ? ' class="wide"' : ''}><h2>${text(c.title)}</h2><p>${text(c.note)}</p><div id="${c.id}" style="height:${c.height}px"></div></section>`).join('\n')}
${table}
</div>
<footer>Every figure is a row of a view in schema loyalty. ${licence}</footer>
</main>
<script>${script(library)}</script>
<script>
const charts = ${script(JSON.stringify(charts.map(({ id, option }) => ({ id, option }))))};
const drawn = charts.map(({ id, option }) => {
	for (const s of option.series) if (s.label && s.label.formatter === 'PERCENT') s.label.formatter = (p) => Math.round(100 * p.value[2]) + '';
	const c = echarts.init(document.getElementById(id), null, { renderer: 'svg' });
	c.setOption(option);
	return c;
});
addEventListener('resize', () => drawn.forEach((c) => c.resize()));
document.body.dataset.charts = drawn.length;
</script>
</body></html>
`);
