# Everything breaks while everybody listens: see tests/chaos/chaos.py. Without SEED one is drawn and printed.
SECONDS  ?= 60
SEED     ?=
REPLICAS ?= 1

.PHONY: chaos run-chaos

## make chaos         kill and restart everything for SECONDS (60), and account for every change; SEED=n for a certain run, REPLICAS=3 over Redis
chaos:
	+@$(BUILD) VARIANT=$(TESTED) run-chaos

run-chaos: all
	@WALPUSH_BINARY=$(CURDIR)/$(B)/walpush $(if $(filter asan tsan,$(VARIANT)),$(FIXED_LAYOUT)) \
		$(PYTHON) tests/chaos/chaos.py --seconds $(SECONDS) --replicas $(REPLICAS) $(if $(SEED),--seed $(SEED))
