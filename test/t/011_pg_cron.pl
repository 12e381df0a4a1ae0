# Upkeep by pg_cron, as README.md says: the real one, by a connection of its own
# and by a background worker.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use LoyaltyShop;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\ncron.host = '" . $node->host . "'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron');
$node->safe_psql('postgres', 'CREATE DATABASE erp');
$node->safe_psql('erp', q{
	CREATE EXTENSION loyalty;
	CREATE TABLE ticket (id integer PRIMARY KEY, customer text, day date, amount numeric);
	SELECT loyalty.create_program('club', 'UTC');
	SELECT loyalty.set_rule('club', 'base', 1, 1);
	SELECT loyalty.set_redemption('club', 0.1);
	SELECT loyalty.attach('ticket', 'club', 'ticket', 'r.id', 'r.customer', 'r.day', amount => 'r.amount', evaluate => 'queue');
	INSERT INTO ticket SELECT n, 'C' || n, '2024-03-01', 100 FROM generate_series(1, 2500) n;
});

# what README.md recommends is taken; to run at once it is scheduled for the
# server's start
my ($recipe) = slurp_file("$FindBin::RealBin/../../README.md") =~ /^(SELECT cron\.schedule_in_database\(.*?\);)$/ms;
ok($recipe, 'README.md has a recipe');
my $job = $node->safe_psql('postgres', $recipe);
is($node->safe_psql('postgres', 'SELECT command, database FROM cron.job'), 'CALL loyalty.upkeep()|erp', 'pg_cron takes it');
$node->safe_psql('postgres', "SELECT cron.alter_job($job, schedule => '\@reboot')");

foreach my $mode ('off', 'on')
{
	$node->append_conf('postgresql.conf', "cron.use_background_workers = $mode\n");
	$node->safe_psql('erp', 'UPDATE ticket SET amount = amount + 10');
	my $runs = $node->safe_psql('erp', 'SELECT count(*) FROM loyalty.upkeep_run');
	$node->restart;
	ok($node->poll_query_until('postgres', "SELECT count(*) > $runs FROM cron.job_run_details WHERE status NOT IN ('starting', 'running', 'connecting', 'sending')"),
		"use_background_workers $mode: it has run");
	is($node->safe_psql('postgres', 'SELECT status FROM cron.job_run_details ORDER BY runid DESC LIMIT 1'), 'succeeded', 'and succeeded')
	  or diag($node->safe_psql('postgres', 'SELECT * FROM cron.job_run_details'));
	is($node->safe_psql('erp', 'SELECT count(*) FROM loyalty.pending'), '0', 'what was queued is booked');
	is($node->safe_psql('erp', q{SELECT state, batches >= 4 FROM loyalty.upkeep_progress ORDER BY started_at DESC LIMIT 1}), 'finished|t', 'batch by batch');
	is($node->safe_psql('erp', 'SELECT * FROM loyalty.check()'), '', 'check() finds nothing');
}

# a run that could not do everything is one that failed
$node->safe_psql('erp', 'ALTER FUNCTION loyalty.close_holds RENAME TO gone');
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM cron.job_run_details WHERE status = 'failed' AND return_message ~ 'upkeep could not do everything'}),
	'a failure is told by cron.job_run_details');
$node->stop;
done_testing();
