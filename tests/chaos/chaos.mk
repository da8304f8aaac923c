# Everything breaks while everybody listens: see tests/chaos/chaos.py. Without SEED one is drawn and printed.
SECONDS ?= 60
SEED    ?=

.PHONY: chaos run-chaos

## make chaos         kill and restart everything for SECONDS (60), and account for every change; SEED=n for a certain run
chaos:
	+@$(BUILD) VARIANT=$(TESTED) run-chaos

run-chaos: all
	@WALPUSH_BINARY=$(CURDIR)/$(B)/walpush $(if $(filter asan tsan,$(VARIANT)),$(FIXED_LAYOUT)) \
		$(PYTHON) tests/chaos/chaos.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))
