# loyalty: PGXS build; "make && make install && make installcheck"
EXTENSION = loyalty
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" $(srcdir)/loyalty.control)
MODULE_big = loyalty

# the rooms, in the order of the data
OBJS = \
	src/loyalty.o src/session.o src/config.o \
	src/points/points.o \
	src/source/key.o src/source/expression.o src/source/mapping.o src/source/map.o src/source/capture.o \
	src/source/pending.o src/source/park.o src/source/attach.o src/source/status.o src/source/birthday.o \
	src/fact/header.o src/fact/read.o src/fact/basket.o src/fact/lines.o src/fact/claim.o src/fact/event.o \
	src/rule/program.o src/rule/tier.o src/rule/policy.o src/rule/expiry.o src/rule/reward.o src/rule/book.o src/rule/match.o src/rule/rows.o src/rule/frozen.o src/rule/award.o \
	src/rule/space.o src/rule/allowed.o src/rule/vet.o src/rule/condition.o \
	src/ledger/evaluate.o src/ledger/settle.o src/ledger/batch.o src/ledger/lock.o src/ledger/load.o src/ledger/document.o src/ledger/price.o src/ledger/family.o \
	src/ledger/event.o src/ledger/record.o src/ledger/dependant.o src/ledger/remaining.o src/ledger/history.o src/ledger/budget.o \
	src/ledger/standing.o src/ledger/tier.o src/ledger/gift.o src/ledger/progress.o \
	src/ledger/posting.o src/ledger/lots.o src/ledger/lapse.o src/ledger/balance.o src/ledger/term.o src/ledger/restore.o src/ledger/redemption.o src/ledger/spent.o src/ledger/transfer.o src/ledger/post.o \
	src/ledger/store.o src/ledger/probe.o src/ledger/repair.o src/ledger/explain.o src/ledger/whatif.o \
	src/member/member.o src/member/account.o src/member/window.o src/member/standing.o src/member/record.o src/member/override.o \
	src/redeem/call.o src/redeem/available.o src/redeem/quote.o src/redeem/redeem.o src/redeem/hold.o \
	src/redeem/adjust.o src/redeem/household.o src/redeem/extend.o src/redeem/reward.o src/redeem/code.o \
	src/upkeep/step.o src/upkeep/expire.o src/upkeep/review.o src/upkeep/launcher.o src/upkeep/worker.o \
	src/outbox/setting.o src/outbox/tell.o src/outbox/announce.o src/outbox/door.o src/outbox/queue.o src/outbox/close.o \
	src/analytics/days.o src/analytics/pairs.o src/analytics/simplex.o src/analytics/lifetime.o src/analytics/campaign.o src/analytics/nonmember.o src/analytics/lines.o

SCRIPT = loyalty--$(EXTVERSION).sql
PIECES = $(sort $(wildcard $(srcdir)/src/sql/[0-9]*.sql))
DATA_built = $(SCRIPT)

# install first and uninstall last; between them each story stands alone
STORIES = $(sort $(filter-out install uninstall,$(notdir $(basename $(wildcard $(srcdir)/sql/*.sql)))))
REGRESS = install $(STORIES) uninstall
REGRESS_OPTS = --inputdir=$(srcdir)
ISOLATION = $(sort $(notdir $(basename $(wildcard $(srcdir)/test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation --outputdir=output_iso

PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare $(WERROR)
EXTRA_CLEAN = output_iso results regression.diffs regression.out

PG_CONFIG ?= pg_config
srcdir ?= .
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# the install script never replaces what somebody else has put there
$(SCRIPT): $(PIECES) $(srcdir)/loyalty.control
	cat $(PIECES) > $@

$(OBJS): $(wildcard $(srcdir)/src/*.h $(srcdir)/src/*/*.h)

bench:
	$(srcdir)/test/bench/run.sh

.PHONY: bench
