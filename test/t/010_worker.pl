# The background worker: off until it is told which databases, one run after the
# other in each, as the extension's owner, on the primary only, and whoever is
# killed in the middle of it, the next run does the rest.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run;
use LoyaltyShop;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf(
	'postgresql.conf', q{
shared_preload_libraries = 'loyalty'
loyalty.worker_interval = '1s'
restart_after_crash = on
max_worker_processes = 12
});
$node->start;

# what waits, in each database: documents in a queue, and holds that are over
my $shop = q{
	CREATE TABLE ticket (id integer PRIMARY KEY, customer text, day date, amount numeric);
	SELECT loyalty.create_program('club', 'UTC');
	SELECT loyalty.set_rule('club', 'base', 1, 1);
	SELECT loyalty.set_redemption('club', 0.1);
	SELECT loyalty.attach('ticket', 'club', 'ticket', 'r.id', 'r.customer', 'r.day', amount => 'r.amount', evaluate => 'queue');
	INSERT INTO ticket SELECT n, 'C' || n, '2024-03-01', 100 FROM generate_series(1, 50) n;
};
my $done = q{SELECT count(*) = 0 AND (SELECT count(*) FROM loyalty.document) = (SELECT count(*) FROM ticket) FROM loyalty.pending};
my $open = q{SELECT count(*) FROM loyalty.hold WHERE state = 'open'};

# every member has a hold that is over since 2024
sub late_holds
{
	my ($db, $key) = @_;
	$node->safe_psql($db, qq{SELECT count(r.*) FROM loyalty.member m, loyalty.reserve('club', m.customer, 1, '$key', 1, at => '2024-04-01') r});
	return;
}

# a session that has locked the member who is halfway
sub busy
{
	my ($db) = @_;
	my $session = $node->background_psql($db);
	$session->query_safe(q{BEGIN; SELECT 1 FROM loyalty.member
		WHERE member_id = (SELECT member_id FROM loyalty.member ORDER BY member_id OFFSET 25 LIMIT 1) FOR UPDATE});
	return $session;
}

sub configure
{
	my ($name, $value) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET $name = $value");
	$node->reload;
	return;
}

$node->safe_psql('postgres', 'CREATE ROLE keeper LOGIN');
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach ('one', 'three');
$node->safe_psql('postgres', 'CREATE DATABASE two OWNER keeper');
$node->safe_psql('one', "CREATE EXTENSION loyalty; $shop");
sql_as($node, 'two', 'keeper', "CREATE EXTENSION loyalty; $shop");

# off
sleep 2;
is($node->safe_psql('postgres', q{SELECT backend_type, application_name, datname FROM pg_stat_activity WHERE backend_type ~ 'loyalty'}),
	'loyalty launcher|loyalty launcher|', 'the launcher is there, and sleeps');
is($node->safe_psql('one', 'SELECT count(*) FROM loyalty.upkeep_run'), '0', 'no database is named, nothing runs');

# on, by a reload
my ($rc, $out, $err) = $node->psql('postgres', q{ALTER SYSTEM SET loyalty.worker_databases = 'one, "two'});
like($err, qr/invalid value for parameter "loyalty.worker_databases"/, 'a list that is none is refused');
configure('loyalty.worker_databases', q{'one, two, three, "No Such"'});
ok($node->poll_query_until('one', $done), 'the queue of the first database is worked off');
ok($node->poll_query_until('two', $done), 'and that of the second');
ok($node->poll_query_until('one', q{SELECT count(*) >= 2 FROM loyalty.upkeep_progress WHERE state = 'finished' AND percent = 100}),
	'one run after the other');
is($node->safe_psql('one', 'SELECT DISTINCT started_by = current_user FROM loyalty.upkeep_progress'), 't', 'as the owner of the extension');
is($node->safe_psql('two', 'SELECT DISTINCT started_by FROM loyalty.upkeep_progress'), 'keeper', 'who may be an ordinary role');
$node->safe_psql('two', q{
	SET ROLE keeper;
	CREATE OR REPLACE PROCEDURE loyalty.upkeep(as_of timestamptz DEFAULT NULL, batch integer DEFAULT 1000, steps text[] DEFAULT NULL)
	LANGUAGE sql AS 'ALTER ROLE keeper SUPERUSER';
});
my $offset = -s $node->logfile;
ok($node->wait_for_log(qr/permission denied|must be superuser/, $offset), 'whose rights are all that the worker has');
is($node->safe_psql('postgres', q{SELECT rolsuper FROM pg_roles WHERE rolname = 'keeper'}), 'f', 'he stays what he is');

# databases and extensions come and go
$node->safe_psql('two', 'DROP EXTENSION loyalty CASCADE');
sql_as($node, 'two', 'keeper', "CREATE EXTENSION loyalty; DROP TABLE ticket; $shop");
ok($node->poll_query_until('two', $done), 'the extension is made again, and found again');
is($node->psql('postgres', 'DROP DATABASE two'), 0, 'a database can be dropped');
$node->safe_psql('postgres', 'CREATE DATABASE "No Such"');
$node->safe_psql('No Such', "CREATE EXTENSION loyalty; $shop");
ok($node->poll_query_until('No Such', $done), 'and one that comes later is found');
my $log = slurp_file($node->logfile);
is(() = $log =~ /loyalty upkeep of database "No Such" is not started: there is no such database/g, 1, 'what is missing is told once');
configure('loyalty.worker_databases', q{'one'});
$node->safe_psql('postgres', 'DROP DATABASE "No Such"');

# an error is told once a run
$node->safe_psql('one', 'ALTER FUNCTION loyalty.close_holds RENAME TO gone');
$offset = -s $node->logfile;
ok($node->poll_query_until('one', q{SELECT count(*) >= 2 FROM loyalty.upkeep_progress WHERE state = 'failed'}), 'a step that fails');
my $failed = $node->safe_psql('one', q{ALTER FUNCTION loyalty.gone RENAME TO close_holds; SELECT count(*) FROM loyalty.upkeep_progress WHERE state = 'failed'});
sleep 1;
$failed = $node->safe_psql('one', q{SELECT count(*) FROM loyalty.upkeep_progress WHERE state = 'failed'});
is(() = slurp_file($node->logfile, $offset) =~ /ERROR:  upkeep could not do everything/g, $failed, 'is told once a run');

# the worker is killed in the middle of it, and takes the server along
configure('loyalty.worker_databases', q{''});
late_holds('one', 'first');
my $busy = busy('one');
configure('loyalty.worker_databases', q{'one'});
my $waits = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'loyalty upkeep' AND wait_event_type = 'Lock'};
ok($node->poll_query_until('one', "SELECT EXISTS ($waits)"), 'the worker waits for a member');
is($node->safe_psql('one', q{SELECT a.application_name, a.query, p.state, p.step FROM pg_stat_activity a
		JOIN loyalty.upkeep_progress p USING (pid) WHERE a.backend_type = 'loyalty upkeep' AND p.state = 'running'}),
	'loyalty upkeep of one|CALL loyalty.upkeep()|running|holds', 'one can see what it does');
kill 'KILL', $node->safe_psql('one', $waits);
ok($node->poll_query_until('one', q{SELECT pg_postmaster_start_time() < clock_timestamp() AND NOT pg_is_in_recovery()}), 'the server is back');
eval { $busy->quit; };
ok($node->poll_query_until('one', "SELECT ($open) = 0"), 'the next run does the rest');
is($node->safe_psql('one', q{SELECT string_agg(DISTINCT state, ', ' ORDER BY state) FROM loyalty.upkeep_progress WHERE state <> 'failed'}),
	'finished, interrupted', 'the run that was killed shows as interrupted');
is($node->safe_psql('one', 'SELECT * FROM loyalty.check()'), '', 'check() finds nothing');

# a worker that is told to stop does so, and the launcher goes on
late_holds('one', 'second');
$busy = busy('one');
ok($node->poll_query_until('one', "SELECT EXISTS ($waits)"), 'the worker waits again');
$node->safe_psql('one', "SELECT pg_terminate_backend(pid) FROM ($waits) w");
ok($node->poll_query_until('one', "SELECT EXISTS ($waits)"), 'stopped, it is started again');
$node->safe_psql('one', "SELECT pg_cancel_backend(pid) FROM ($waits) w");
ok($node->poll_query_until('one', q{SELECT count(*) > 0 FROM loyalty.upkeep_progress WHERE state = 'failed' AND error ~ 'canceling'}), 'cancelled, it says so');
$busy->quit;
ok($node->poll_query_until('one', "SELECT ($open) = 0"), 'and once it is not kept from it, it is done');

# the server is killed in the middle of what somebody runs by hand
configure('loyalty.worker_databases', q{''});
$node->poll_query_until('one', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'loyalty upkeep'});
late_holds('one', 'third');
$busy = busy('one');
my $by_hand = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('one'), '-c', 'CALL loyalty.upkeep(batch => 10)' ], '>', \$out, '2>', \$err);
ok($node->poll_query_until('one', q{SELECT EXISTS (SELECT FROM loyalty.upkeep_progress WHERE state = 'running' AND done = 'holds 20' AND percent BETWEEN 20 AND 60)
		AND EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')}), 'two batches are committed, the third waits');
$node->stop('immediate');
$by_hand->finish;
eval { $busy->quit; };
$node->start;
is($node->safe_psql('one', $open), '30', 'what was committed has stayed, what was not has gone');
is($node->safe_psql('one', 'SELECT * FROM loyalty.check()'), '', 'check() finds nothing');
is($node->safe_psql('one', q{SELECT state, done FROM loyalty.upkeep_progress ORDER BY started_at DESC LIMIT 1}), 'interrupted|holds 20', 'and shows');

# a standby does nothing, until it is promoted
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.auto.conf', "loyalty.worker_databases = 'one'");
$standby->start;
$node->safe_psql('one', 'CREATE TABLE here ()');
$node->wait_for_catchup($standby);
sleep 2;
is($standby->safe_psql('one', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'loyalty'}), '0', 'a standby has no launcher');
unlike(slurp_file($standby->logfile), qr/loyalty upkeep|standby.*upkeep/, 'and says nothing');
$node->stop;
$standby->promote;
ok($standby->poll_query_until('one', "SELECT ($open) = 0"), 'promoted, it works');
is($standby->safe_psql('one', 'SELECT * FROM loyalty.check()'), '', 'check() finds nothing');

# shutting down does not wait for a run
$standby->safe_psql('one', q{SELECT count(r.*) FROM loyalty.member m, loyalty.reserve('club', m.customer, 1, 'fourth', 1, at => '2024-04-01') r});
my $last = $standby->background_psql('one');
$last->query_safe(q{BEGIN; SELECT 1 FROM loyalty.member LIMIT 1 FOR UPDATE});
$standby->poll_query_until('one', "SELECT EXISTS ($waits)");
my $from = time;
$standby->stop('fast');
eval { $last->quit; };
cmp_ok(time - $from, '<', 10, 'the server stops at once');

unlike(slurp_file($node->logfile), qr/FATAL:  (?!terminating|the database system)/, 'no process has failed that should not');
done_testing();
